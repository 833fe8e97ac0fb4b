// How long something may go on: until its deadline, or until it is cancelled.
#pragma once

#include <functional>
#include <list>
#include <optional>

#include "loop.h"
#include "noisegate/error.h"

namespace noisegate::detail {

class Scope {
 public:
  using Hooks = std::list<std::function<void()>>;

  // With a deadline it ends by itself.
  Scope(Loop& loop, std::optional<Clock::time_point> deadline);
  Scope(const Scope&) = delete;
  ~Scope();

  // Ends it, once: everybody who waits within it is told.
  void end(Error why);
  bool over() const { return why_.has_value(); }
  // Of one that is over.
  const Error& why() const { return *why_; }
  std::optional<Clock::time_point> deadline() const { return deadline_; }

  Hooks::iterator on_end(std::function<void()> hook) { return hooks_.insert(hooks_.end(), std::move(hook)); }
  void forget(Hooks::iterator hook) { hooks_.erase(hook); }

 private:
  Loop& loop_;
  std::optional<Clock::time_point> deadline_;
  std::optional<Loop::Timer> timer_;
  std::optional<Error> why_;
  Hooks hooks_;
};

// Something that comes about, for which one coroutine waits.
class Latch {
 public:
  explicit Latch(Loop& loop) : loop_(loop) {}
  Latch(const Latch&) = delete;

  void set() {
    set_ = true;
    wake();
  }
  void reset() { set_ = false; }
  bool is_set() const { return set_; }

  // Gives whether it has come about; false where the scope was over before.
  auto wait(Scope& scope) { return Wait{*this, scope, {}}; }

 private:
  struct Wait {
    Latch& latch;
    Scope& scope;
    std::optional<Scope::Hooks::iterator> hook;

    bool await_ready() const { return latch.set_ || scope.over(); }
    void await_suspend(std::coroutine_handle<> handle) {
      latch.waiting_ = handle;
      hook = scope.on_end([this] { latch.wake(); });
    }
    bool await_resume() {
      if (hook) scope.forget(*hook);
      return latch.set_;
    }
  };

  void wake() {
    if (waiting_) loop_.soon(std::exchange(waiting_, nullptr));
  }

  Loop& loop_;
  bool set_ = false;
  std::coroutine_handle<> waiting_;
};

}  // namespace noisegate::detail
