// Packets larger than a path takes (docs/protocol.md, section 2): cut here, put together at the other end.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "noisegate/error.h"
#include "noisegate/packet.h"

namespace noisegate {

// The bytes of a datagram that every path takes, as QUIC reckons (RFC 9000, section 14).
inline constexpr std::size_t default_mtu = 1'200;

// The datagrams of at most mtu bytes that carry a packet: itself where it fits, otherwise FRAGMENTs. Give each packet,
// and each repeat, another message_id. INVALID_REQUEST for what is no packet, or cannot be cut to this size.
Result<std::vector<std::string>> split(std::string_view packet, std::uint16_t message_id, std::size_t mtu);

// What parts may cost while the rest of their sets is on its way; bytes count bookkeeping too. These bound what
// strangers can make a Reassembler keep to 4 MiB, for 2 s.
struct ReassemblyLimits {
  // Of all sets; beyond it the oldest go.
  std::size_t total_bytes = 4 << 20;
  // Beyond these that source's oldest go.
  std::size_t sets_per_source = 8;
  std::size_t bytes_per_source = 160 << 10;
  // From a set's first part to its last.
  std::chrono::nanoseconds lifetime = std::chrono::seconds(2);
};

// Puts the parts of large packets together, of sources that Address names, which needs operator<. It needs no key, and
// nothing here is authenticated: a whole packet proves itself when the service opens it. For one thread at a time.
template <class Address>
class Reassembler {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit Reassembler(ReassemblyLimits limits = {}) : limits_(limits) {}

  // What the parts that wait cost.
  std::size_t held_bytes() const { return cost_; }

  // Takes a part that came at `now` and gives the whole packet where it was the last one missing, otherwise an empty
  // one. A part that has come before changes nothing. NOT_A_PACKET where it is malformed, or completes what is no
  // packet.
  Result<std::string> add(std::string_view fragment, const Address& source, Time now);

 private:
  // Parts that differ in one of these are of different sets: source, connection id, message id, how many parts.
  using Key = std::tuple<Address, ConnectionId, std::uint16_t, std::uint8_t>;
  struct Set;
  // Oldest first, by their first parts: another part does not make its set younger.
  using Sets = std::list<Set>;
  struct Share {
    std::list<typename Sets::iterator> sets;
    std::size_t cost = 0;
  };
  struct Set {
    Key key;
    Time expires_at;
    std::map<std::uint8_t, std::string> parts = {};
    std::size_t size = 0;
    std::size_t cost = 0;
    typename std::list<typename Sets::iterator>::iterator in_share = {};
  };

  typename Sets::iterator begin(const Key& key, Time now);
  void pay(Set& set, std::size_t cost);
  void make_room(const Address& source);
  void drop(typename Sets::iterator set);

  ReassemblyLimits limits_;
  Sets oldest_;
  std::map<Key, typename Sets::iterator> sets_;
  std::map<Address, Share> sources_;
  std::size_t cost_ = 0;
};

namespace detail {

inline constexpr std::size_t fragment_header_bytes = 13;
inline constexpr std::size_t set_bytes = 512;   // what a set costs beside its parts, rounded up
inline constexpr std::size_t part_bytes = 128;  // what a part costs beside its bytes, rounded up

// A RETRY is small, and a FRAGMENT is no packet to be cut again.
bool may_be_cut(std::string_view packet);

// The header of a FRAGMENT.
struct Part {
  ConnectionId connection_id;
  std::uint16_t message_id;
  std::uint8_t number;
  std::uint8_t count;
};
std::optional<Part> part_of(std::string_view fragment);
Error bad_fragment();

}  // namespace detail

template <class Address>
Result<std::string> Reassembler<Address>::add(std::string_view fragment, const Address& source, Time now) {
  while (!oldest_.empty() && oldest_.front().expires_at <= now) drop(oldest_.begin());
  const auto part = detail::part_of(fragment);
  if (!part) return detail::bad_fragment();
  const Key key{source, part->connection_id, part->message_id, part->count};
  const auto found = sets_.find(key);
  const auto set = found == sets_.end() ? begin(key, now) : found->second;
  const auto body = fragment.substr(detail::fragment_header_bytes);
  if (!set->parts.emplace(part->number, body).second) return std::string();
  set->size += body.size();
  pay(*set, body.size() + detail::part_bytes);
  if (set->size > max_packet_bytes) {
    drop(set);
    return detail::bad_fragment();
  }
  if (set->parts.size() < part->count) {
    make_room(source);
    return std::string();
  }
  std::string whole;
  whole.reserve(set->size);
  for (const auto& [number, bytes] : set->parts) whole += bytes;
  drop(set);
  const auto peeked = peek(whole);
  if (!peeked || !detail::may_be_cut(whole) || peeked->connection_id != part->connection_id) {
    return detail::bad_fragment();
  }
  return whole;
}

template <class Address>
auto Reassembler<Address>::begin(const Key& key, Time now) -> typename Sets::iterator {
  const auto set = oldest_.insert(oldest_.end(), Set{.key = key, .expires_at = now + limits_.lifetime});
  auto& own = sources_[std::get<0>(key)].sets;
  set->in_share = own.insert(own.end(), set);
  sets_.emplace(key, set);
  pay(*set, detail::set_bytes);
  return set;
}

template <class Address>
void Reassembler<Address>::pay(Set& set, std::size_t cost) {
  set.cost += cost;
  sources_[std::get<0>(set.key)].cost += cost;
  cost_ += cost;
}

template <class Address>
void Reassembler<Address>::make_room(const Address& source) {
  for (auto own = sources_.find(source); own != sources_.end(); own = sources_.find(source)) {
    const auto& share = own->second;
    if (share.sets.size() <= limits_.sets_per_source && share.cost <= limits_.bytes_per_source) break;
    drop(share.sets.front());
  }
  while (cost_ > limits_.total_bytes) drop(oldest_.begin());
}

template <class Address>
void Reassembler<Address>::drop(typename Sets::iterator set) {
  const auto own = sources_.find(std::get<0>(set->key));
  own->second.sets.erase(set->in_share);
  own->second.cost -= set->cost;
  cost_ -= set->cost;
  if (own->second.sets.empty()) sources_.erase(own);
  sets_.erase(set->key);
  oldest_.erase(set);
}

}  // namespace noisegate
