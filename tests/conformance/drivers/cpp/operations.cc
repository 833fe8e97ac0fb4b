#include <chrono>

#include "driver.h"

namespace {

namespace v1 = noisegate::v1;
using noisegate::Session;

void connect(Driver& driver, const Request& request) {
  noisegate::Options options;
  options.policy.packet_deadline = std::chrono::milliseconds(request.number("packet_ms", 250));
  options.policy.control_deadline = std::chrono::milliseconds(request.number("control_ms", 2'000));
  options.policy.attempts = request.number("attempts", 5);
  if (request.flag("multiplex")) {
    options.multiplex.emplace();
    options.multiplex->max_items = static_cast<std::size_t>(request.number("max_items", 256));
  }
  if (request.flag("on_send")) {
    options.on_send = [&driver](const Session& session, const std::vector<std::string>& messages) {
      auto& sent = driver.sent[session.id()];
      sent.insert(sent.end(), messages.begin(), messages.end());
    };
  }
  if (request.has("window")) {
    options.channel_arguments["grpc.http2.lookahead_bytes"] = request.number("window");
    options.channel_arguments["grpc.http2.bdp_probe"] = 0;
  }
  if (request.has("ca")) {
    options.tls = noisegate::Tls{request.bytes("ca"), request.bytes("certificate"), request.bytes("key")};
  }
  auto client = noisegate::Client::connect(request.text("target"), std::move(options));
  if (!client) return driver.refuse(request, shown(client.error()));
  driver.clients[request.text("client")] = std::make_unique<Driver::Held>(Driver::Held{std::move(*client)});
  driver.answer(request, Object());
}

void disconnect(Driver& driver, const Request& request) {
  driver.client(request).close();
  driver.client(request).poll();
  driver.clients.erase(request.text("client"));
  driver.answer(request, Object());
}

void capabilities(Driver& driver, const Request& request) {
  driver.answer(request, driver.client(request).capabilities(), [](const v1::GetCapabilitiesResponse& found) {
    return Object().bytes("static_key", found.static_key()).number("protocol_version", found.protocol_version());
  });
}

// What begins a session: it gets its name.
void keep(Driver& driver, const Request& request, noisegate::Pending<Session> pending) {
  driver.answer(request, std::move(pending), [&driver, name = request.text("session")](const Session& session) {
    driver.sessions.insert_or_assign(name, session);
    return shown(session);
  });
}

// The fields that both roles have. The protocol is left out where the hello says it.
template <class Step>
Step step_of(const Request& request) {
  Step step;
  step.set_mode(request.mode());
  if (request.has("pattern")) *step.mutable_protocol() = request.protocol();
  step.set_psk(request.bytes("psk"));
  step.set_prologue(request.bytes("prologue"));
  step.set_payload(request.bytes("payload"));
  step.set_peer_id(request.text("peer_id"));
  step.set_group(request.text("group"));
  return step;
}

void respond(Driver& driver, const Request& request) {
  auto step = step_of<v1::RespondHandshake>(request);
  step.set_message(request.bytes("message"));
  step.set_hello(request.bytes("hello"));
  keep(driver, request, driver.client(request).respond(std::move(step)));
}

void initiate(Driver& driver, const Request& request) {
  auto step = step_of<v1::InitiateHandshake>(request);
  step.set_remote_static_key(request.bytes("remote_static_key"));
  step.mutable_options()->set_tickets(request.flag("tickets"));
  keep(driver, request, driver.client(request).initiate(std::move(step)));
}

void respond_resume(Driver& driver, const Request& request) {
  v1::RespondResume step;
  step.set_mode(request.mode());
  step.set_message(request.bytes("message"));
  step.set_ticket(request.bytes("ticket"));
  step.set_prologue(request.bytes("prologue"));
  step.set_payload(request.bytes("payload"));
  keep(driver, request, driver.client(request).respond_resume(std::move(step)));
}

void restore(Driver& driver, const Request& request) {
  v1::RestoreSessionRequest asked;
  if (request.has("blob")) {
    asked.set_blob(request.bytes("blob"));
  } else {
    asked.set_session_id(request.bytes("session_id"));
  }
  keep(driver, request, driver.client(request).restore("", std::move(asked)));
}

void handle(Driver& driver, const Request& request) {
  auto session = driver.client(request).session(request.bytes("session_id"), request.text("endpoint"), request.mode());
  driver.sessions.insert_or_assign(request.text("session"), session);
  driver.answer(request, shown(session));
}

void proceed(Driver& driver, const Request& request) {
  auto session = driver.session(request);
  driver.answer(request, session.proceed(request.bytes("message"), request.bytes("payload")),
                [session](const auto&) { return shown(session); });
}

void encrypt(Driver& driver, const Request& request) {
  driver.answer(request, driver.session(request).encrypt(request.bytes("plaintext"), request.bytes("associated_data")),
                [](const noisegate::Sealed& sealed) { return shown(sealed); });
}

void decrypt(Driver& driver, const Request& request) {
  auto session = driver.session(request);
  const auto ciphertext = request.bytes("ciphertext");
  driver.answer(request,
                request.flag("is_ticket") ? session.decrypt_ticket(ciphertext)
                                          : session.decrypt(ciphertext, request.bytes("associated_data")),
                [](const noisegate::Opened& opened) { return shown(opened); });
}

void rotate(Driver& driver, const Request& request) {
  v1::RotationKind kind = v1::ROTATION_KIND_UNSPECIFIED;
  v1::Direction direction = v1::DIRECTION_UNSPECIFIED;
  v1::RotationKind_Parse("ROTATION_KIND_" + request.text("kind"), &kind);
  v1::Direction_Parse("DIRECTION_" + request.text("direction"), &direction);
  v1::RotateRequest asked;
  asked.set_kind(kind);
  asked.set_direction(direction);
  asked.set_message(request.bytes("message"));
  asked.set_switch_send(request.flag("switch_send"));
  asked.set_switch_receive(request.flag("switch_receive"));
  driver.answer(request, driver.session(request).rotate(std::move(asked)),
                [](const v1::RotateResponse& rotation) { return shown(rotation); });
}

void issue_ticket(Driver& driver, const Request& request) {
  driver.answer(request, driver.session(request).issue_ticket(), [](const v1::IssueTicketResponse& ticket) {
    return Object().all_bytes("to_peer", {ticket.to_peer().begin(), ticket.to_peer().end()});
  });
}

void suspend(Driver& driver, const Request& request) {
  driver.answer(request, driver.session(request).suspend(request.flag("return_blob")),
                [](const v1::SuspendSessionResponse& suspended) { return Object().bytes("blob", suspended.blob()); });
}

void describe(Driver& driver, const Request& request) {
  driver.answer(request, driver.session(request).describe(),
                [](const v1::Session& described) { return shown(described); });
}

void export_secret(Driver& driver, const Request& request) {
  const auto length = static_cast<std::uint32_t>(request.number("length"));
  driver.answer(request, driver.session(request).export_secret(request.text("label"), request.bytes("context"), length),
                [](const std::string& secret) { return Object().bytes("secret", secret); });
}

void close(Driver& driver, const Request& request) {
  auto session = driver.session(request);
  driver.answer(request, session.close(), [session](const std::vector<std::string>& to_peer) {
    return Object().all_bytes("to_peer", to_peer).flag("ended", session.ended());
  });
}

std::vector<noisegate::Item> items_of(Driver& driver, const Request& request) {
  std::vector<noisegate::Item> items;
  for (const auto& item : request.objects("items")) {
    items.push_back({driver.session(item), item.bytes("body"), item.bytes("associated_data")});
  }
  return items;
}

template <class T>
Object all_shown(const std::vector<noisegate::Result<T>>& results) {
  std::vector<Object> all;
  for (const auto& result : results) {
    all.push_back(result ? shown(*result) : Object().object("error", shown(result.error())));
  }
  return Object().objects("items", all);
}

void encrypt_batch(Driver& driver, const Request& request) {
  driver.answer(request, driver.client(request).encrypt_batch(items_of(driver, request)),
                [](const auto& results) { return all_shown(results); });
}

void decrypt_batch(Driver& driver, const Request& request) {
  driver.answer(request, driver.client(request).decrypt_batch(items_of(driver, request)),
                [](const auto& results) { return all_shown(results); });
}

void broadcast(Driver& driver, const Request& request) {
  std::vector<Session> sessions;
  for (const auto& name : request.texts("sessions")) sessions.push_back(driver.sessions.at(name));
  driver.answer(request,
                driver.client(request).broadcast(std::move(sessions), request.bytes("plaintext"),
                                                 request.bytes("associated_data")),
                [](const auto& results) { return all_shown(results); });
}

void receive(Driver& driver, const Request& request) {
  auto& held = driver.held(request);
  auto& receiver = held.receivers[request.text("receiver")];
  if (!receiver) receiver = std::make_unique<noisegate::Receiver<std::string>>(held.client);
  receiver->receive(request.bytes("packet"), request.text("source"),
                    [&driver, request](noisegate::Result<noisegate::Received<std::string>> received) {
                      if (!received) return driver.refuse(request, shown(received.error()));
                      if (received->session) {
                        driver.sessions.insert_or_assign(request.text("session"), *received->session);
                      }
                      driver.answer(request, shown(*received));
                    });
}

// What the client's hook was given for a session since it was last asked.
void sent(Driver& driver, const Request& request) {
  const auto id = driver.session(request).id();
  const auto messages = driver.sent[id];
  driver.sent.erase(id);
  driver.answer(request, Object().all_bytes("messages", messages));
}

}  // namespace

const std::map<std::string, Driver::Operation>& operations() {
  static const std::map<std::string, Driver::Operation> all = {
      {"connect", connect},
      {"disconnect", disconnect},
      {"capabilities", capabilities},
      {"respond", respond},
      {"initiate", initiate},
      {"respond_resume", respond_resume},
      {"restore", restore},
      {"handle", handle},
      {"proceed", proceed},
      {"encrypt", encrypt},
      {"decrypt", decrypt},
      {"rotate", rotate},
      {"issue_ticket", issue_ticket},
      {"suspend", suspend},
      {"describe", describe},
      {"export_secret", export_secret},
      {"close", close},
      {"encrypt_batch", encrypt_batch},
      {"decrypt_batch", decrypt_batch},
      {"broadcast", broadcast},
      {"receive", receive},
      {"sent", sent},
  };
  return all;
}
