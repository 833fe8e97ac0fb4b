#include "fake_service.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

namespace {

class Call final : public grpc::ServerGenericBidiReactor {
 public:
  Call(const FakeService::Handle& handle, grpc::GenericCallbackServerContext* context)
      : handle_(handle), method_(context->method()) {
    for (const auto& [key, value] : context->client_metadata()) {
      metadata_.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    grpc::Slice slice;
    if (!request_.DumpToSingleSlice(&slice).ok()) return Finish(grpc::Status(grpc::StatusCode::INTERNAL, "unreadable"));
    const std::string body(reinterpret_cast<const char*>(slice.begin()), slice.size());
    const auto answer = handle_(method_, metadata_, body);
    if (answer.code != 0) return Finish(grpc::Status(static_cast<grpc::StatusCode>(answer.code), "as the test wants"));
    const grpc::Slice said(answer.body);
    response_ = grpc::ByteBuffer(&said, 1);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) return StartRead(&request_);
    // Nobody waits for it any more.
    Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  const FakeService::Handle& handle_;
  const std::string method_;
  std::map<std::string, std::string> metadata_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

class Service final : public grpc::CallbackGenericService {
 public:
  explicit Service(FakeService::Handle handle) : handle_(std::move(handle)) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Call(handle_, context);
  }

 private:
  const FakeService::Handle handle_;
};

}  // namespace

struct FakeService::Inside {
  explicit Inside(Handle handle) : service(std::move(handle)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(&service);
    server = builder.BuildAndStart();
  }

  int port = 0;
  Service service;
  std::unique_ptr<grpc::Server> server;
};

FakeService::FakeService(Handle handle) : inside_(std::make_unique<Inside>(std::move(handle))) {}
FakeService::~FakeService() { inside_->server->Shutdown(std::chrono::system_clock::now()); }
std::string FakeService::address() const { return "127.0.0.1:" + std::to_string(inside_->port); }
