// The inside of a client: its thread, and everything that lives on it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "calls.h"
#include "channels.h"
#include "loop.h"
#include "multiplexer.h"
#include "noisegate/client.h"
#include "noisegate/pending.h"
#include "scope.h"
#include "session_state.h"
#include "task.h"

namespace noisegate::detail {

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(std::string target, Options given);

  void begin();
  // Ends everything that is under way, then the thread.
  void close();

  // Submits an operation: `body` is a function that makes its coroutine, once, on the client's thread. Never waits.
  template <class T>
  Pending<T> start(std::optional<std::chrono::milliseconds> timeout, std::function<Task<Result<T>>(Span)> body);
  // Of an operation of this kind, by its options or else by the policy.
  std::chrono::milliseconds timeout(Kind kind, const CallOptions& call) const;

  // Hands messages to the hook and leaves none, where there is one. From any thread.
  void hand(const std::shared_ptr<SessionState>& session, std::vector<std::string>& messages);

  const Options options;
  const std::shared_ptr<Deliveries> deliveries = std::make_shared<Deliveries>();
  // Of the client's thread:
  Loop loop;
  Channels channels;
  Calls calls;
  std::optional<Multiplexer> multiplexer;

 private:
  // An operation: made by whoever submits it, then the client's thread's.
  struct Job {
    std::optional<Clock::time_point> deadline;
    std::map<std::string, std::string> metadata;
    std::optional<Scope> scope;
  };

  template <class T>
  Detached drive(std::shared_ptr<Core> self, std::shared_ptr<Job> job, std::function<Task<Result<T>>(Span)> body,
                 std::shared_ptr<Outcome<T>> outcome);

  std::set<Scope*> scopes_;  // of what is under way
  bool closed_ = false;
  std::thread thread_;
};

template <class T>
Pending<T> Core::start(std::optional<std::chrono::milliseconds> timeout,
                       std::function<Task<Result<T>>(Span)> body) {
  auto outcome = std::make_shared<Outcome<T>>(deliveries);
  auto job = std::make_shared<Job>();
  if (timeout) job->deadline = Clock::now() + *timeout;
  if (options.propagate) options.propagate(job->metadata);
  // What is posted first runs first: by then the job has begun.
  outcome->cancel = [core = weak_from_this(), job] {
    const auto alive = core.lock();
    if (!alive) return;
    alive->loop.post([job] {
      if (job->scope) job->scope->end({.code = Code::cancelled, .message = "the call was cancelled"});
    });
  };
  const bool posted = loop.post([this, job, body = std::move(body), outcome]() mutable {
    if (closed_) {
      outcome->settle(client_closed());
    } else {
      drive<T>(shared_from_this(), job, std::move(body), outcome);
    }
  });
  if (!posted) outcome->settle(client_closed());
  return Pending<T>(std::move(outcome));
}

template <class T>
Detached Core::drive(std::shared_ptr<Core> self, std::shared_ptr<Job> job, std::function<Task<Result<T>>(Span)> body,
                     std::shared_ptr<Outcome<T>> outcome) {
  auto& scope = job->scope.emplace(self->loop, job->deadline);
  self->scopes_.insert(&scope);
  const Span span{scope, job->metadata};
  auto task = body(span);
  auto result = co_await task;
  self->scopes_.erase(&scope);
  job->scope.reset();
  outcome->settle(std::move(result));
}

}  // namespace noisegate::detail
