#include "noisegate/session.h"

#include "core.h"
#include "session_state.h"

namespace noisegate {

namespace detail {

SessionState::SessionState(std::shared_ptr<Core> owner, Facts facts)
    : core(std::move(owner)), facts_(std::move(facts)) {
  if (facts_.mode != mode_datagram) turns.emplace(core->loop);
}

void SessionState::noticed(const Error& error) {
  if (error.resume_needed()) change([](Facts& facts) { facts.ended = true; });
}

void SessionState::noticed(const Opened& opened) {
  if (opened.control == v1::CONTROL_KIND_CLOSE) change([](Facts& facts) { facts.ended = true; });
}

void SessionState::send_to_peer() {
  if (!core->options.on_send) return;
  std::vector<std::string> messages;
  change([&](Facts& facts) { messages.swap(facts.to_peer); });
  core->hand(shared_from_this(), messages);
}

Result<Opened> as_result(const std::string& session_id, Error error) {
  if (!error.refuses_packet()) return error;
  Opened opened;
  opened.session_id = session_id;
  opened.refused = std::move(error.reason);
  return opened;
}

Task<Result<BothTurns>> take_turns(StatePtr session, Scope& scope, bool sending, bool receiving) {
  BothTurns turns;
  if (session->turns && sending) {
    auto taking = session->turns->sending.take(scope);
    if (!co_await taking) co_return scope.why();
    turns.sending = Turn(session->turns->sending);
  }
  if (session->turns && receiving) {
    auto taking = session->turns->receiving.take(scope);
    if (!co_await taking) co_return scope.why();
    turns.receiving = Turn(session->turns->receiving);
  }
  co_return turns;
}

namespace {

// Runs a call where the session lives.
template <class Response, class Request>
Task<Result<Response>> ask_there(StatePtr session, Span span, Method method, Request request) {
  auto endpoint = session->known().endpoint;
  auto asking = ask<Response>(session->core->calls, span, method, endpoint, request);
  auto answer = co_await asking;
  if (answer) {
    session->change([&](Facts& facts) { facts.endpoint = endpoint; });
  } else {
    session->noticed(answer.error());
  }
  co_return answer;
}

// In turn, too.
template <class Response, class Request>
Task<Result<Response>> ask_in_turn(StatePtr session, Span span, Method method, Request request, bool sending,
                                   bool receiving) {
  auto taking = take_turns(session, span.scope, sending, receiving);
  auto turns = co_await taking;
  if (!turns) co_return turns.error();
  auto asking = ask_there<Response>(session, span, method, std::move(request));
  auto answer = co_await asking;
  co_return answer;
}

Task<Result<std::vector<std::string>>> proceed_in_turn(StatePtr session, Span span, std::string message,
                                                       std::string payload, bool hook) {
  auto taking = take_turns(session, span.scope, true, true);
  auto turns = co_await taking;
  if (!turns) co_return turns.error();
  const auto known = session->known();
  if (known.resuming) {
    v1::ResumeRequest request;
    request.set_request_id(new_request_id());
    request.mutable_proceed()->set_session_id(known.id);
    request.mutable_proceed()->set_message(std::move(message));
    auto asking = ask_there<v1::ResumeResponse>(session, span, method::resume, std::move(request));
    const auto answer = co_await asking;
    if (!answer) co_return answer.error();
    session->change([&](Facts& facts) { facts.resumed(*answer, facts.endpoint); });
  } else {
    v1::HandshakeRequest request;
    request.set_request_id(new_request_id());
    request.mutable_proceed()->set_session_id(known.id);
    request.mutable_proceed()->set_message(std::move(message));
    request.mutable_proceed()->set_payload(std::move(payload));
    auto asking = ask_there<v1::HandshakeResponse>(session, span, method::handshake, std::move(request));
    const auto answer = co_await asking;
    if (!answer) co_return answer.error();
    session->change([&](Facts& facts) { facts.shaken(*answer, facts.endpoint); });
  }
  if (hook) session->send_to_peer();
  co_return session->known().to_peer;
}

Task<Result<Sealed>> encrypt_in_turn(StatePtr session, Span span, std::string plaintext, std::string associated_data) {
  auto taking = take_turns(session, span.scope, true, false);
  auto turns = co_await taking;
  if (!turns) co_return turns.error();
  const auto known = session->known();
  auto& multiplexer = session->core->multiplexer;
  Sealed sealed;
  if (multiplexer && known.id.size() == session_id_bytes) {
    const auto kind = session->turns ? BatchKind::seal_in_turn : BatchKind::seal;
    BatchItem item{known.id, std::move(plaintext), std::move(associated_data)};
    auto entering = multiplexer->enter(span.scope, known.endpoint, kind, std::move(item));
    auto settled = co_await entering;
    if (settled.error) {
      session->noticed(*settled.error);
      co_return *settled.error;
    }
    sealed = std::move(settled.sealed);
  } else {
    v1::EncryptRequest request;
    request.set_session_id(known.id);
    request.set_request_id(new_request_id());
    request.set_plaintext(std::move(plaintext));
    request.set_associated_data(std::move(associated_data));
    auto asking = ask_there<v1::EncryptResponse>(session, span, method::encrypt, std::move(request));
    auto answer = co_await asking;
    if (!answer) co_return answer.error();
    sealed = sealed_of(std::move(*answer));
  }
  session->core->hand(session, sealed.to_peer);
  co_return sealed;
}

Task<Result<Opened>> decrypt_in_turn(StatePtr session, Span span, std::string ciphertext, std::string associated_data,
                                     bool ticket, bool hook) {
  auto taking = take_turns(session, span.scope, false, true);
  auto turns = co_await taking;
  if (!turns) co_return turns.error();
  const auto known = session->known();
  auto& multiplexer = session->core->multiplexer;
  Opened opened;
  if (multiplexer && known.id.size() == session_id_bytes && !ticket) {
    BatchItem item{known.id, std::move(ciphertext), std::move(associated_data)};
    auto entering = multiplexer->enter(span.scope, known.endpoint, BatchKind::open, std::move(item));
    auto settled = co_await entering;
    if (settled.error) {
      session->noticed(*settled.error);
      co_return as_result(known.id, std::move(*settled.error));
    }
    opened = std::move(settled.opened);
  } else {
    v1::DecryptRequest request;
    request.set_session_id(known.id);
    request.set_request_id(new_request_id());
    request.set_ciphertext(std::move(ciphertext));
    request.set_associated_data(std::move(associated_data));
    request.set_ticket(ticket);
    auto asking = ask_there<v1::DecryptResponse>(session, span, method::decrypt, std::move(request));
    auto answer = co_await asking;
    if (!answer) co_return as_result(known.id, std::move(answer.error()));
    opened = opened_of(std::move(*answer));
  }
  session->noticed(opened);
  if (hook) session->core->hand(session, opened.to_peer);
  co_return opened;
}

Task<Result<v1::RotateResponse>> rotate_in_turn(StatePtr session, Span span, v1::RotateRequest request) {
  const bool one_way = request.kind() == rekey;
  const bool sending = !one_way || request.direction() != v1::DIRECTION_RECEIVE;
  const bool receiving = !one_way || request.direction() != v1::DIRECTION_SEND;
  request.set_session_id(session->known().id);
  request.set_request_id(new_request_id());
  auto asking = ask_in_turn<v1::RotateResponse>(session, span, method::rotate, std::move(request), sending, receiving);
  auto answer = co_await asking;
  if (answer && session->known().mode == mode_datagram && session->core->options.on_send) {
    auto messages = strings_of(answer->to_peer());
    session->core->hand(session, messages);
    answer->clear_to_peer();
  }
  co_return answer;
}

Task<Result<v1::IssueTicketResponse>> issue_ticket_in_turn(StatePtr session, Span span) {
  v1::IssueTicketRequest request;
  request.set_session_id(session->known().id);
  request.set_request_id(new_request_id());
  auto asking =
      ask_in_turn<v1::IssueTicketResponse>(session, span, method::issue_ticket, std::move(request), true, false);
  auto answer = co_await asking;
  if (answer && session->core->options.on_send) {
    auto messages = strings_of(answer->to_peer());
    session->core->hand(session, messages);
    answer->clear_to_peer();
  }
  co_return answer;
}

Task<Result<std::string>> export_from(StatePtr session, Span span, v1::ExportSecretRequest request) {
  request.set_session_id(session->known().id);
  auto asking = ask_there<v1::ExportSecretResponse>(session, span, method::export_secret, std::move(request));
  auto answer = co_await asking;
  if (!answer) co_return answer.error();
  co_return std::move(*answer->mutable_secret());
}

Task<Result<v1::NetworkChange>> change_network_in_turn(StatePtr session, Span span, v1::Network network) {
  v1::ChangeNetworkRequest request;
  request.set_session_id(session->known().id);
  request.set_request_id(new_request_id());
  request.set_network(network);
  auto asking =
      ask_in_turn<v1::ChangeNetworkResponse>(session, span, method::change_network, std::move(request), true, true);
  auto answer = co_await asking;
  if (!answer) co_return answer.error();
  if (answer->changes_size() != 1) co_return not_whole("one change for one session");
  const auto& change = answer->changes(0);
  if (!change.connection_id().empty()) {
    session->change([&](Facts& facts) { facts.connection_id = change.connection_id(); });
  }
  co_return change;
}

Task<Result<v1::Session>> describe_it(StatePtr session, Span span) {
  v1::GetSessionRequest request;
  request.set_session_id(session->known().id);
  auto asking = ask_there<v1::GetSessionResponse>(session, span, method::get_session, std::move(request));
  auto answer = co_await asking;
  if (!answer) co_return answer.error();
  co_return std::move(*answer->mutable_session());
}

Task<Result<std::vector<std::string>>> close_it(StatePtr session, Span span) {
  if (session->known().ended) co_return std::vector<std::string>();
  v1::CloseSessionRequest request;
  request.set_session_id(session->known().id);
  request.set_request_id(new_request_id());
  auto asking = ask_there<v1::CloseSessionResponse>(session, span, method::close_session, std::move(request));
  auto answer = co_await asking;
  if (!answer && !answer.error().resume_needed()) co_return answer.error();
  session->change([&](Facts& facts) {
    facts.ended = true;
    facts.to_peer = answer ? strings_of(answer->to_peer()) : std::vector<std::string>();
  });
  session->send_to_peer();
  co_return session->known().to_peer;
}

}  // namespace

Pending<std::vector<std::string>> SessionState::proceed(std::string message, std::string payload, CallOptions options,
                                                        bool hook) {
  return core->start<std::vector<std::string>>(
      core->timeout(Kind::control, options),
      [self = shared_from_this(), message = std::move(message), payload = std::move(payload), hook](Span span) mutable {
        return proceed_in_turn(self, span, std::move(message), std::move(payload), hook);
      });
}

Pending<Opened> SessionState::decrypt(std::string ciphertext, std::string associated_data, bool ticket,
                                      CallOptions options, bool hook) {
  return core->start<Opened>(core->timeout(Kind::packet, options),
                             [self = shared_from_this(), ciphertext = std::move(ciphertext),
                              associated_data = std::move(associated_data), ticket, hook](Span span) mutable {
                               return decrypt_in_turn(self, span, std::move(ciphertext), std::move(associated_data),
                                                      ticket, hook);
                             });
}

}  // namespace detail

using detail::Kind;
using detail::Span;

std::string Session::id() const { return state_->known().id; }
std::string Session::endpoint() const { return state_->known().endpoint; }
v1::RecordMode Session::mode() const { return state_->known().mode; }
std::string Session::connection_id() const { return state_->known().connection_id; }
std::string Session::peer_id() const { return state_->known().peer_id; }
std::string Session::group() const { return state_->known().group; }
std::optional<v1::Established> Session::established() const { return state_->known().established; }
std::chrono::nanoseconds Session::pending_for() const { return state_->known().pending_for; }
std::vector<std::string> Session::to_peer() const { return state_->known().to_peer; }
std::string Session::payload() const { return state_->known().payload; }
std::string Session::hello() const { return state_->known().hello; }
std::string Session::ticket() const { return state_->known().ticket; }
v1::EarlyData Session::early() const { return state_->known().early; }
std::string Session::early_data() const { return state_->known().early_data; }
bool Session::fell_back() const { return state_->known().fell_back; }
bool Session::ended() const { return state_->known().ended; }

Pending<std::vector<std::string>> Session::proceed(std::string_view message, std::string_view payload,
                                                   CallOptions options) const {
  return state_->proceed(std::string(message), std::string(payload), options, true);
}

Pending<Sealed> Session::encrypt(std::string_view plaintext, std::string_view associated_data,
                                 CallOptions options) const {
  return state_->core->start<Sealed>(
      state_->core->timeout(Kind::packet, options),
      [state = state_, plaintext = std::string(plaintext), beside = std::string(associated_data)](Span span) mutable {
        return detail::encrypt_in_turn(state, span, std::move(plaintext), std::move(beside));
      });
}

Pending<Opened> Session::decrypt(std::string_view ciphertext, std::string_view associated_data,
                                 CallOptions options) const {
  return state_->decrypt(std::string(ciphertext), std::string(associated_data), false, options, true);
}

Pending<Opened> Session::decrypt_ticket(std::string_view ciphertext, CallOptions options) const {
  return state_->decrypt(std::string(ciphertext), {}, true, options, true);
}

Pending<v1::RotateResponse> Session::rotate(v1::RotateRequest request, CallOptions options) const {
  return state_->core->start<v1::RotateResponse>(
      state_->core->timeout(Kind::control, options), [state = state_, request = std::move(request)](Span span) {
        return detail::rotate_in_turn(state, span, request);
      });
}

Pending<v1::IssueTicketResponse> Session::issue_ticket(CallOptions options) const {
  return state_->core->start<v1::IssueTicketResponse>(
      state_->core->timeout(Kind::control, options),
      [state = state_](Span span) { return detail::issue_ticket_in_turn(state, span); });
}

Pending<std::string> Session::export_secret(std::string_view label, std::string_view context, std::uint32_t length,
                                            CallOptions options) const {
  v1::ExportSecretRequest request;
  request.set_label(std::string(label));
  request.set_context(std::string(context));
  request.set_length(length);
  return state_->core->start<std::string>(
      state_->core->timeout(Kind::control, options), [state = state_, request = std::move(request)](Span span) {
        return detail::export_from(state, span, request);
      });
}

Pending<v1::SuspendSessionResponse> Session::suspend(bool return_blob, CallOptions options) const {
  v1::SuspendSessionRequest request;
  request.set_session_id(id());
  request.set_request_id(detail::new_request_id());
  request.set_return_blob(return_blob);
  return state_->core->start<v1::SuspendSessionResponse>(
      state_->core->timeout(Kind::control, options), [state = state_, request = std::move(request)](Span span) {
        return detail::ask_in_turn<v1::SuspendSessionResponse>(state, span, detail::method::suspend_session, request,
                                                               true, true);
      });
}

Pending<v1::NetworkChange> Session::change_network(v1::Network network, CallOptions options) const {
  return state_->core->start<v1::NetworkChange>(
      state_->core->timeout(Kind::control, options),
      [state = state_, network](Span span) { return detail::change_network_in_turn(state, span, network); });
}

Pending<v1::Session> Session::describe(CallOptions options) const {
  return state_->core->start<v1::Session>(state_->core->timeout(Kind::control, options),
                                          [state = state_](Span span) { return detail::describe_it(state, span); });
}

Pending<std::vector<std::string>> Session::close(CallOptions options) const {
  return state_->core->start<std::vector<std::string>>(
      state_->core->timeout(Kind::control, options),
      [state = state_](Span span) { return detail::close_it(state, span); });
}

}  // namespace noisegate
