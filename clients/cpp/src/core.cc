#include "core.h"

namespace noisegate::detail {

void Deliveries::push(std::function<void()> delivery) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(delivery));
  }
  arrived_.notify_one();
}

std::size_t Deliveries::run() {
  std::deque<std::function<void()>> due;
  {
    std::lock_guard lock(mutex_);
    due.swap(waiting_);
  }
  for (auto& delivery : due) delivery();
  return due.size();
}

void Deliveries::clear() {
  std::deque<std::function<void()>> dropped;
  std::lock_guard lock(mutex_);
  dropped.swap(waiting_);
}

bool Deliveries::wait(std::chrono::nanoseconds most) {
  std::unique_lock lock(mutex_);
  return arrived_.wait_for(lock, most, [this] { return !waiting_.empty(); });
}

Core::Core(std::string target, Options given)
    : options(std::move(given)), channels(options, std::move(target)), calls(loop, options, channels) {
  if (options.multiplex) multiplexer.emplace(loop, options, channels, calls);
}

void Core::begin() {
  thread_ = std::thread([this] {
    loop.run([this] { return closed_ && scopes_.empty() && !(multiplexer && multiplexer->busy()); });
    channels.clear();
  });
}

void Core::close() {
  if (!thread_.joinable()) return;
  loop.post([this] {
    closed_ = true;
    if (multiplexer) multiplexer->close();
    for (auto* scope : scopes_) scope->end(client_closed());
  });
  thread_.join();
}

std::chrono::milliseconds Core::timeout(Kind kind, const CallOptions& call) const {
  return call.timeout.value_or(kind == Kind::packet ? options.policy.packet_deadline : options.policy.control_deadline);
}

void Core::hand(const std::shared_ptr<SessionState>& session, std::vector<std::string>& messages) {
  if (!options.on_send || messages.empty()) return;
  deliveries->push([send = options.on_send, session, messages] { send(Session(session), messages); });
  messages.clear();
}

}  // namespace noisegate::detail
