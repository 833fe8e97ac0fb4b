// What comes of one packet of a player, and how the game admits players.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "noisegate/client.h"

namespace noisegate {

// How the game receives a player who begins a session. A resumed session has its ticket's names and options.
struct Admission {
  // The player, and its match, room or table: at most 64 bytes each.
  std::string peer_id = {};
  std::string group = {};
  // The same at both ends: at most 1,024 bytes.
  std::string prologue = {};
  // Of message 2: at most 16,384 bytes, in practice a third of what the player sent.
  std::string payload = {};
  // For psk patterns: 32 bytes. Secret.
  std::string psk = {};
  // For this session.
  v1::SessionOptions options = {};
  // Takes the early data of a player who resumes, where it can come for the first time alone.
  bool accept_early_data = false;
};

// Goes to an address.
template <class Address>
struct Datagram {
  std::string bytes;
  Address address;
};

// What one packet of a player was.
template <class Address>
struct Received {
  // Of the packet; nothing where it has none.
  std::optional<Session> session = {};
  // What the record was; nothing where the packet was no record, or was refused.
  std::optional<Opened> opened = {};
  // Of a handshake message; possibly replayed until a first record has opened.
  std::string payload = {};
  // What a resuming player sent along. Until a first record opens, whoever has its ticket's key may have sent it.
  std::string early_data = {};
  // Each of these in this order, each as one datagram.
  std::vector<Datagram<Address>> to_send = {};
  // This packet began the session, as far as this receiver knows.
  bool new_session = false;
  // With this packet the handshake finished, records may flow.
  bool established = false;
  // The session has ended, and the receiver has forgotten it.
  bool closed = false;
  // The player is followed to the address that this packet came from.
  bool moved = false;
  // How many messages were not sent, because their address has not proved that it wants them.
  std::size_t withheld = 0;
  // Why the packet was dropped; empty where it was not.
  std::string refused = {};

  // What the player wrote for the game; nothing where the packet had nothing for it.
  const std::string* plaintext() const { return opened && opened->has_plaintext ? &opened->plaintext : nullptr; }
};

namespace detail {

// The calls of a receiver, whose to_peer is never on_send's.
struct Found {
  Session session;
  Opened opened;
};
Pending<Found> find_and_decrypt(const Client& client, std::string packet);
Pending<Session> find_and_proceed(const Client& client, std::string packet, bool resuming);
Pending<Session> begin(const Client& client, std::string packet, const Admission& admission, bool resuming);
Pending<Opened> decrypt(const Session& session, std::string packet);
Pending<std::vector<std::string>> proceed(const Session& session, std::string packet);

// A reason that a player's packet can bring about; others are the service's and the caller's troubles.
bool is_players_fault(const std::string& reason);
bool is_retry(const std::string& reason);

}  // namespace detail
}  // namespace noisegate
