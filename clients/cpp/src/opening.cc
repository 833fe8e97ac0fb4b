#include "opening.h"

namespace noisegate::detail {

namespace {

Session made(Core& core, Facts begun, bool hook) {
  auto state = std::make_shared<SessionState>(core.shared_from_this(), std::move(begun));
  if (hook) state->send_to_peer();
  return Session(std::move(state));
}

Task<Result<Session>> shake_it(Core& core, Span span, v1::HandshakeRequest request, Facts begun, bool hook) {
  auto endpoint = begun.endpoint;
  auto asking = ask<v1::HandshakeResponse>(core.calls, span, method::handshake, endpoint, request);
  const auto answer = co_await asking;
  if (!answer) co_return answer.error();
  if (answer->has_retry()) co_return error_of(answer->retry(), answer->to_peer());
  begun.shaken(*answer, endpoint);
  co_return made(core, std::move(begun), hook);
}

Task<Result<Session>> resume_it(Core& core, Span span, v1::ResumeRequest request, Facts begun, bool hook) {
  auto endpoint = begun.endpoint;
  auto asking = ask<v1::ResumeResponse>(core.calls, span, method::resume, endpoint, request);
  const auto answer = co_await asking;
  if (!answer) co_return answer.error();
  if (answer->has_retry()) co_return error_of(answer->retry(), answer->to_peer());
  begun.resuming = true;
  begun.resumed(*answer, endpoint);
  co_return made(core, std::move(begun), hook);
}

Task<Result<Session>> restore_it(Core& core, Span span, std::string endpoint, v1::RestoreSessionRequest request) {
  auto asking = ask<v1::RestoreSessionResponse>(core.calls, span, method::restore_session, endpoint, request);
  const auto answer = co_await asking;
  if (!answer) co_return answer.error();
  auto restored = Facts::of(answer->session());
  if (restored.endpoint.empty()) restored.endpoint = endpoint;
  restored.to_peer = strings_of(answer->to_peer());
  co_return made(core, std::move(restored), true);
}

}  // namespace

Pending<Session> shake(Core& core, v1::HandshakeRequest request, Facts begun, CallOptions options, bool hook) {
  return core.start<Session>(
      core.timeout(Kind::control, options),
      [&core, request = std::move(request), begun = std::move(begun), hook](Span span) mutable {
        return shake_it(core, span, std::move(request), std::move(begun), hook);
      });
}

Pending<Session> resume(Core& core, v1::ResumeRequest request, Facts begun, CallOptions options, bool hook) {
  return core.start<Session>(
      core.timeout(Kind::control, options),
      [&core, request = std::move(request), begun = std::move(begun), hook](Span span) mutable {
        return resume_it(core, span, std::move(request), std::move(begun), hook);
      });
}

Pending<Session> respond(Core& core, v1::RespondHandshake step, CallOptions options, bool hook) {
  Facts begun;
  begun.mode = step.mode();
  begun.peer_id = step.peer_id();
  begun.group = step.group();
  v1::HandshakeRequest request;
  request.set_request_id(new_request_id());
  *request.mutable_respond() = std::move(step);
  return shake(core, std::move(request), std::move(begun), options, hook);
}

Pending<Session> respond_resume(Core& core, v1::RespondResume step, CallOptions options, bool hook) {
  Facts begun;
  begun.mode = step.mode();
  v1::ResumeRequest request;
  request.set_request_id(new_request_id());
  *request.mutable_respond() = std::move(step);
  return resume(core, std::move(request), std::move(begun), options, hook);
}

Pending<Session> restore(Core& core, std::string endpoint, v1::RestoreSessionRequest request, CallOptions options) {
  return core.start<Session>(
      core.timeout(Kind::control, options),
      [&core, endpoint = std::move(endpoint), request = std::move(request)](Span span) {
        return restore_it(core, span, endpoint, request);
      });
}

}  // namespace noisegate::detail
