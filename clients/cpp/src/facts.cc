#include "facts.h"

#include "errors.h"

namespace noisegate::detail {

namespace {

// What both kinds of steps have.
template <class Step>
void stepped(Facts& facts, const Step& step, const std::string& from) {
  if (!step.session_id().empty()) facts.id = step.session_id();
  facts.endpoint = step.endpoint().empty() ? from : step.endpoint();
  if (!step.connection_id().empty()) facts.connection_id = step.connection_id();
  facts.to_peer = strings_of(step.to_peer());
  facts.payload = step.payload();
  facts.established.reset();
  if (step.has_established()) facts.established = step.established();
  facts.pending_for = duration_of(step.pending().expires_in());
}

}  // namespace

Facts Facts::of(const v1::Session& described) {
  Facts facts;
  facts.id = described.session_id();
  facts.endpoint = described.endpoint();
  facts.mode = described.mode();
  facts.connection_id = described.connection_id();
  facts.peer_id = described.peer_id();
  facts.group = described.group();
  if (described.has_established()) facts.established = described.established();
  return facts;
}

void Facts::shaken(const v1::HandshakeResponse& step, const std::string& from) {
  stepped(*this, step, from);
  if (!step.hello().empty()) hello = step.hello();
}

void Facts::resumed(const v1::ResumeResponse& step, const std::string& from) {
  stepped(*this, step, from);
  if (!step.ticket().empty()) ticket = step.ticket();
  early = step.early();
  early_data = step.early_data();
  if (step.fell_back()) {
    // What is under way is a full handshake, and its steps are Handshake's.
    fell_back = true;
    resuming = false;
  }
  if (!step.peer_id().empty()) peer_id = step.peer_id();
  if (!step.group().empty()) group = step.group();
}

Sealed sealed_of(v1::EncryptResponse answer) {
  return {.packet = std::move(*answer.mutable_ciphertext()),
          .to_peer = strings_of(answer.to_peer()),
          .counter = answer.counter(),
          .epoch = answer.epoch(),
          .rotation_due = answer.rotation_due()};
}

Opened opened_of(v1::DecryptResponse answer) {
  Opened opened;
  opened.session_id = answer.session_id();
  opened.to_peer = strings_of(answer.to_peer());
  opened.counter = answer.counter();
  opened.epoch = answer.epoch();
  opened.early = answer.early();
  opened.newest = answer.newest();
  opened.rotation_due = answer.rotation_due();
  opened.has_plaintext = answer.has_plaintext();
  if (opened.has_plaintext) {
    opened.plaintext = std::move(*answer.mutable_plaintext());
  } else {
    opened.control = answer.control().kind();
    opened.answered = answer.control().answered();
  }
  return opened;
}

}  // namespace noisegate::detail
