#include "noisegate/packet.h"

#include <openssl/sha.h>

#include <algorithm>

namespace noisegate {

std::optional<Peeked> peek(std::string_view packet) {
  if (packet.size() < detail::header_bytes) return std::nullopt;
  const auto first = static_cast<std::uint8_t>(packet[0]);
  const std::uint8_t type = first & 0x07;
  if ((first & 0xf8) != 0x08 || type < static_cast<std::uint8_t>(PacketType::handshake) ||
      type > static_cast<std::uint8_t>(PacketType::retry)) {
    return std::nullopt;
  }
  Peeked peeked{static_cast<PacketType>(type), {}};
  std::copy_n(packet.begin() + 1, peeked.connection_id.size(), peeked.connection_id.begin());
  return peeked;
}

namespace detail {

std::uint8_t step_of(std::string_view packet) {
  return packet.size() > header_bytes ? static_cast<std::uint8_t>(packet[header_bytes]) : 0;
}

Echo echo_of(std::string_view packet) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(packet.data()), packet.size(), hash.data());
  Echo echo;
  std::copy_n(hash.begin(), echo.size(), echo.begin());
  return echo;
}

std::optional<Echo> echo_in(std::string_view retry) {
  Echo echo;
  if (retry.size() < header_bytes + echo.size()) return std::nullopt;
  std::copy_n(retry.begin() + header_bytes, echo.size(), echo.begin());
  return echo;
}

}  // namespace detail
}  // namespace noisegate
