#include "noisegate/fragments.h"

#include <algorithm>

namespace noisegate {

namespace {

constexpr char fragment_first_byte = 0x0d;
constexpr std::size_t max_parts = 255;

}  // namespace

namespace detail {

bool may_be_cut(std::string_view packet) {
  const auto peeked = peek(packet);
  return peeked && peeked->type != PacketType::fragment && peeked->type != PacketType::retry;
}

std::optional<Part> part_of(std::string_view fragment) {
  if (fragment.size() <= fragment_header_bytes || fragment[0] != fragment_first_byte) return std::nullopt;
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(fragment[at]); };
  Part part{{}, static_cast<std::uint16_t>(byte(9) << 8 | byte(10)), byte(11), byte(12)};
  if (part.number >= part.count) return std::nullopt;
  std::copy_n(fragment.begin() + 1, part.connection_id.size(), part.connection_id.begin());
  return part;
}

Error bad_fragment() {
  return {.code = Code::invalid_argument,
          .reason = std::string(reason::not_a_packet),
          .message = "a fragment that is none, or that no set can take"};
}

}  // namespace detail

Result<std::vector<std::string>> split(std::string_view packet, std::uint16_t message_id, std::size_t mtu) {
  if (packet.size() <= mtu) return std::vector{std::string(packet)};
  const auto room = mtu > detail::fragment_header_bytes ? mtu - detail::fragment_header_bytes : 0;
  const auto count = room == 0 ? 0 : (packet.size() + room - 1) / room;
  if (room == 0 || packet.size() > max_packet_bytes || !detail::may_be_cut(packet) || count > max_parts) {
    return Error{.code = Code::invalid_argument,
                 .reason = std::string(reason::invalid_request),
                 .message = "not a packet that can be cut to this size"};
  }
  std::vector<std::string> parts;
  for (std::size_t n = 0; n < count; ++n) {
    std::string part{fragment_first_byte};
    part += packet.substr(1, detail::header_bytes - 1);
    part += {static_cast<char>(message_id >> 8), static_cast<char>(message_id & 0xff), static_cast<char>(n),
             static_cast<char>(count)};
    part += packet.substr(n * room, room);
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace noisegate
