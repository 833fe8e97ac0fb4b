#include "errors.h"

#include <algorithm>
#include <array>

#include "status.pb.h"

namespace noisegate {

std::string_view name_of(Code code) {
  static constexpr std::array<std::string_view, 17> names = {
      "OK",           "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND",    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",      "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS",    "UNAUTHENTICATED"};
  const auto number = static_cast<std::size_t>(code);
  return names[number < names.size() ? number : static_cast<std::size_t>(Code::unknown)];
}

bool Error::resume_needed() const { return reason == reason::session_not_found || reason == reason::session_closed; }

bool Error::refuses_packet() const {
  return reason == reason::decrypt_failed || reason == reason::replay_detected || reason == reason::counter_too_old;
}

std::string Error::text() const {
  return "noisegate: " + (reason.empty() ? std::string(name_of(code)) : reason) + ": " + message;
}

namespace detail {

namespace {

constexpr std::string_view domain = "noisegate";

Code code_of(int number) {
  return number >= 0 && number <= static_cast<int>(Code::unauthenticated) ? static_cast<Code>(number) : Code::unknown;
}

}  // namespace

Error error_of(int code, const std::string& message, const std::string& details) {
  Error error{.code = code_of(code), .message = message};
  StatusDetails status;
  if (!status.ParseFromString(details)) return error;
  for (const auto& any : status.details()) {
    ErrorDetail info;
    RetryDetail retry;
    if (any.type_url() == "type.googleapis.com/google.rpc.ErrorInfo" && info.ParseFromString(any.value())) {
      if (info.domain() != domain) continue;
      error.reason = info.reason();
      error.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (any.type_url() == "type.googleapis.com/google.rpc.RetryInfo" && retry.ParseFromString(any.value())) {
      error.retry_delay = std::max(std::chrono::nanoseconds::zero(), duration_of(retry.retry_delay()));
    }
  }
  return error;
}

Error error_of(const v1::TransportRefused& refused) {
  StatusDetails status;
  if (!status.ParseFromString(refused.status()) || status.code() == 0) {
    return {.code = code_of(static_cast<int>(refused.code())), .message = "the batch was refused"};
  }
  return error_of(status.code(), status.message(), refused.status());
}

Error error_of(const v1::ItemError& item) {
  static const std::string prefix = "ERROR_REASON_";
  Error error{.code = code_of(static_cast<int>(item.code())), .message = item.message()};
  error.metadata.insert(item.metadata().begin(), item.metadata().end());
  // The name of a number that is of a later contract is empty.
  const auto& name = v1::ErrorReason_Name(item.reason());
  if (item.reason() != v1::ERROR_REASON_UNSPECIFIED && name.size() > prefix.size()) {
    error.reason = name.substr(prefix.size());
  }
  return error;
}

Error error_of(const v1::HandshakeRetry& retry, const google::protobuf::RepeatedPtrField<std::string>& to_peer) {
  const bool clock = retry.reason() == v1::HandshakeRetry::REASON_CLOCK;
  return {.code = Code::failed_precondition,
          .reason = std::string(clock ? reason::retry_clock : reason::retry_choose),
          .message = "the player has to begin anew",
          .to_peer = strings_of(to_peer)};
}

Error not_whole(const std::string& what) {
  return {.code = Code::internal, .message = "the answer does not have " + what};
}

Error client_closed() {
  return {.code = Code::cancelled, .reason = std::string(reason::client_closed), .message = "the client is closed"};
}

std::chrono::nanoseconds duration_of(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

}  // namespace detail
}  // namespace noisegate
