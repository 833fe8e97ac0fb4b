// Single calls: their deadline, their repeats, and the endpoint that they end up at.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <map>
#include <memory>
#include <random>
#include <string>

#include "channels.h"
#include "errors.h"
#include "loop.h"
#include "scope.h"
#include "task.h"

namespace noisegate::detail {

// Decides a call's default deadline and whether it waits for a server that is not there yet.
enum class Kind {
  control,  // the control deadline; waits
  packet,   // the packet deadline; a packet that has to wait is worth nothing
  batch,    // the control deadline; never waits
};

// One row of the contract.
struct Method {
  const char* path;
  Kind kind;
};

namespace method {
#define NOISEGATE_METHOD(name) "/noisegate.v1.SessionCryptoService/" name
inline constexpr Method get_capabilities{NOISEGATE_METHOD("GetCapabilities"), Kind::control};
inline constexpr Method handshake{NOISEGATE_METHOD("Handshake"), Kind::control};
inline constexpr Method encrypt{NOISEGATE_METHOD("Encrypt"), Kind::packet};
inline constexpr Method decrypt{NOISEGATE_METHOD("Decrypt"), Kind::packet};
inline constexpr Method encrypt_batch{NOISEGATE_METHOD("EncryptBatch"), Kind::batch};
inline constexpr Method decrypt_batch{NOISEGATE_METHOD("DecryptBatch"), Kind::batch};
inline constexpr Method broadcast{NOISEGATE_METHOD("Broadcast"), Kind::batch};
inline constexpr Method rotate{NOISEGATE_METHOD("Rotate"), Kind::control};
inline constexpr Method resume{NOISEGATE_METHOD("Resume"), Kind::control};
inline constexpr Method issue_ticket{NOISEGATE_METHOD("IssueTicket"), Kind::control};
inline constexpr Method get_session{NOISEGATE_METHOD("GetSession"), Kind::control};
inline constexpr Method list_sessions{NOISEGATE_METHOD("ListSessions"), Kind::control};
inline constexpr Method close_session{NOISEGATE_METHOD("CloseSession"), Kind::control};
inline constexpr Method suspend_session{NOISEGATE_METHOD("SuspendSession"), Kind::control};
inline constexpr Method restore_session{NOISEGATE_METHOD("RestoreSession"), Kind::control};
inline constexpr Method change_network{NOISEGATE_METHOD("ChangeNetwork"), Kind::control};
inline constexpr Method export_secret{NOISEGATE_METHOD("ExportSecret"), Kind::control};
inline constexpr Method watch_sessions{NOISEGATE_METHOD("WatchSessions"), Kind::control};
inline constexpr Method transport{NOISEGATE_METHOD("Transport"), Kind::batch};
#undef NOISEGATE_METHOD
}  // namespace method

// A UUID, version 4.
std::string new_request_id();

// What one operation of the game may take, and the metadata that it was submitted with.
struct Span {
  Scope& scope;
  const std::map<std::string, std::string>& metadata;
};

// An answer, and from which endpoint it came.
struct Reply {
  std::string endpoint;
  grpc::ByteBuffer body;
};

grpc::ByteBuffer buffer_of(const google::protobuf::MessageLite& message);
bool parse(const grpc::ByteBuffer& body, google::protobuf::MessageLite& message);

class Calls {
 public:
  Calls(Loop& loop, const Options& options, Channels& channels)
      : loop_(loop), options_(options), channels_(channels) {}

  // Runs one call to its end.
  //
  // It is repeated only where nothing came back (UNAVAILABLE: refused work or a dead connection), with the same message
  // and so the same request_id: what the service has done already it answers with the answer that was lost. Every
  // method that changes anything has a request_id. One deadline covers all attempts, and alone bounds them while an
  // instance is away.
  Task<Result<Reply>> ask(Span span, Method method, std::string endpoint, grpc::ByteBuffer request);

  // Before repeat 0, 1, ...; what the service asks for comes on top.
  std::chrono::nanoseconds delay(int repeat, std::chrono::nanoseconds asked);

  // Waits within a scope; false at once where it would end before.
  Task<bool> sleep(Scope& scope, std::chrono::nanoseconds delay);

 private:
  Task<Result<Reply>> attempt(Span span, Method method, std::string endpoint, grpc::ByteBuffer request);

  Loop& loop_;
  const Options& options_;
  Channels& channels_;
  std::minstd_rand random_{std::random_device{}()};
};

// The same, with messages; sets `endpoint` to where the answer came from.
template <class Response>
Task<Result<Response>> ask(Calls& calls, Span span, Method method, std::string& endpoint,
                           const google::protobuf::MessageLite& request) {
  auto body = buffer_of(request);
  auto asking = calls.ask(span, method, endpoint, std::move(body));
  auto reply = co_await asking;
  if (!reply) co_return reply.error();
  Response response;
  if (!parse(reply->body, response)) co_return not_whole("the form of the contract");
  endpoint = reply->endpoint;
  co_return response;
}

// Whether an attempt that ended so is one of Policy::attempts. Without a reason gRPC itself gave up, and nobody has looked
// at the call.
bool counts(const Policy& policy, const Error& why);

// What a context is told before its call.
void prepare(const Options& options, const Span& span, Method method, grpc::ClientContext& context);

// Why a call did not end well: the scope's end comes before whatever gRPC made of it.
Error failure_of(const Scope& scope, const grpc::Status& status);

}  // namespace noisegate::detail
