// What a handle knows of its session without asking.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "noisegate/records.h"

namespace noisegate::detail {

struct Facts {
  std::string id;
  std::string endpoint;
  v1::RecordMode mode = v1::RECORD_MODE_UNSPECIFIED;
  bool resuming = false;
  std::string connection_id;
  std::string peer_id;
  std::string group;
  std::optional<v1::Established> established;
  std::chrono::nanoseconds pending_for{};
  std::vector<std::string> to_peer;
  std::string payload;
  std::string hello;
  std::string ticket;
  v1::EarlyData early = v1::EARLY_DATA_UNSPECIFIED;
  std::string early_data;
  bool fell_back = false;
  bool ended = false;

  static Facts of(const v1::Session& described);
  // Remembers what a step of a handshake or of a resume gave, and from where.
  void shaken(const v1::HandshakeResponse& step, const std::string& from);
  void resumed(const v1::ResumeResponse& step, const std::string& from);
};

Sealed sealed_of(v1::EncryptResponse answer);
// A content of a later contract reads as a control record that the game may ignore.
Opened opened_of(v1::DecryptResponse answer);

}  // namespace noisegate::detail
