// What was sealed and what was opened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "noisegate/v1/session_crypto_service.pb.h"

namespace noisegate {

// Words of the contract that every game uses.
inline constexpr auto mode_noise = v1::RECORD_MODE_NOISE;
inline constexpr auto mode_datagram = v1::RECORD_MODE_DATAGRAM;
inline constexpr auto pattern_xx = v1::PATTERN_XX;
inline constexpr auto pattern_ik = v1::PATTERN_IK;
inline constexpr auto pattern_nk = v1::PATTERN_NK;
inline constexpr auto suite_chacha = v1::SUITE_CHACHA20_POLY1305_X25519;
inline constexpr auto suite_aesgcm = v1::SUITE_AES256_GCM_X25519;
inline constexpr auto suite_hybrid = v1::SUITE_MLKEM1024_X25519_CHACHA20_POLY1305;
inline constexpr auto rekey = v1::ROTATION_KIND_REKEY;
inline constexpr auto renegotiate = v1::ROTATION_KIND_RENEGOTIATE;

// A record for the player.
struct Sealed {
  // The record.
  std::string packet;
  // Must go to the player besides, before it, each on its own. Empty where an on_send hook has them.
  std::vector<std::string> to_peer;
  // Of the record; never used twice under one key.
  std::uint64_t counter = 0;
  // Of the record's key.
  std::uint32_t epoch = 0;
  // A soft limit of age or use is passed: rotate soon.
  bool rotation_due = false;

  // Everything to send to the player, in order: to_peer, then the record.
  std::vector<std::string> messages() const {
    std::vector<std::string> all = to_peer;
    all.push_back(packet);
    return all;
  }
};

// What a packet of the player was.
struct Opened {
  // The session's, 24 bytes.
  std::string session_id;
  // Why the packet is to be dropped (DECRYPT_FAILED, REPLAY_DETECTED, COUNTER_TOO_OLD); empty where it opened. A forged
  // or late packet is a result and no error: the session goes on.
  std::string refused;
  // There is something for the game, which may be empty.
  bool has_plaintext = false;
  // What the player wrote. Secret.
  std::string plaintext;
  // What the record was when it was nothing for the game.
  v1::ControlKind control = v1::CONTROL_KIND_UNSPECIFIED;
  // The token of the question that a keep-alive answers.
  std::string answered;
  // Must go to the player, each on its own. Empty where an on_send hook has them.
  std::vector<std::string> to_peer;
  // Of the record.
  std::uint64_t counter = 0;
  std::uint32_t epoch = 0;
  // The handshake is not yet confirmed by the player, so this may be a replay.
  bool early = false;
  // The newest record so far (DATAGRAM). Only then follow the player to the address that it came from.
  bool newest = false;
  // A soft limit of age or use is passed: rotate soon.
  bool rotation_due = false;
};

}  // namespace noisegate
