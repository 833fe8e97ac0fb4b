#include "loop.h"

#include <grpc/support/time.h>

#include <algorithm>

namespace noisegate::detail {

bool Loop::post(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (ended_) return false;
  posted_.push_back(std::move(task));
  if (!waking_) {
    waking_ = true;
    alarm_.Set(&queue_, gpr_now(GPR_CLOCK_MONOTONIC), static_cast<Tag*>(&wake_));
  }
  return true;
}

void Loop::Wake::completed(bool) {
  std::lock_guard lock(loop_.mutex_);
  loop_.waking_ = false;
}

void Loop::run(const std::function<bool()>& over) {
  for (;;) {
    run_posted();
    run_timers();
    run_ready();
    if (!ready_.empty()) continue;
    std::unique_lock lock(mutex_);
    if (posted_.empty() && over()) {
      ended_ = true;
      break;
    }
    lock.unlock();
    wait();
  }
  queue_.Shutdown();
  // What is left are a wake-up, and what ended too late for anybody to wait for it.
  void* tag = nullptr;
  for (bool ok = false; queue_.Next(&tag, &ok);) static_cast<Tag*>(tag)->completed(ok);
}

void Loop::run_posted() {
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void Loop::run_timers() {
  while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
    auto due = timers_.extract(timers_.begin());
    due.mapped()();
  }
}

void Loop::run_ready() {
  // Those alone that are there: none may keep the others from their completions.
  for (auto left = ready_.size(); left > 0; --left) {
    auto handle = ready_.front();
    ready_.pop_front();
    handle.resume();
  }
}

// Waits for a completion, which a post is too, or for the next timer.
void Loop::wait() {
  auto until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
  if (!timers_.empty()) {
    auto left = std::chrono::ceil<std::chrono::nanoseconds>(timers_.begin()->first - Clock::now());
    left = std::max(left, std::chrono::nanoseconds::zero());
    until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
  }
  void* tag = nullptr;
  bool ok = false;
  if (queue_.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT) static_cast<Tag*>(tag)->completed(ok);
}

}  // namespace noisegate::detail
