// A call that is under way. Submitting never waits; what became of it is asked for, awaited, or comes by Client::poll.
#pragma once

#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "noisegate/error.h"

namespace noisegate {

namespace detail {

// What Client::poll runs on the game's thread, in order.
class Deliveries {
 public:
  void push(std::function<void()> delivery);
  // Runs those that are there by now, not what they bring about; how many.
  std::size_t run();
  // Drops those that are there: a session in them holds the client that holds them.
  void clear();
  // Waits until there is one, at most so long.
  bool wait(std::chrono::nanoseconds most);

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> waiting_;
};

// What a call and its Pending share.
template <class T>
class Outcome : public std::enable_shared_from_this<Outcome<T>> {
 public:
  explicit Outcome(std::shared_ptr<Deliveries> deliveries) : deliveries_(std::move(deliveries)) {}

  // How to cancel the call, from any thread; set before anybody else has the outcome.
  std::function<void()> cancel;

  void settle(Result<T> result) {
    std::unique_lock lock(mutex_);
    result_.emplace(std::move(result));
    deliver();
    lock.unlock();
    settled_.notify_all();
  }

  bool ready() const {
    std::lock_guard lock(mutex_);
    return result_.has_value();
  }

  Result<T> take() {
    std::unique_lock lock(mutex_);
    settled_.wait(lock, [this] { return result_.has_value(); });
    return std::move(*result_);
  }

  void then(std::function<void(Result<T>)> done) {
    std::lock_guard lock(mutex_);
    done_ = std::move(done);
    deliver();
  }

 private:
  void deliver() {
    if (!result_ || !done_) return;
    deliveries_->push([self = this->shared_from_this(), done = std::exchange(done_, nullptr)] { done(self->take()); });
  }

  mutable std::mutex mutex_;
  std::condition_variable settled_;
  std::optional<Result<T>> result_;
  std::function<void(Result<T>)> done_;
  std::shared_ptr<Deliveries> deliveries_;
};

}  // namespace detail

// What a coroutine of the game returns that awaits calls, and that nobody awaits. It begins at once; after each
// co_await it goes on in Client::poll, on the thread that polls. A client that ends leaves those that still wait where
// they are, for ever.
struct Flow {
  struct promise_type {
    Flow get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

// A call that is under way; it goes on if this is dropped. Choose one way to learn what became of it.
template <class T>
class [[nodiscard]] Pending {
 public:
  explicit Pending(std::shared_ptr<detail::Outcome<T>> outcome) : outcome_(std::move(outcome)) {}

  // Whether it has come to its end; never waits. Then take gives the result at once.
  bool ready() const { return outcome_->ready(); }
  // The result, once. Waits for it: for tools, tests and loading screens, not for a tick.
  Result<T> take() { return outcome_->take(); }
  // Has Client::poll call this with the result, on the thread that polls.
  void then(std::function<void(Result<T>)> done) { outcome_->then(std::move(done)); }
  // co_await gives the result, in any coroutine, such as a Flow; it goes on as then would.
  auto operator co_await() const {
    struct Awaiter {
      std::shared_ptr<detail::Outcome<T>> outcome;
      std::optional<Result<T>> result = {};

      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        outcome->then([this, handle](Result<T> given) {
          result.emplace(std::move(given));
          handle.resume();
        });
      }
      Result<T> await_resume() { return std::move(*result); }
    };
    return Awaiter{outcome_};
  }
  // Ends the call with CANCELLED, unless it has its result already. In NOISE mode that may cost the session.
  void cancel() { outcome_->cancel(); }
  // Nobody needs the result.
  void detach() {}

 private:
  std::shared_ptr<detail::Outcome<T>> outcome_;
};

}  // namespace noisegate
