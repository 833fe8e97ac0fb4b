#include <algorithm>
#include <array>
#include <string_view>

#include "core.h"
#include "noisegate/received.h"
#include "opening.h"

namespace noisegate::detail {

namespace {

constexpr std::array players_fault = {
    reason::clock_skew,        reason::counter_too_old,   reason::decrypt_failed,   reason::handshake_failed,
    reason::handshake_state,   reason::invalid_request,   reason::message_too_large, reason::not_established,
    reason::peer_revoked,      reason::policy_rejected,   reason::replay_detected,  reason::session_closed,
    reason::session_not_found, reason::session_quota,     reason::stale_handshake,  reason::ticket_rejected,
    reason::unsupported_protocol,
};

Task<Result<Found>> find_and_decrypt_it(Core& core, Span span, std::string packet) {
  v1::DecryptRequest request;
  request.set_request_id(new_request_id());
  request.set_ciphertext(std::move(packet));
  std::string endpoint;
  auto asking = ask<v1::DecryptResponse>(core.calls, span, method::decrypt, endpoint, request);
  auto answer = co_await asking;
  if (!answer) co_return answer.error();
  Facts facts;
  facts.id = answer->session_id();
  facts.endpoint = endpoint;
  facts.mode = mode_datagram;
  auto state = std::make_shared<SessionState>(core.shared_from_this(), std::move(facts));
  auto opened = opened_of(std::move(*answer));
  state->noticed(opened);
  co_return Found{Session(std::move(state)), std::move(opened)};
}

}  // namespace

bool is_players_fault(const std::string& reason) {
  return std::find(players_fault.begin(), players_fault.end(), reason) != players_fault.end();
}

bool is_retry(const std::string& reason) { return reason == reason::retry_choose || reason == reason::retry_clock; }

Pending<Found> find_and_decrypt(const Client& client, std::string packet) {
  auto& core = *client.core();
  return core.start<Found>(core.timeout(Kind::packet, {}), [&core, packet = std::move(packet)](Span span) mutable {
    return find_and_decrypt_it(core, span, std::move(packet));
  });
}

Pending<Session> find_and_proceed(const Client& client, std::string packet, bool resuming) {
  Facts begun;
  begun.mode = mode_datagram;
  if (resuming) {
    v1::ResumeRequest request;
    request.set_request_id(new_request_id());
    request.mutable_proceed()->set_message(std::move(packet));
    return resume(*client.core(), std::move(request), std::move(begun), {}, false);
  }
  v1::HandshakeRequest request;
  request.set_request_id(new_request_id());
  request.mutable_proceed()->set_message(std::move(packet));
  return shake(*client.core(), std::move(request), std::move(begun), {}, false);
}

namespace {

// The fields that both first steps have.
template <class Step>
Step step_of(std::string packet, const Admission& admission) {
  Step step;
  step.set_mode(mode_datagram);
  step.set_message(std::move(packet));
  step.set_psk(admission.psk);
  step.set_prologue(admission.prologue);
  step.set_payload(admission.payload);
  step.set_peer_id(admission.peer_id);
  step.set_group(admission.group);
  *step.mutable_options() = admission.options;
  return step;
}

}  // namespace

Pending<Session> begin(const Client& client, std::string packet, const Admission& admission, bool resuming) {
  if (!resuming) return respond(*client.core(), step_of<v1::RespondHandshake>(std::move(packet), admission), {}, false);
  auto step = step_of<v1::RespondResume>(std::move(packet), admission);
  step.set_accept_early_data(admission.accept_early_data);
  return respond_resume(*client.core(), std::move(step), {}, false);
}

Pending<Opened> decrypt(const Session& session, std::string packet) {
  return session.state()->decrypt(std::move(packet), {}, false, {}, false);
}

Pending<std::vector<std::string>> proceed(const Session& session, std::string packet) {
  return session.state()->proceed(std::move(packet), {}, {}, false);
}

}  // namespace noisegate::detail
