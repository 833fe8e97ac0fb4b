// How refusals are read, wherever they come from.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <chrono>
#include <string>
#include <vector>

#include "noisegate/error.h"
#include "noisegate/v1/session_crypto_service.pb.h"

namespace noisegate::detail {

// Of a call: its status code, its message, and the bytes of its details.
Error error_of(int code, const std::string& message, const std::string& details);
// Of a whole batch of a stream.
Error error_of(const v1::TransportRefused& refused);
// Of one item of a batch.
Error error_of(const v1::ItemError& item);
// The player has to begin anew.
Error error_of(const v1::HandshakeRetry& retry, const google::protobuf::RepeatedPtrField<std::string>& to_peer);

// An answer that a service of this contract does not give.
Error not_whole(const std::string& what);
Error client_closed();

std::chrono::nanoseconds duration_of(const google::protobuf::Duration& duration);

inline std::vector<std::string> strings_of(const google::protobuf::RepeatedPtrField<std::string>& values) {
  return {values.begin(), values.end()};
}

}  // namespace noisegate::detail
