#include <optional>
#include <thread>

#include "check.h"
#include "noisegate/noisegate.h"
#include "noisegate/testing.h"

namespace {

namespace reason = noisegate::reason;
namespace v1 = noisegate::v1;
using noisegate::Client;
using noisegate::Code;
using noisegate::Options;
using noisegate::Session;

// Patient enough for a busy machine.
Options patient() {
  Options options;
  options.policy.packet_deadline = options.policy.control_deadline = std::chrono::seconds(5);
  return options;
}

// One service for all, since each start costs the better part of a second.
const std::string& target() {
  static const noisegate::testing::Service service;
  return service.address();
}

Client connected(Options options = patient()) { return std::move(*Client::connect(target(), std::move(options))); }

v1::InitiateHandshake towards(const std::string& player) {
  v1::InitiateHandshake step;
  step.set_mode(noisegate::mode_noise);
  step.mutable_protocol()->set_pattern(noisegate::pattern_xx);
  step.mutable_protocol()->set_suite(noisegate::suite_chacha);
  step.set_peer_id(player);
  return step;
}

const std::string unknown_id(24, '\0');

// Polls until something has come about; whether it has, in good time.
template <class Condition>
bool polled(Client& client, Condition condition) {
  for (int turn = 0; turn < 100 && !condition(); ++turn) client.poll_for(std::chrono::milliseconds(100));
  return condition();
}

}  // namespace

TEST("capabilities name the static key") {
  auto client = connected();
  const auto found = client.capabilities().take();
  CHECK(found && found->static_key().size() == 32);
}

TEST("a refusal has its reason and its code") {
  auto client = connected();
  v1::RespondHandshake step;
  step.set_mode(noisegate::mode_noise);
  *step.mutable_protocol() = towards("").protocol();
  step.set_message("no handshake");
  const auto session = client.respond(step).take();
  CHECK(!session && session.error().reason == reason::handshake_failed);
  CHECK(session.error().code == Code::invalid_argument && !session.error().resume_needed());
}

TEST("a session that is unknown needs a resume, and its handle knows that it is over") {
  auto client = connected();
  const auto session = client.session(unknown_id, "", noisegate::mode_noise);
  const auto sealed = session.encrypt("six").take();
  CHECK(!sealed && sealed.error().resume_needed() && session.ended());
}

TEST("callbacks come by poll, on the thread that polls, in order") {
  auto client = connected();
  std::vector<int> came;
  std::thread::id thread;
  client.capabilities().then([&](const auto& found) { came.push_back(found.ok()); });
  client.session(unknown_id).encrypt("six").then([&](const auto& sealed) {
    came.push_back(sealed.ok() ? -1 : 2);
    thread = std::this_thread::get_id();
  });
  CHECK(came.empty());
  CHECK(polled(client, [&] { return came.size() == 2; }));
  CHECK(thread == std::this_thread::get_id());
  CHECK(client.poll() == 0);
}

TEST("a coroutine goes on by poll") {
  auto client = connected();
  std::string reached;
  const auto flow = [](Client& of, std::string& at) -> noisegate::Flow {
    const auto found = co_await of.capabilities();
    at = found ? "capabilities" : "nothing";
    const auto sealed = co_await of.session(unknown_id).encrypt("six");
    at += sealed ? "" : ", " + sealed.error().reason;
  };
  flow(client, reached);
  CHECK(polled(client, [&] { return reached.find(", ") != std::string::npos; }));
  CHECK(reached == "capabilities, SESSION_NOT_FOUND");
}

TEST("what is for the player goes to the hook alone, before the result") {
  std::vector<std::string> sent;
  auto options = patient();
  options.on_send = [&](const Session& session, const std::vector<std::string>& messages) {
    if (session.peer_id() == "hooked") sent = messages;
  };
  auto client = connected(options);
  std::optional<Session> begun;
  bool sent_before = false;
  client.initiate(towards("hooked")).then([&](const auto& session) {
    sent_before = sent.size() == 1;
    if (session) begun = *session;
  });
  CHECK(polled(client, [&] { return begun.has_value(); }));
  CHECK(sent_before && sent.front().size() == 32 && begun->to_peer().empty());
}

TEST("a session lives at an endpoint, and listing finds it") {
  auto client = connected();
  const auto session = client.initiate(towards("ann")).take();
  CHECK(session && session->endpoint() == target() && !session->established());
  v1::ListSessionsRequest asked;
  asked.set_peer_id("ann");
  const auto page = client.list_sessions("", asked).take();
  CHECK(page && page->sessions_size() == 1 && page->sessions(0).session_id() == session->id());
  const auto adopted = client.adopt(page->sessions(0));
  CHECK(adopted.peer_id() == "ann" && adopted.mode() == noisegate::mode_noise);
  CHECK(session->close().take().ok() && session->ended());
}

TEST("a watch begins with Watching, and ends when it is cancelled") {
  auto client = connected();
  bool watching = false;
  auto watch = client.watch("", {}, [&](const auto& told) { watching = told.has_watching(); });
  CHECK(polled(client, [&] { return watching; }));
  watch.cancel();
  const auto ended = watch.take();
  CHECK(!ended && ended.error().code == Code::cancelled);
}

TEST("items of a batch fail one by one") {
  auto client = connected();
  const auto session = client.initiate(towards("bea")).take();
  CHECK(session.ok());
  const auto short_of = client.session("short", "", noisegate::mode_datagram);
  const auto sealed =
      client.encrypt_batch({{*session, "early"}, {client.session(unknown_id), "x"}, {short_of, "x"}}).take();
  CHECK(sealed && sealed->size() == 3);
  CHECK((*sealed)[0].error().reason == reason::not_established);
  CHECK((*sealed)[1].error().resume_needed());
  CHECK((*sealed)[2].error().reason == reason::invalid_request);
  session->close().detach();
}

TEST("the multiplexer tells each call what became of it") {
  auto options = patient();
  options.multiplex.emplace();
  auto client = connected(options);
  const auto session = client.initiate(towards("cat")).take();
  const auto sealed = session->encrypt("early").take();
  CHECK(!sealed && sealed.error().reason == reason::not_established);
  CHECK(session->close().take().ok());
}

TEST("a closed client says so, and keeps nothing waiting") {
  for (const bool multiplex : {false, true}) {
    auto options = patient();
    if (multiplex) options.multiplex.emplace();
    auto client = connected(options);
    auto before = client.session(unknown_id).encrypt("six");
    client.close();
    CHECK(!before.take());
    const auto after = client.session(unknown_id).encrypt("six").take();
    CHECK(!after && after.error().reason == reason::client_closed);
  }
}

TEST("plaintext stays on this machine") {
  for (const auto* elsewhere :
       {"10.0.0.1:7443", "example.com:7443", "localhost.example:7443", "[::2]:7443", "noisegate"}) {
    const auto client = Client::connect(elsewhere);
    CHECK(!client && client.error().reason == reason::insecure_target);
  }
  for (const auto* here : {"127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/noisegate"}) {
    CHECK(Client::connect(here, {.token = [] { return "secret"; }}).ok());
  }
  CHECK(Client::connect("10.0.0.1:1", {.insecure = true}).ok());
  // A token is good for whoever reads it, even in a network that is trusted.
  CHECK(!Client::connect("10.0.0.1:1", {.insecure = true, .token = [] { return "secret"; }}));
}

TEST("options outside their range are refused") {
  CHECK(!Client::connect("127.0.0.1:1", {.policy = {.attempts = 0}}));
  CHECK(!Client::connect("127.0.0.1:1", {.policy = {.packet_deadline = std::chrono::milliseconds(0)}}));
  const auto client = Client::connect("127.0.0.1:1", {.multiplex = noisegate::Multiplex{.max_items = 1'025}});
  CHECK(!client && client.error().reason == reason::invalid_options);
}

TEST("a packet does not wait for a server, and a control call does") {
  // Nobody listens there: the port of a service that has gone.
  auto client = Client::connect("127.0.0.1:1", {.policy = {.packet_deadline = std::chrono::seconds(5), .attempts = 1}});
  const auto sealed = client->session(unknown_id, "", noisegate::mode_datagram).encrypt("six").take();
  CHECK(!sealed && sealed.error().code == Code::unavailable);
  const auto found = client->capabilities({.timeout = std::chrono::milliseconds(50)}).take();
  CHECK(!found && found.error().code == Code::deadline_exceeded);
}
