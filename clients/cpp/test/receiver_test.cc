#include "check.h"
#include "noisegate/noisegate.h"

namespace {

using noisegate::Receiver;
using noisegate::Session;
using Strings = std::vector<std::string>;

// A receiver without a service.
struct Tracking {
  noisegate::Client client = std::move(*noisegate::Client::connect("127.0.0.1:1"));
  Receiver<std::string> receiver;

  explicit Tracking(std::size_t limit = 8) : receiver(client, {.max_sessions = limit}) {}

  // Of a session that lives, or of one whose handshake has run out of time.
  Session handle(char n, bool live) {
    noisegate::v1::Session described;
    described.set_session_id(std::string(24, n));
    described.set_mode(noisegate::mode_datagram);
    described.set_connection_id(std::string(8, n));
    if (live) described.mutable_established();
    return client.adopt(described);
  }

  bool knows(const Session& session) { return receiver.address(session).has_value(); }
};

std::string record(std::size_t size) { return "\x0a" + std::string(size - 1, 'x'); }

}  // namespace

TEST("a flood of beginners pushes out nobody who plays") {
  Tracking tracking(3);
  const auto plays = tracking.handle(1, true);
  tracking.receiver.add(plays, "home", true);
  int known = 0;
  for (char n = 10; n < 30; ++n) tracking.receiver.add(tracking.handle(n, false), "stranger", false);
  for (char n = 10; n < 30; ++n) known += tracking.knows(tracking.handle(n, false));
  CHECK(tracking.knows(plays));
  CHECK(known == 3);
}

TEST("the longest unused gives way") {
  Tracking tracking(2);
  const auto first = tracking.handle(1, true), second = tracking.handle(2, true), third = tracking.handle(3, true);
  tracking.receiver.add(first, "a", true);
  tracking.receiver.add(second, "b", true);
  // A packet of the first one, of a type that reaches no service.
  tracking.receiver.receive("\x0e" + first.connection_id(), "a", [](const auto&) {});
  tracking.receiver.add(third, "c", true);
  CHECK(tracking.knows(first) && !tracking.knows(second) && tracking.knows(third));
}

TEST("a handshake that nobody finished is forgotten") {
  Tracking tracking;
  const auto begun = tracking.handle(1, false);
  tracking.receiver.add(begun, "a", false);
  CHECK(tracking.knows(begun));
  std::string refused;
  tracking.receiver.receive("\x0e" "connect!", "b", [&](const auto& received) { refused = received->refused; });
  CHECK(refused == noisegate::reason::unexpected_packet);
  CHECK(!tracking.knows(begun));
}

TEST("messages go where they may, and as large as the path takes") {
  Tracking tracking;
  const auto session = tracking.handle(1, true);
  CHECK(tracking.receiver.route(session, {record(40)}).empty());
  tracking.receiver.add(session, "here", false);
  CHECK(tracking.receiver.route(session, {record(40)}).empty());
  tracking.receiver.mark_verified(session, "elsewhere");
  CHECK(!tracking.receiver.verified(session));
  tracking.receiver.mark_verified(session, "here");
  const auto datagrams = tracking.receiver.route(session, {record(40), record(3'000)});
  CHECK(datagrams.size() == 4 && datagrams.front().bytes.size() == 40);
  for (const auto& each : datagrams) CHECK(each.address == "here" && each.bytes.size() <= noisegate::default_mtu);
  tracking.receiver.forget(session);
  CHECK(!tracking.knows(session));
}

TEST("who is not admitted reaches no service") {
  auto client = noisegate::Client::connect("127.0.0.1:1");
  Receiver<std::string> receiver(
      *client, {.admit = [](const std::string&, const std::string&) { return std::optional<noisegate::Admission>(); }});
  for (const char first : {'\x09', '\x0c'}) {  // HANDSHAKE and RESUME, step 1
    std::string refused;
    const auto packet = first + std::string(8, '\0') + "\x01hello";
    receiver.receive(packet, "a", [&](const auto& received) { refused = received->refused; });
    CHECK(refused == noisegate::reason::not_admitted);
  }
}

TEST("a receiver that is gone is told of nothing") {
  auto client = noisegate::Client::connect("127.0.0.1:1", {.policy = {.attempts = 1}});
  bool told = false;
  auto receiver = std::make_optional<Receiver<std::string>>(*client);
  receiver->receive(record(40), "a", [&](const auto&) { told = true; });
  receiver.reset();
  client->close();
  CHECK(client->poll() == 1);
  CHECK(!told);
}
