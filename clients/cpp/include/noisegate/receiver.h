// A UDP game's receive path.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "noisegate/client.h"
#include "noisegate/fragments.h"
#include "noisegate/packet.h"
#include "noisegate/path.h"
#include "noisegate/received.h"
#include "noisegate/table.h"

namespace noisegate {

template <class Address>
struct ReceiverOptions {
  // Asked before a player begins or resumes a session; nothing refuses it. Without it anyone may, unnamed.
  std::function<std::optional<Admission>(const std::string& packet, const Address& source)> admit = {};
  // Handles kept, and half-open ones besides, at least 1; a forgotten one is found again by the service.
  std::size_t max_sessions = 65'536;
  // Bytes of a datagram that the players' paths take, at least 576; larger packets go out as fragments.
  std::size_t mtu = default_mtu;
  // What the fragments of players may cost.
  ReassemblyLimits reassembly = {};
  // A monotonic clock.
  std::function<std::chrono::steady_clock::time_point()> now = [] { return std::chrono::steady_clock::now(); };
};

// Hand it every packet of every player, send what it gives back. It holds no key. Address needs operator< and
// operator==.
//
// It picks the RPC by the packet's first bytes, keeps the handle of every session by connection id, and decides where a
// session's bytes go: it follows a player to a new address only after a record from there opened and was the newest so
// far, and sends to an address that has proved nothing at most three times what came from it. What does not fit is
// dropped, not queued. So after `moved` send one small challenge there, repeat it now and then, and nothing of an
// ordered stream, until the player has echoed it: then call mark_verified. The client's on_send hook is not called for
// what a receiver sends.
//
// It belongs to the thread that polls the client, and must end before the client does; what is under way ends with it.
template <class Address>
class Receiver {
 public:
  using Done = std::function<void(Result<Received<Address>>)>;

  // What is outside its range is as near to it as may be.
  explicit Receiver(const Client& client, ReceiverOptions<Address> options = {})
      : client_(client),
        options_(std::move(options)),
        sessions_(std::max<std::size_t>(options_.max_sessions, 1)),
        parts_(options_.reassembly),
        message_id_(static_cast<std::uint16_t>(std::random_device()())) {
    options_.mtu = std::max(options_.mtu, least_mtu);
  }
  Receiver(const Receiver&) = delete;

  // Handles one packet of a player; never waits. `done` comes by Client::poll, or at once where no call is needed. What
  // a forger or a bad network makes is a result with refused; an error is a trouble of the service's or the caller's
  // own.
  void receive(std::string packet, const Address& source, Done done);

  // Takes up a session that began elsewhere, e.g. by initiate. Its first to_peer is the game's to send, by way of cut.
  // verified: the game knows that the address wants to be sent to.
  void add(const Session& session, const Address& address, bool verified) {
    Where path(address, 0, true);
    if (verified) path.verify();
    sessions_.sent(sessions_.add(session, std::move(path), expiry(session)), session.to_peer());
  }

  // The datagrams of messages that the game sends wherever it wants: each no larger than the MTU.
  std::vector<std::string> cut(const std::vector<std::string>& messages) {
    std::vector<std::string> all;
    for (const auto& message : messages) {
      for (auto& datagram : datagrams(message)) all.push_back(std::move(datagram));
    }
    return all;
  }

  // Where the game's own messages (Sealed::messages, to_peer) go now. It leaves out what an address may not get yet,
  // and gives nothing for a session that this receiver does not know. What is larger than the MTU goes as fragments and
  // is lost with any of them: keep records below it, which are 32 bytes longer than their plaintexts.
  std::vector<Datagram<Address>> route(const Session& session, const std::vector<std::string>& messages) {
    const auto known = sessions_.get(session);
    return known ? allowed(known->path, messages).first : std::vector<Datagram<Address>>();
  }

  // route for what a change of network brings about: send it nowhere else. It begins with a question; once the player
  // has answered that from there, the address is verified.
  std::vector<Datagram<Address>> route_change(const Session& session, const v1::NetworkChange& change) {
    const auto known = sessions_.get(session);
    if (!known) return {};
    known->path.ask(change.token());
    return allowed(known->path, {change.to_peer().begin(), change.to_peer().end()}).first;
  }

  // Where the session's player is, as far as its records have shown; nothing for a session that is not known.
  std::optional<Address> address(const Session& session) const {
    const auto known = sessions_.get(session);
    return known ? std::optional(known->path.address()) : std::nullopt;
  }

  // Whether that address has proved that it gets what is sent to it.
  bool verified(const Session& session) const {
    const auto known = sessions_.get(session);
    return known && known->path.verified();
  }

  // Lifts the limit of an address after a proof of the game's own: a random value, sealed, sent there and echoed in a
  // record. Nothing happens if the player has moved on from it.
  void mark_verified(const Session& session, const Address& address) {
    const auto known = sessions_.get(session);
    if (known && known->path.address() == address) known->path.verify();
  }

  // Drops the handle, e.g. after close. The service still knows the session if it lives.
  void forget(const Session& session) { sessions_.remove(session); }

 private:
  using Where = detail::Path<Address>;
  using Entry = typename detail::Table<Address>::Entry;
  using Answer = Received<Address>;

  // What every IPv4 host takes (RFC 791); 255 parts of it carry the largest packet.
  static constexpr std::size_t least_mtu = 576;
  static constexpr std::chrono::seconds unconfirmed_for{60};
  static constexpr std::uint8_t first_step = 1;

  // A packet that came, and the session that its connection id names, where that is known.
  struct Arrival {
    Address source;
    std::size_t size;
    ConnectionId connection_id;
    Entry known;
  };

  void dispatch(std::string packet, PacketType type, Arrival arrival, Done done);
  void begin(std::string packet, bool resuming, const Arrival& arrival, Done done);
  void go_on(std::string packet, bool resuming, const Arrival& arrival, Done done);
  void retry(std::string packet, const Entry& begun, Arrival arrival, Done done);

  Answer opened(const Arrival& arrival, Opened record, const std::optional<Session>& found);
  Answer begun(const Arrival& arrival, const Session& session);
  Answer gone_on(const Arrival& arrival, const Session& session, bool before);
  Answer stepped(const Entry& known, const Session& step, const Arrival& arrival);
  Result<Answer> failed(const Arrival& arrival, Error error);

  // Has `next` make the answer of a call's result, once it is there.
  template <class T, class Next>
  void after(Pending<T> pending, Arrival arrival, Done done, Next next) {
    pending.then([this, alive = std::weak_ptr(alive_), arrival = std::move(arrival), done = std::move(done),
                  next = std::move(next)](Result<T> result) {
      if (alive.expired()) return;
      if (result) {
        done(next(arrival, *result));
      } else {
        done(failed(arrival, std::move(result.error())));
      }
    });
  }

  std::optional<detail::Time> expiry(const Session& session) const {
    if (session.established()) return std::nullopt;
    return options_.now() + std::chrono::duration_cast<detail::Time::duration>(session.pending_for());
  }

  // The datagrams for the path's address, and how many messages it may not get: one goes whole or not at all.
  std::pair<std::vector<Datagram<Address>>, std::size_t> allowed(Where& path,
                                                                 const std::vector<std::string>& messages) {
    std::pair<std::vector<Datagram<Address>>, std::size_t> all;
    for (const auto& message : messages) {
      auto parts = datagrams(message);
      std::size_t size = 0;
      for (const auto& part : parts) size += part.size();
      if (!path.may_send(size)) {
        ++all.second;
        continue;
      }
      for (auto& part : parts) all.first.push_back({std::move(part), path.address()});
    }
    return all;
  }

  std::vector<std::string> datagrams(const std::string& message) {
    if (message.size() <= options_.mtu || !detail::may_be_cut(message)) return {message};
    auto parts = split(message, ++message_id_, options_.mtu);
    // Not possible to fail for what the service makes: 255 parts of the least MTU carry the largest packet.
    return parts ? std::move(*parts) : std::vector{message};
  }

  static std::optional<Session> session_of(const Entry& known) {
    return known ? std::optional(known->session) : std::nullopt;
  }

  const Client& client_;
  ReceiverOptions<Address> options_;
  detail::Table<Address> sessions_;
  Reassembler<Address> parts_;
  std::uint16_t message_id_;
  // Ends with this, so that a late result finds nobody.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

template <class Address>
void Receiver<Address>::receive(std::string packet, const Address& source, Done done) {
  auto peeked = peek(packet);
  if (!peeked || packet.size() > max_packet_bytes) {
    return done(Answer{.refused = std::string(reason::not_a_packet)});
  }
  const auto now = options_.now();
  sessions_.expire(now);
  const auto known = sessions_.find(peeked->connection_id);
  if (known) known->path.came_from(source, packet.size());
  if (peeked->type == PacketType::fragment) {
    auto whole = parts_.add(packet, source, now);
    if (!whole) return done(Answer{.refused = std::string(reason::not_a_packet)});
    if (whole->empty()) return done(Answer{.session = session_of(known)});
    packet = std::move(*whole);
    peeked = peek(packet);
  }
  Arrival arrival{source, packet.size(), peeked->connection_id, known};
  dispatch(std::move(packet), peeked->type, std::move(arrival), std::move(done));
}

template <class Address>
void Receiver<Address>::dispatch(std::string packet, PacketType type, Arrival arrival, Done done) {
  switch (type) {
    case PacketType::record:
    case PacketType::salted:
      if (arrival.known) {
        return after(detail::decrypt(arrival.known->session, std::move(packet)), arrival, std::move(done),
                     [this](const Arrival& to, Opened& record) { return opened(to, std::move(record), {}); });
      }
      return after(detail::find_and_decrypt(client_, std::move(packet)), arrival, std::move(done),
                   [this](const Arrival& to, detail::Found& found) {
                     return opened(to, std::move(found.opened), found.session);
                   });
    case PacketType::handshake:
    case PacketType::resume: {
      const bool resuming = type == PacketType::resume;
      if (detail::step_of(packet) == first_step) return begin(std::move(packet), resuming, arrival, std::move(done));
      return go_on(std::move(packet), resuming, arrival, std::move(done));
    }
    case PacketType::retry:
      if (const auto begun = sessions_.that_sent(packet)) {
        return retry(std::move(packet), begun, std::move(arrival), std::move(done));
      }
      break;
    case PacketType::fragment:
      break;
  }
  done(Answer{.session = session_of(arrival.known), .refused = std::string(reason::unexpected_packet)});
}

template <class Address>
auto Receiver<Address>::opened(const Arrival& arrival, Opened record, const std::optional<Session>& found) -> Answer {
  if (!record.refused.empty()) return {.session = session_of(arrival.known), .refused = record.refused};
  auto known = arrival.known;
  const bool unknown = !known;
  bool fresh = false;
  if (unknown) {
    // The session may have another connection id here, or another packet of it came in meanwhile.
    known = sessions_.get(*found);
    fresh = !known;
    if (fresh) {
      known = sessions_.add(*found, Where(arrival.source, arrival.size, false), std::nullopt);
    } else {
      known->path.came_from(arrival.source, arrival.size);
    }
    sessions_.alias(known, arrival.connection_id);
  }
  sessions_.settle(known);
  const bool moved = known->path.opened(arrival.source, arrival.size, record);
  known->path.answered(arrival.source, record.answered);
  auto [to_send, withheld] = allowed(known->path, record.to_peer);
  record.to_peer.clear();
  const bool closed = record.control == v1::CONTROL_KIND_CLOSE;
  if (closed) sessions_.remove(known->session);
  return {.session = known->session,
          .opened = std::move(record),
          .to_send = std::move(to_send),
          .new_session = fresh,
          .closed = closed,
          .moved = moved,
          .withheld = withheld};
}

template <class Address>
void Receiver<Address>::begin(std::string packet, bool resuming, const Arrival& arrival, Done done) {
  const auto admission = options_.admit ? options_.admit(packet, arrival.source) : Admission();
  if (!admission) return done(Answer{.refused = std::string(reason::not_admitted)});
  after(detail::begin(client_, std::move(packet), *admission, resuming), arrival, std::move(done),
        [this](const Arrival& to, const Session& session) { return begun(to, session); });
}

template <class Address>
auto Receiver<Address>::begun(const Arrival& arrival, const Session& session) -> Answer {
  auto known = sessions_.get(session);
  const bool fresh = !known;
  if (fresh) {
    // Half-open until the player has answered, even where the pattern is done: a first packet may be a replay.
    const auto pending = session.established() ? std::chrono::nanoseconds(unconfirmed_for) : session.pending_for();
    known = sessions_.add(session, Where(arrival.source, arrival.size, true),
                          options_.now() + std::chrono::duration_cast<detail::Time::duration>(pending));
  } else {
    // A repeat: the service gave its answer again, and this handle is a second one of the same session.
    known->path.came_from(arrival.source, arrival.size);
  }
  auto answer = stepped(known, session, arrival);
  answer.new_session = fresh;
  answer.established = fresh && session.established();
  // Of several copies of a packet one alone has it, and not always the first to come back.
  answer.early_data = session.early_data();
  return answer;
}

template <class Address>
void Receiver<Address>::go_on(std::string packet, bool resuming, const Arrival& arrival, Done done) {
  if (!arrival.known) {
    return after(detail::find_and_proceed(client_, std::move(packet), resuming), arrival, std::move(done),
                 [this](const Arrival& to, const Session& session) { return gone_on(to, session, false); });
  }
  const auto session = arrival.known->session;
  const bool before = session.established().has_value();
  after(detail::proceed(session, std::move(packet)), arrival, std::move(done),
        [this, session, before](const Arrival& to, const auto&) { return gone_on(to, session, before); });
}

template <class Address>
auto Receiver<Address>::gone_on(const Arrival& arrival, const Session& session, bool before) -> Answer {
  auto known = arrival.known;
  bool fresh = false;
  bool established = known && !before && session.established();
  if (!known && !(known = sessions_.get(session))) {
    fresh = true;
    established = session.established().has_value();
    known = sessions_.add(session, Where(arrival.source, arrival.size, false), expiry(session));
  }
  if (established) {
    sessions_.settle(known);
    known->path.finished(arrival.source);
  }
  auto answer = stepped(known, session, arrival);
  answer.new_session = fresh;
  answer.established = established;
  return answer;
}

// The player refuses the first packet of a session that the game began.
template <class Address>
void Receiver<Address>::retry(std::string packet, const Entry& begun, Arrival arrival, Done done) {
  arrival.known = begun;
  begun->path.came_from(arrival.source, arrival.size);
  after(detail::proceed(begun->session, std::move(packet)), arrival, std::move(done),
        [this](const Arrival& to, const std::vector<std::string>& packets) {
          // Its echo is made of our packet, which went to one address alone.
          to.known->path.finished(to.source);
          sessions_.sent(to.known, packets);
          return stepped(to.known, to.known->session, to);
        });
}

template <class Address>
auto Receiver<Address>::stepped(const Entry& known, const Session& step, const Arrival& arrival) -> Answer {
  const auto messages = step.to_peer();
  Answer answer{.session = known->session, .payload = step.payload()};
  if (arrival.source == known->path.address() || messages.empty()) {
    std::tie(answer.to_send, answer.withheld) = allowed(known->path, messages);
    return answer;
  }
  // A handshake packet proves no address: its sender gets the answer, within what this packet paid for.
  known->path.answered_elsewhere();
  Where once(arrival.source, arrival.size, false);
  std::tie(answer.to_send, answer.withheld) = allowed(once, messages);
  return answer;
}

template <class Address>
auto Receiver<Address>::failed(const Arrival& arrival, Error error) -> Result<Answer> {
  if (detail::is_retry(error.reason)) {
    Where once(arrival.source, arrival.size, false);
    auto [to_send, withheld] = allowed(once, error.to_peer);
    return Answer{.to_send = std::move(to_send), .withheld = withheld, .refused = error.reason};
  }
  if (!detail::is_players_fault(error.reason)) return error;
  const bool gone = arrival.known && error.resume_needed();
  if (gone) sessions_.remove(arrival.known->session);
  return Answer{.session = session_of(arrival.known), .closed = gone, .refused = error.reason};
}

}  // namespace noisegate
