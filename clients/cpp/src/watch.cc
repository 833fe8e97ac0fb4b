#include "core.h"

namespace noisegate {

namespace detail {
namespace {

using Told = std::function<void(const v1::WatchSessionsResponse&)>;

Task<Result<std::monostate>> watch_it(Core& core, Span span, std::string endpoint, v1::WatchSessionsRequest request,
                                      Told told) {
  if (auto insecure = check_plaintext(core.options, core.channels.address_of(endpoint)); insecure.code != Code::ok) {
    co_return insecure;
  }
  const auto stub = core.channels.take(endpoint);
  grpc::ClientContext context;
  prepare(core.options, span, method::watch_sessions, context);
  const auto hook = span.scope.on_end([&context] { context.TryCancel(); });
  const auto stream = stub->PrepareCall(&context, method::watch_sessions.path, core.loop.queue());
  Operation started;
  stream->StartCall(started.tag());
  bool well = co_await started;
  if (well) {
    Operation asked;
    stream->WriteLast(buffer_of(request), grpc::WriteOptions(), asked.tag());
    well = co_await asked;
  }
  while (well) {
    grpc::ByteBuffer body;
    Operation came;
    stream->Read(&body, came.tag());
    well = co_await came;
    v1::WatchSessionsResponse event;
    if (well && parse(body, event)) core.deliveries->push([told, event = std::move(event)] { told(event); });
  }
  grpc::Status status;
  Operation finished;
  stream->Finish(&status, finished.tag());
  co_await finished;
  span.scope.forget(hook);
  if (status.ok()) co_return std::monostate();
  co_return failure_of(span.scope, status);
}

}  // namespace
}  // namespace detail

Pending<std::monostate> Client::watch(std::string endpoint, v1::WatchSessionsRequest request,
                                      std::function<void(const v1::WatchSessionsResponse&)> told) {
  return core_->start<std::monostate>(
      std::nullopt, [&core = *core_, endpoint = std::move(endpoint), request = std::move(request),
                     told = std::move(told)](detail::Span span) {
        return detail::watch_it(core, span, endpoint, request, told);
      });
}

}  // namespace noisegate
