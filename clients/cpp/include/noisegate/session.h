// A handle of one player's session.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "noisegate/options.h"
#include "noisegate/pending.h"
#include "noisegate/records.h"

namespace noisegate {

namespace detail {
class SessionState;
}

// Copies are handles of the same session. Any thread may use them.
//
// In NOISE mode a record's counter travels with nobody: calls of one direction run one after the other, in the order in
// which they were submitted, and one that ends with DEADLINE_EXCEEDED or UNAVAILABLE, or is cancelled, may have moved
// the counter all the same; then the session is best closed and resumed. In DATAGRAM mode calls run side by side, and a
// lost answer costs one packet.
class Session {
 public:
  explicit Session(std::shared_ptr<detail::SessionState> state) : state_(std::move(state)) {}

  // 24 bytes, opaque.
  std::string id() const;
  // HOST:PORT where it lives; empty for the client's own target.
  std::string endpoint() const;
  // How its records travel; unspecified for a handle made from an id alone.
  v1::RecordMode mode() const;
  // What the player's packets carry (DATAGRAM): 8 bytes.
  std::string connection_id() const;
  // The player, and its match, room or table, as the game (or the ticket) named them.
  std::string peer_id() const;
  std::string group() const;
  // What the handshake gave; nothing while it is not finished, and for a handle made from an id alone.
  std::optional<v1::Established> established() const;
  // After how long the handshake is given up, counted from its last step; 0 once it is finished.
  std::chrono::nanoseconds pending_for() const;
  // What the last step of the handshake, or close, wants sent to the player, in this order, each on its own. Empty
  // where an on_send hook has it.
  std::vector<std::string> to_peer() const;
  // Of the player's last handshake message; possibly replayed until a first record has opened.
  std::string payload() const;
  // What the game's framing must carry beside message 1: NOISE, initiating with an offer, or a resume.
  std::string hello() const;
  std::string ticket() const;
  // What became of a resume's early data, and the player's, where it was accepted. Secret. Until a first record has
  // opened, whoever has the ticket's key may have sent it.
  v1::EarlyData early() const;
  std::string early_data() const;
  // The ticket was refused, and this is the session of the full handshake that came beside it.
  bool fell_back() const;
  // Whether this handle has seen the session end.
  bool ended() const;

  // Hands over the player's next handshake message, in DATAGRAM mode its packet; look at established afterwards. The
  // payload is that of our next message; a resume has none. Gives to_peer.
  Pending<std::vector<std::string>> proceed(std::string_view message, std::string_view payload = {},
                                            CallOptions options = {}) const;
  // Seals one plaintext for the player: at most 65,519 bytes in NOISE mode, 65,475 in DATAGRAM mode. Send the answer's
  // messages. REKEY_REQUIRED asks for rotate. Associated data, at most 1,024 bytes, is authenticated and not sent.
  Pending<Sealed> encrypt(std::string_view plaintext, std::string_view associated_data = {},
                          CallOptions options = {}) const;
  // Opens one record of the player: at most 65,535 bytes. What was forged, replayed or too late is a result with
  // refused, not an error. Send to_peer of the answer.
  Pending<Opened> decrypt(std::string_view ciphertext, std::string_view associated_data = {},
                          CallOptions options = {}) const;
  // Opens a record that holds a ticket for us (NOISE); the service keeps it for initiate_resume.
  Pending<Opened> decrypt_ticket(std::string_view ciphertext, CallOptions options = {}) const;
  // Changes keys (docs/protocol.md, section 4); session_id and request_id are filled in here. DATAGRAM: the kind is
  // all, and the rest travels in to_peer by itself. NOISE, REKEY: its direction names which. NOISE, RENEGOTIATE: step
  // by step, with what the player sent inside the session as its message. EPOCH_CONFLICT: another rotation came first.
  //
  // In NOISE mode to_peer is the game's to send, inside the session; in DATAGRAM mode it is on_send's where there is a
  // hook.
  Pending<v1::RotateResponse> rotate(v1::RotateRequest request, CallOptions options = {}) const;
  // Makes a single-use resumption ticket and seals it for the player: to_peer of the answer has it, or on_send.
  Pending<v1::IssueTicketResponse> issue_ticket(CallOptions options = {}) const;
  // A key for something beside the session, such as a voice channel, which the player derives too: of length 16 to 255
  // bytes, for a label of 1 to 64. Secret. The service's policy must name ExportSecret for this caller.
  Pending<std::string> export_secret(std::string_view label, std::string_view context, std::uint32_t length,
                                     CallOptions options = {}) const;
  // Takes the session out of the service's memory, e.g. while its player is away; Client::restore brings it back. With
  // return_blob (DATAGRAM) the answer has the sealed session and the service keeps nothing.
  Pending<v1::SuspendSessionResponse> suspend(bool return_blob = false, CallOptions options = {}) const;
  // The player is on another network: WIFI gives new keys, CELLULAR a longer keep-alive, both bring a suspended session
  // back; NONE suspends. to_peer of the answer is not on_send's: it begins with a question, which must go to one
  // address alone (Receiver::route_change).
  Pending<v1::NetworkChange> change_network(v1::Network network, CallOptions options = {}) const;
  // What the service knows about it.
  Pending<v1::Session> describe(CallOptions options = {}) const;
  // Ends the session or its handshake and gives what the player should still get (DATAGRAM: a close record), where no
  // on_send hook has it. It is no error where the session has ended already.
  Pending<std::vector<std::string>> close(CallOptions options = {}) const;

  // For Client and Receiver.
  const std::shared_ptr<detail::SessionState>& state() const { return state_; }

 private:
  std::shared_ptr<detail::SessionState> state_;
};

}  // namespace noisegate
