// What can go wrong: Error, and Result, which has one or a value. Nothing here throws.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace noisegate {

// The status codes of gRPC.
enum class Code {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

// As the contract writes it, e.g. "DEADLINE_EXCEEDED".
std::string_view name_of(Code code);

// Why the service refused something: the values of the contract's ErrorReason without their prefix. docs/errors.md says
// what each means and what to do. One that has no constant here is of a newer service.
namespace reason {
inline constexpr std::string_view invalid_request = "INVALID_REQUEST";
inline constexpr std::string_view unsupported_protocol = "UNSUPPORTED_PROTOCOL";
inline constexpr std::string_view message_too_large = "MESSAGE_TOO_LARGE";
inline constexpr std::string_view policy_rejected = "POLICY_REJECTED";
inline constexpr std::string_view handshake_failed = "HANDSHAKE_FAILED";
inline constexpr std::string_view handshake_state = "HANDSHAKE_STATE";
inline constexpr std::string_view clock_skew = "CLOCK_SKEW";
inline constexpr std::string_view stale_handshake = "STALE_HANDSHAKE";
inline constexpr std::string_view session_not_found = "SESSION_NOT_FOUND";
inline constexpr std::string_view session_closed = "SESSION_CLOSED";
inline constexpr std::string_view not_established = "NOT_ESTABLISHED";
inline constexpr std::string_view decrypt_failed = "DECRYPT_FAILED";
inline constexpr std::string_view replay_detected = "REPLAY_DETECTED";
inline constexpr std::string_view counter_too_old = "COUNTER_TOO_OLD";
inline constexpr std::string_view rekey_required = "REKEY_REQUIRED";
inline constexpr std::string_view epoch_conflict = "EPOCH_CONFLICT";
inline constexpr std::string_view wrong_owner = "WRONG_OWNER";
inline constexpr std::string_view ticket_rejected = "TICKET_REJECTED";
inline constexpr std::string_view session_quota = "SESSION_QUOTA";
inline constexpr std::string_view draining = "DRAINING";
inline constexpr std::string_view overloaded = "OVERLOADED";
inline constexpr std::string_view idempotency_conflict = "IDEMPOTENCY_CONFLICT";
inline constexpr std::string_view caller_unauthenticated = "CALLER_UNAUTHENTICATED";
inline constexpr std::string_view caller_forbidden = "CALLER_FORBIDDEN";
inline constexpr std::string_view internal = "INTERNAL";
inline constexpr std::string_view peer_revoked = "PEER_REVOKED";
inline constexpr std::string_view blob_rejected = "BLOB_REJECTED";

// Of this client, not of the service.

// The client was closed before or during the call.
inline constexpr std::string_view client_closed = "CLIENT_CLOSED";
// Secrets would leave this machine in plaintext. Nothing was sent.
inline constexpr std::string_view insecure_target = "INSECURE_TARGET";
// An option is outside its range.
inline constexpr std::string_view invalid_options = "INVALID_OPTIONS";
// The player has to begin anew, otherwise (DATAGRAM): send it Error::to_peer, which says how. There is no session.
inline constexpr std::string_view retry_choose = "RETRY_CHOOSE";
inline constexpr std::string_view retry_clock = "RETRY_CLOCK";
// Why a Receiver dropped a packet by itself.
inline constexpr std::string_view not_a_packet = "NOT_A_PACKET";
inline constexpr std::string_view not_admitted = "NOT_ADMITTED";
inline constexpr std::string_view unexpected_packet = "UNEXPECTED_PACKET";
}  // namespace reason

// A call that was refused or got no answer.
struct Error {
  Code code = Code::unknown;
  // Why; empty where gRPC itself gave up.
  std::string reason = {};
  // For people; it never has a secret.
  std::string message = {};
  // For programs, e.g. "cause" and "resumable" of SESSION_CLOSED.
  std::map<std::string, std::string> metadata = {};
  // How long the service asks to wait; 0 where it did not.
  std::chrono::nanoseconds retry_delay = {};
  // What the player must be sent, each on its own: with RETRY_CHOOSE and RETRY_CLOCK alone.
  std::vector<std::string> to_peer = {};

  // The session is lost: unknown, expired or ended. The player holds the ticket: have it resume, or shake hands anew.
  bool resume_needed() const;
  // A player's packet was refused, as opposed to its call.
  bool refuses_packet() const;
  // In one line.
  std::string text() const;
};

// A value, or why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return held_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // Of a result that is not ok, or the error of one that is: std::bad_variant_access, without exceptions the end.
  T& value() & { return std::get<0>(held_); }
  const T& value() const& { return std::get<0>(held_); }
  T&& value() && { return std::get<0>(std::move(held_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() { return std::get<1>(held_); }
  const Error& error() const { return std::get<1>(held_); }

 private:
  std::variant<T, Error> held_;
};

}  // namespace noisegate
