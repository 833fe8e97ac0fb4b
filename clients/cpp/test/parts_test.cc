#include <algorithm>

#include "check.h"
#include "noisegate/noisegate.h"

namespace {

using noisegate::PacketType;
using noisegate::Reassembler;
using noisegate::detail::Path;
using Time = std::chrono::steady_clock::time_point;

std::string record(std::size_t size) {
  std::string packet = "\x0a" "connect!";
  while (packet.size() < size) packet += static_cast<char>(packet.size());
  return packet.substr(0, size);
}

noisegate::Opened newest(std::uint64_t counter) {
  noisegate::Opened opened;
  opened.newest = true;
  opened.counter = counter;
  return opened;
}

}  // namespace

TEST("peek reads type and connection id of our packets alone") {
  const auto peeked = noisegate::peek(record(9));
  CHECK(peeked && peeked->type == PacketType::record);
  CHECK(std::string(peeked->connection_id.begin(), peeked->connection_id.end()) == "connect!");
  for (int first = 0; first < 256; ++first) {
    auto packet = record(9);
    packet[0] = static_cast<char>(first);
    CHECK(noisegate::peek(packet).has_value() == (first >= 0x09 && first <= 0x0e));
  }
  CHECK(!noisegate::peek(record(8)));
}

TEST("large packets come back whole from their parts in any order") {
  for (const std::size_t size : {std::size_t{1'201}, std::size_t{5'000}, noisegate::max_packet_bytes}) {
    const auto packet = record(size);
    const auto parts = noisegate::split(packet, 7, noisegate::default_mtu);
    CHECK(parts && parts->size() > 1);
    Reassembler<std::string> reassembler;
    for (auto n = parts->size(); n-- > 0;) {
      CHECK((*parts)[n].size() <= noisegate::default_mtu);
      const auto whole = reassembler.add((*parts)[n], "ann", Time{});
      CHECK(whole && *whole == (n == 0 ? packet : ""));
      // A part that comes twice changes nothing.
      if (n > 0) CHECK(reassembler.add((*parts)[n], "ann", Time{}).value().empty());
    }
    CHECK(reassembler.held_bytes() == 0);
  }
  const auto small = noisegate::split(record(1'200), 7, noisegate::default_mtu);
  CHECK(small && *small == std::vector{record(1'200)});
}

TEST("what cannot be cut is refused") {
  auto fragment = record(2'000);
  fragment[0] = 0x0d;
  CHECK(!noisegate::split(fragment, 0, noisegate::default_mtu));
  CHECK(!noisegate::split(std::string(2'000, '\0'), 0, noisegate::default_mtu));
  CHECK(!noisegate::split(record(noisegate::max_packet_bytes + 1), 0, noisegate::default_mtu));
  CHECK(!noisegate::split(record(2'000), 0, 14));
  CHECK(!noisegate::split(record(2'000), 0, 13));
}

TEST("strangers' parts cost bounded memory for a bounded time") {
  const noisegate::ReassemblyLimits limits;
  Reassembler<int> reassembler;
  for (int source = 0; source < 300; ++source) {
    for (std::uint16_t message = 0; message < 16; ++message) {
      const auto parts = noisegate::split(record(30'000), message, 20'000);
      CHECK(reassembler.add(parts->front(), source, Time{}).ok());
      CHECK(reassembler.held_bytes() <= limits.total_bytes);
    }
  }
  const auto last = noisegate::split(record(30'000), 99, 20'000);
  const auto after = Time{} + std::chrono::duration_cast<Time::duration>(limits.lifetime);
  CHECK(reassembler.add(last->front(), -1, after).ok());
  CHECK(reassembler.held_bytes() < 21'000);
}

TEST("malformed parts are refused") {
  const auto parts = noisegate::split(record(3'000), 1, noisegate::default_mtu);
  auto past_the_last = parts->front();
  past_the_last[11] = past_the_last[12];
  for (const auto& part : {parts->front().substr(0, 13), past_the_last, record(20)}) {
    CHECK(!Reassembler<int>().add(part, 0, Time{}));
  }
  // Parts whose sum is no packet of their connection.
  Reassembler<int> reassembler;
  for (std::size_t n = 0; n < parts->size(); ++n) {
    auto part = (*parts)[n];
    part[1] ^= 1;
    const auto whole = reassembler.add(part, 0, Time{});
    CHECK(whole.ok() == (n + 1 < parts->size()));
  }
  CHECK(reassembler.held_bytes() == 0);
}

TEST("an address that proved nothing gets three times what came") {
  Path<std::string> path("here", 100, true);
  CHECK(path.may_send(300));
  CHECK(!path.may_send(1));
  path.came_from("elsewhere", 100);
  CHECK(!path.may_send(1));
  path.came_from("here", 1);
  CHECK(path.may_send(3));
  path.finished("here");
  CHECK(path.may_send(1 << 20));
}

TEST("a player is followed by its newest record alone, and believed again at home") {
  Path<std::string> path("home", 100, true);
  path.finished("home");
  auto old = newest(9);
  old.newest = false;
  CHECK(!path.opened("away", 50, old));
  CHECK(path.opened("away", 50, newest(5)));
  CHECK(!path.verified() && path.address() == "away" && !path.may_send(151));
  // An answer that comes late must not lead back.
  CHECK(!path.opened("home", 50, newest(4)));
  CHECK(path.opened("home", 50, newest(6)));
  CHECK(path.verified());
}

TEST("only the answer to our question from there proves an address") {
  Path<std::string> path("here", 10, false);
  path.finished("here");
  path.answered("here", "");
  path.ask("question");
  path.answered("here", "answers!");
  path.answered("there", "question");
  CHECK(!path.verified());
  path.answered("here", "question");
  CHECK(path.verified());
}
