// The client's thread: gRPC's completions, timers, and what other threads post, one after the other. Everything in this
// client but its handles belongs to it and so needs no lock.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <chrono>
#include <coroutine>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

namespace noisegate::detail {

using Clock = std::chrono::steady_clock;

// What gRPC gives back once an operation is done.
class Tag {
 public:
  virtual void completed(bool ok) = 0;

 protected:
  ~Tag() = default;
};

class Loop {
 public:
  using Timers = std::multimap<Clock::time_point, std::function<void()>>;
  using Timer = Timers::iterator;

  grpc::CompletionQueue* queue() { return &queue_; }

  // From any thread. False once the loop has ended: then it is not run.
  bool post(std::function<void()> task);
  // Resumes a coroutine once everything that runs now has.
  void soon(std::coroutine_handle<> handle) { ready_.push_back(handle); }
  Timer at(Clock::time_point when, std::function<void()> task) { return timers_.emplace(when, std::move(task)); }
  void forget(Timer timer) { timers_.erase(timer); }

  // Until over() says so; then nothing may be under way any more.
  void run(const std::function<bool()>& over);

 private:
  class Wake final : public Tag {
   public:
    explicit Wake(Loop& loop) : loop_(loop) {}
    void completed(bool ok) override;

   private:
    Loop& loop_;
  };

  void run_ready();
  void run_posted();
  void run_timers();
  void wait();

  grpc::CompletionQueue queue_;
  std::deque<std::coroutine_handle<>> ready_;
  Timers timers_;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  bool waking_ = false;
  bool ended_ = false;
  Wake wake_{*this};
  grpc::Alarm alarm_;
};

// One operation of gRPC, to be awaited once it has begun; gives whether it went well.
class Operation final : public Tag {
 public:
  // Of that operation.
  void* tag() { return static_cast<Tag*>(this); }
  void completed(bool ok) override {
    ok_ = ok;
    handle_.resume();
  }

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { handle_ = handle; }
  bool await_resume() const { return ok_; }

 private:
  bool ok_ = false;
  std::coroutine_handle<> handle_;
};

}  // namespace noisegate::detail
