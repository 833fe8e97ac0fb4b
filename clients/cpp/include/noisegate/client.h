// A client of one service.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "noisegate/error.h"
#include "noisegate/options.h"
#include "noisegate/pending.h"
#include "noisegate/records.h"
#include "noisegate/session.h"

namespace noisegate {

namespace detail {
class Core;
}

// One of a batch: a plaintext to seal or a packet to open, and the session that it is for.
struct Item {
  Session session;
  std::string body;
  std::string associated_data = {};
};

// Talks to one service: to its target, and to whatever instances the service names. It has one thread of its own, which
// makes the calls; the game's threads submit them and never wait. Any thread may use it.
class Client {
 public:
  // For the service at target, HOST:PORT or a gRPC target. It connects with its first call.
  //
  // Without Options::tls it is for loopback alone: any other address gives INSECURE_TARGET.
  static Result<Client> connect(std::string target, Options options = {});

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  // As close.
  ~Client();

  // Ends every connection; calls under way end with CLIENT_CLOSED, and their callbacks still come by poll. Sessions
  // live on at the service.
  void close();

  // Runs the callbacks whose results are there, on this thread; how many. It never waits: once a tick.
  std::size_t poll();
  // The same, after waiting for one, at most so long: for programs without a tick.
  std::size_t poll_for(std::chrono::nanoseconds most);

  // What the service can do and with which static key it answers.
  Pending<v1::GetCapabilitiesResponse> capabilities(CallOptions options = {});

  // Begins a session with a player's first message. While the session's established is empty the pattern needs another
  // message of the player: hand it to proceed.
  //
  // Reasons: HANDSHAKE_FAILED, UNSUPPORTED_PROTOCOL, POLICY_REJECTED, CLOCK_SKEW, STALE_HANDSHAKE, SESSION_QUOTA,
  // INVALID_REQUEST; DATAGRAM RETRY_CHOOSE and RETRY_CLOCK.
  Pending<Session> respond(v1::RespondHandshake step, CallOptions options = {});
  // Begins a session towards a player: message 1 is in to_peer.
  Pending<Session> initiate(v1::InitiateHandshake step, CallOptions options = {});
  // Begins a new session with a ticket that the player brought back; names and options are the ticket's. The player
  // must send a first record: that confirms the resume. TICKET_REJECTED asks for a full handshake; where one came along
  // in the fallback fields it has begun instead, and fell_back says so.
  Pending<Session> respond_resume(v1::RespondResume step, CallOptions options = {});
  // Begins a new session with a ticket that the player's side gave us in an earlier one; mode and endpoint are those
  // that it had.
  Pending<Session> initiate_resume(std::string endpoint, v1::RecordMode mode, v1::InitiateResume step,
                                   CallOptions options = {});
  // Brings a suspended session back, once: by its id, or by the blob that suspend gave. The endpoint is where it was
  // suspended. SESSION_CLOSED with the cause LOST, BLOB_REJECTED and SESSION_NOT_FOUND say that it cannot come back.
  Pending<Session> restore(std::string endpoint, v1::RestoreSessionRequest request, CallOptions options = {});

  // A handle of a session that lives already; no call is made. Without an endpoint the client's own target is asked,
  // which may send the call on. With mode_datagram calls run side by side; otherwise those of one direction run one
  // after the other, as NOISE mode needs.
  Session session(std::string id, std::string endpoint = {}, v1::RecordMode mode = v1::RECORD_MODE_UNSPECIFIED);
  // A handle of a session that was described; no call is made.
  Session adopt(const v1::Session& described);

  // Describes a session, named by its id or, DATAGRAM, by a packet's connection id.
  Pending<v1::Session> get_session(v1::GetSessionRequest request, CallOptions options = {});
  // A page of the caller's sessions at one instance (endpoint; empty for the target), in no particular order.
  Pending<v1::ListSessionsResponse> list_sessions(std::string endpoint, v1::ListSessionsRequest request,
                                                  CallOptions options = {});
  // Tells what happens to the caller's sessions at one instance, as it happens; poll calls told. It ends with cancel or
  // an error: DRAINING when that instance stops, then begin anew. First comes Watching, once: list sessions after it.
  Pending<std::monostate> watch(std::string endpoint, v1::WatchSessionsRequest request,
                                std::function<void(const v1::WatchSessionsResponse&)> told);
  // A player is on another network, for all its sessions at one instance. Send to_peer of each change; on_send is not
  // called, because not every session of it may have a handle here.
  Pending<v1::ChangeNetworkResponse> change_network(std::string endpoint, std::string peer_id, v1::Network network,
                                                    CallOptions options = {});

  // Seals many plaintexts, of one session or of many, in few calls. There is a result for each item, in their order: an
  // item that is refused leaves the others as they are, and a call that fails is the error of its items.
  Pending<std::vector<Result<Sealed>>> encrypt_batch(std::vector<Item> items, CallOptions options = {});
  // Opens many packets, likewise; a refused packet is a result.
  Pending<std::vector<Result<Opened>>> decrypt_batch(std::vector<Item> items, CallOptions options = {});
  // Seals one plaintext for every session of a room, in their order.
  Pending<std::vector<Result<Sealed>>> broadcast(std::vector<Session> sessions, std::string_view plaintext,
                                                 std::string_view associated_data = {}, CallOptions options = {});

  // For Receiver.
  const std::shared_ptr<detail::Core>& core() const { return core_; }

 private:
  explicit Client(std::shared_ptr<detail::Core> core);

  std::shared_ptr<detail::Core> core_;
};

}  // namespace noisegate
