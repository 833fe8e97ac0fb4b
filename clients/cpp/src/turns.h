// Lets calls of one direction of a NOISE session run one after the other.
#pragma once

#include <deque>
#include <utility>

#include "scope.h"
#include "task.h"

namespace noisegate::detail {

// One direction: whose turn it is, and who waits for it, in order.
class Lock {
 public:
  explicit Lock(Loop& loop) : loop_(loop) {}

  // Gives whether the turn was had before the scope was over. Then it must be released.
  Task<bool> take(Scope& scope);
  void release();

 private:
  Loop& loop_;
  bool taken_ = false;
  std::deque<Latch*> waiting_;
};

// Of a session, seen from the service.
struct Turns {
  explicit Turns(Loop& loop) : sending(loop), receiving(loop) {}

  Lock sending;
  Lock receiving;
};

// A turn that is had; it ends with this.
class Turn {
 public:
  Turn() = default;
  explicit Turn(Lock& lock) : lock_(&lock) {}
  Turn(Turn&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
  Turn& operator=(Turn&& other) noexcept {
    std::swap(lock_, other.lock_);
    return *this;
  }
  ~Turn() {
    if (lock_ != nullptr) lock_->release();
  }

 private:
  Lock* lock_ = nullptr;
};

}  // namespace noisegate::detail
