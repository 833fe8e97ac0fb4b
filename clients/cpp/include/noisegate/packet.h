// What a player's packet claims to be: without a key and without a service.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace noisegate {

// The types of docs/protocol.md, section 2.
enum class PacketType : std::uint8_t {
  handshake = 1,
  record = 2,
  salted = 3,
  resume = 4,
  fragment = 5,
  retry = 6,
};

// What a player's packets carry; zeros in its first one. It finds a session and proves nothing.
using ConnectionId = std::array<char, 8>;

struct Peeked {
  PacketType type;
  ConnectionId connection_id;
};

// Reads the type and the connection id of a player's packet; nothing for bytes that are not one of noisegate's. Nothing
// of what it reads is authenticated.
//
// First bytes 0x09 to 0x0e are free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443), so one port can serve all.
std::optional<Peeked> peek(std::string_view packet);

inline constexpr std::size_t max_packet_bytes = 65'535;

namespace detail {

inline constexpr std::size_t header_bytes = 9;

// The step of a HANDSHAKE or RESUME packet; 0 where it is too short to have one.
std::uint8_t step_of(std::string_view packet);

// What a RETRY carries of the packet that it refuses.
using Echo = std::array<char, 8>;

Echo echo_of(std::string_view packet);
// Nothing where the packet is too short.
std::optional<Echo> echo_in(std::string_view retry);

}  // namespace detail
}  // namespace noisegate
