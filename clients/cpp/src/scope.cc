#include "scope.h"

namespace noisegate::detail {

Scope::Scope(Loop& loop, std::optional<Clock::time_point> deadline) : loop_(loop), deadline_(deadline) {
  if (!deadline) return;
  timer_ = loop.at(*deadline, [this] {
    timer_.reset();
    end({.code = Code::deadline_exceeded, .message = "the deadline has passed"});
  });
}

Scope::~Scope() {
  if (timer_) loop_.forget(*timer_);
}

void Scope::end(Error why) {
  if (why_) return;
  why_ = std::move(why);
  // A hook takes itself out of the list only when its coroutine goes on, which is later.
  for (auto& hook : hooks_) hook();
}

}  // namespace noisegate::detail
