#include "turns.h"

#include <algorithm>

namespace noisegate::detail {

Task<bool> Lock::take(Scope& scope) {
  if (!taken_) {
    taken_ = true;
    co_return true;
  }
  Latch mine(loop_);
  waiting_.push_back(&mine);
  auto waiting = mine.wait(scope);
  if (co_await waiting) co_return true;
  std::erase(waiting_, &mine);
  co_return false;
}

void Lock::release() {
  if (waiting_.empty()) {
    taken_ = false;
    return;
  }
  // The turn goes straight to the next one, or somebody who comes just now would be before it.
  auto* next = waiting_.front();
  waiting_.pop_front();
  next->set();
}

}  // namespace noisegate::detail
