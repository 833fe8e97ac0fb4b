// The sessions that a receiver knows.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "noisegate/packet.h"
#include "noisegate/path.h"
#include "noisegate/session.h"

namespace noisegate::detail {

using Time = std::chrono::steady_clock::time_point;

// Sessions by connection id and by id: at most `limit` that live and `limit` half-open ones, each the latest used.
// Apart, so that a flood of forged first packets cannot push out sessions that live.
template <class Address>
class Table {
 public:
  struct Tracked;
  using Entry = std::shared_ptr<Tracked>;

  struct Tracked {
    Tracked(Session which, Path<Address> where) : session(std::move(which)), id(session.id()), path(std::move(where)) {}

    Session session;
    std::string id;
    Path<Address> path;
    // When its handshake is given up; nothing once it is established.
    std::optional<Time> expires_at;
    std::set<ConnectionId> connection_ids;
    // What a RETRY to a packet with which the game began it would carry, while its handshake has not finished.
    std::set<Echo> echoes;
    typename std::list<Entry>::iterator place;
  };

  explicit Table(std::size_t limit) : limit_(limit) {}

  // The session whose player's packets carry this connection id; nothing for none.
  Entry find(const ConnectionId& id) {
    const auto found = by_connection_.find(id);
    if (found == by_connection_.end()) return nullptr;
    if (!found->second->expires_at) live_.splice(live_.end(), live_, found->second->place);
    return found->second;
  }

  Entry get(const Session& session) const {
    const auto found = by_id_.find(session.id());
    return found == by_id_.end() ? nullptr : found->second;
  }

  // Takes up a session; without an expiry it is established.
  Entry add(const Session& session, Path<Address> path, std::optional<Time> expires_at) {
    remove(session);
    auto made = std::make_shared<Tracked>(session, std::move(path));
    made->expires_at = expires_at;
    by_id_[made->id] = made;
    enter(expires_at ? half_open_ : live_, made);
    ConnectionId carried{};
    if (const auto id = session.connection_id(); id.size() == carried.size()) {
      id.copy(carried.data(), carried.size());
      alias(made, carried);
    }
    return made;
  }

  // The player's packets carry this connection id too.
  void alias(const Entry& entry, const ConnectionId& id) {
    if (id == ConnectionId{} || !holds(entry)) return;
    by_connection_[id] = entry;
    entry->connection_ids.insert(id);
  }

  // The game began this session with these packets, or began it anew.
  void sent(const Entry& entry, const std::vector<std::string>& packets) {
    if (!entry->expires_at || !holds(entry)) return;
    for (const auto& packet : packets) {
      const auto echo = echo_of(packet);
      by_echo_[echo] = entry;
      entry->echoes.insert(echo);
    }
  }

  // The half-open session that sent the packet which this RETRY refuses.
  Entry that_sent(std::string_view retry) const {
    const auto carried = echo_in(retry);
    const auto found = carried ? by_echo_.find(*carried) : by_echo_.end();
    return found == by_echo_.end() ? nullptr : found->second;
  }

  // The session is established.
  void settle(const Entry& entry) {
    forget_echoes(*entry);
    if (!entry->expires_at || !holds(entry)) return;
    entry->expires_at.reset();
    half_open_.erase(entry->place);
    enter(live_, entry);
  }

  // Forgets handshakes that nobody finished.
  void expire(Time now) {
    while (!half_open_.empty() && *half_open_.front()->expires_at <= now) drop(half_open_.front());
  }

  void remove(const Session& session) {
    if (const auto known = get(session)) drop(known);
  }

 private:
  bool holds(const Entry& entry) const {
    const auto found = by_id_.find(entry->id);
    return found != by_id_.end() && found->second == entry;
  }

  void enter(std::list<Entry>& list, const Entry& entry) {
    entry->place = list.insert(list.end(), entry);
    if (list.size() > limit_) drop(list.front());
  }

  void drop(Entry entry) {
    by_id_.erase(entry->id);
    (entry->expires_at ? half_open_ : live_).erase(entry->place);
    forget_echoes(*entry);
    for (const auto& id : entry->connection_ids) {
      const auto found = by_connection_.find(id);
      if (found != by_connection_.end() && found->second == entry) by_connection_.erase(found);
    }
  }

  void forget_echoes(Tracked& entry) {
    for (const auto& echo : entry.echoes) {
      const auto found = by_echo_.find(echo);
      if (found != by_echo_.end() && found->second.get() == &entry) by_echo_.erase(found);
    }
    entry.echoes.clear();
  }

  const std::size_t limit_;
  std::map<std::string, Entry> by_id_;
  std::map<ConnectionId, Entry> by_connection_;
  std::map<Echo, Entry> by_echo_;
  std::list<Entry> live_;       // the longest unused in front
  std::list<Entry> half_open_;  // the oldest in front
};

}  // namespace noisegate::detail
