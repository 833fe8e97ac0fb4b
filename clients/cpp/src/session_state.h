// What the handles of one session share.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "calls.h"
#include "facts.h"
#include "noisegate/session.h"
#include "turns.h"

namespace noisegate::detail {

class Core;

class SessionState : public std::enable_shared_from_this<SessionState> {
 public:
  SessionState(std::shared_ptr<Core> core, Facts facts);

  // A copy; any thread.
  Facts known() const {
    std::lock_guard lock(mutex_);
    return facts_;
  }
  template <class Change>
  void change(Change change) {
    std::lock_guard lock(mutex_);
    change(facts_);
  }

  // Remembers where an error says that the session has ended, or that the player has closed it.
  void noticed(const Error& error);
  void noticed(const Opened& opened);
  // Hands what the last step has for the player to the hook, where there is one.
  void send_to_peer();

  // The operations that a Receiver and batches share with Session; `hook` says whether to_peer is on_send's.
  Pending<std::vector<std::string>> proceed(std::string message, std::string payload, CallOptions options, bool hook);
  Pending<Opened> decrypt(std::string ciphertext, std::string associated_data, bool ticket, CallOptions options,
                          bool hook);

  const std::shared_ptr<Core> core;
  // None in DATAGRAM mode. Of the client's thread.
  std::optional<Turns> turns;

 private:
  mutable std::mutex mutex_;
  Facts facts_;
};

using StatePtr = std::shared_ptr<SessionState>;

// What became of a packet whose call was refused for the packet's sake; otherwise the error.
Result<Opened> as_result(const std::string& session_id, Error error);

// Takes the turns of these directions, in this order, so that two calls cannot wait for each other.
struct BothTurns {
  Turn sending;
  Turn receiving;
};
Task<Result<BothTurns>> take_turns(StatePtr session, Scope& scope, bool sending, bool receiving);

}  // namespace noisegate::detail
