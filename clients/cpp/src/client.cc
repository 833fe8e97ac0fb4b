#include "noisegate/client.h"

#include "core.h"
#include "opening.h"
#include "session_state.h"

namespace noisegate {

using detail::Kind;
using detail::Span;

Result<Client> Client::connect(std::string target, Options options) {
  if (auto wrong = detail::check(options); wrong.code != Code::ok) return wrong;
  if (auto insecure = detail::check_plaintext(options, target); insecure.code != Code::ok) return insecure;
  auto core = std::make_shared<detail::Core>(std::move(target), std::move(options));
  core->begin();
  return Client(std::move(core));
}

Client::Client(std::shared_ptr<detail::Core> core) : core_(std::move(core)) {}
Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

Client::~Client() {
  if (!core_) return;
  core_->close();
  core_->deliveries->clear();
}

void Client::close() { core_->close(); }
std::size_t Client::poll() { return core_->deliveries->run(); }

std::size_t Client::poll_for(std::chrono::nanoseconds most) {
  core_->deliveries->wait(most);
  return poll();
}

namespace {

// A call that is nothing but its request and its answer.
template <class Response, class Request>
detail::Task<Result<Response>> plain(detail::Core& core, Span span, detail::Method method, std::string endpoint,
                                     Request request) {
  auto asking = detail::ask<Response>(core.calls, span, method, endpoint, request);
  auto answer = co_await asking;
  co_return answer;
}

template <class Response, class Request>
Pending<Response> submit(detail::Core& core, detail::Method method, std::string endpoint, Request request,
                         const CallOptions& options) {
  return core.start<Response>(
      core.timeout(method.kind, options),
      [&core, method, endpoint = std::move(endpoint), request = std::move(request)](Span span) {
        return plain<Response>(core, span, method, endpoint, request);
      });
}

detail::Task<Result<v1::Session>> described(detail::Core& core, Span span, v1::GetSessionRequest request) {
  std::string endpoint;
  auto asking = detail::ask<v1::GetSessionResponse>(core.calls, span, detail::method::get_session, endpoint, request);
  auto answer = co_await asking;
  if (!answer) co_return answer.error();
  co_return std::move(*answer->mutable_session());
}

}  // namespace

Pending<v1::GetCapabilitiesResponse> Client::capabilities(CallOptions options) {
  return submit<v1::GetCapabilitiesResponse>(*core_, detail::method::get_capabilities, {},
                                             v1::GetCapabilitiesRequest(), options);
}

Pending<Session> Client::respond(v1::RespondHandshake step, CallOptions options) {
  return detail::respond(*core_, std::move(step), options, true);
}

Pending<Session> Client::initiate(v1::InitiateHandshake step, CallOptions options) {
  detail::Facts begun;
  begun.mode = step.mode();
  begun.peer_id = step.peer_id();
  begun.group = step.group();
  v1::HandshakeRequest request;
  request.set_request_id(detail::new_request_id());
  *request.mutable_initiate() = std::move(step);
  return detail::shake(*core_, std::move(request), std::move(begun), options, true);
}

Pending<Session> Client::respond_resume(v1::RespondResume step, CallOptions options) {
  return detail::respond_resume(*core_, std::move(step), options, true);
}

Pending<Session> Client::initiate_resume(std::string endpoint, v1::RecordMode mode, v1::InitiateResume step,
                                         CallOptions options) {
  detail::Facts begun;
  begun.mode = mode;
  begun.endpoint = std::move(endpoint);
  v1::ResumeRequest request;
  request.set_request_id(detail::new_request_id());
  *request.mutable_initiate() = std::move(step);
  return detail::resume(*core_, std::move(request), std::move(begun), options, true);
}

Pending<Session> Client::restore(std::string endpoint, v1::RestoreSessionRequest request, CallOptions options) {
  request.set_request_id(detail::new_request_id());
  return detail::restore(*core_, std::move(endpoint), std::move(request), options);
}

Session Client::session(std::string id, std::string endpoint, v1::RecordMode mode) {
  detail::Facts facts;
  facts.id = std::move(id);
  facts.endpoint = std::move(endpoint);
  facts.mode = mode;
  return Session(std::make_shared<detail::SessionState>(core_, std::move(facts)));
}

Session Client::adopt(const v1::Session& described) {
  return Session(std::make_shared<detail::SessionState>(core_, detail::Facts::of(described)));
}

Pending<v1::Session> Client::get_session(v1::GetSessionRequest request, CallOptions options) {
  return core_->start<v1::Session>(
      core_->timeout(Kind::control, options),
      [&core = *core_, request = std::move(request)](Span span) { return described(core, span, request); });
}

Pending<v1::ListSessionsResponse> Client::list_sessions(std::string endpoint, v1::ListSessionsRequest request,
                                                        CallOptions options) {
  return submit<v1::ListSessionsResponse>(*core_, detail::method::list_sessions, std::move(endpoint),
                                          std::move(request), options);
}

Pending<v1::ChangeNetworkResponse> Client::change_network(std::string endpoint, std::string peer_id,
                                                          v1::Network network, CallOptions options) {
  v1::ChangeNetworkRequest request;
  request.set_request_id(detail::new_request_id());
  request.set_peer_id(std::move(peer_id));
  request.set_network(network);
  return submit<v1::ChangeNetworkResponse>(*core_, detail::method::change_network, std::move(endpoint),
                                           std::move(request), options);
}

}  // namespace noisegate
