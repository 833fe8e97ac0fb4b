// The address of one session's player, and how far it is believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "noisegate/records.h"

namespace noisegate::detail {

// An address that has proved nothing gets at most this many times what came from it (RFC 9000, section 8).
inline constexpr std::size_t amplification = 3;

// An address proves itself by a handshake, or by the answer to a question: whoever finishes or answers it has read our
// message, which went to that address and to no other. Any other record proves that the player sent it, not that the
// player is where it says: a player may forge its own source address to have a stranger flooded.
template <class Address>
class Path {
 public:
  // `provable`: finishing the handshake will prove the address.
  Path(Address address, std::size_t came, bool provable)
      : address_(std::move(address)), came_(came), provable_(provable) {}

  const Address& address() const { return address_; }
  bool verified() const { return verified_; }
  void verify() { verified_ = true; }

  // So many bytes that name this session.
  void came_from(const Address& source, std::size_t size) {
    if (source == address_) came_ += size;
  }

  // Whether a message may go to the address now; it counts as sent if so.
  bool may_send(std::size_t size) {
    if (verified_) return true;
    if (sent_ + size > amplification * came_) return false;
    sent_ += size;
    return true;
  }

  // A handshake message of ours went to another address, so finishing proves nothing about this one.
  void answered_elsewhere() { provable_ = false; }

  // The player finished the handshake with a message that needed ours.
  void finished(const Address& source) {
    if (provable_ && source == address_) verified_ = true;
  }

  // A record opened that came from source; whether the player is now followed to there.
  bool opened(const Address& source, std::size_t size, const Opened& record) {
    const std::pair here{record.epoch, record.counter};
    // Calls run side by side: an answer may come after that of a newer record.
    if (!record.newest || (latest_ && here <= *latest_)) return false;
    latest_ = here;
    if (source == address_) {
      if (!record.early) finished(source);
      return false;
    }
    if (verified_) home_ = address_;
    address_ = source;
    verified_ = home_ && source == *home_;
    came_ = size;
    sent_ = 0;
    provable_ = false;
    asked_.clear();
    return true;
  }

  // A question with this token goes to the address, and to no other.
  void ask(std::string token) { asked_ = std::move(token); }

  // A record from source has answered the question with this token, empty for none.
  void answered(const Address& source, const std::string& token) {
    if (!token.empty() && source == address_ && token == asked_) verified_ = true;
  }

 private:
  Address address_;
  bool verified_ = false;
  std::size_t came_;
  std::size_t sent_ = 0;
  std::optional<std::pair<std::uint32_t, std::uint64_t>> latest_;
  bool provable_;
  std::optional<Address> home_;  // the last address that had proved itself
  std::string asked_;
};

}  // namespace noisegate::detail
