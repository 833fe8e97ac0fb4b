#include "multiplexer.h"

namespace noisegate::detail {

namespace {

constexpr std::size_t max_lines = 64;

}  // namespace

Task<Settled> Multiplexer::enter(Scope& scope, std::string endpoint, BatchKind kind, BatchItem item) {
  if (scope.over()) co_return Settled{.error = scope.why()};
  const auto& address = channels_.address_of(endpoint);
  if (auto insecure = check_plaintext(options_, address); insecure.code != Code::ok) {
    co_return Settled{.error = std::move(insecure)};
  }
  if (!lines_.contains(endpoint) && lines_.size() >= max_lines) retire();
  auto& line = lines_[endpoint];
  if (!line) line = std::make_shared<Line>(loop_, options_, calls_, address, links_);
  const auto call = std::make_shared<Waiting>(loop_);
  call->item = std::move(item);
  line->add(kind, call);
  auto waiting = call->done.wait(scope);
  if (co_await waiting) co_return std::move(*call->result);
  call->gone = true;
  // Where it was waiting to go again, why it had to says more than the deadline.
  const bool late = scope.why().code == Code::deadline_exceeded;
  co_return Settled{.error = late && call->refused ? *call->refused : scope.why()};
}

// Lets go of a line that nobody waits for.
void Multiplexer::retire() {
  for (auto found = lines_.begin(); found != lines_.end(); ++found) {
    if (!found->second->idle()) continue;
    found->second->close();
    lines_.erase(found);
    return;
  }
}

void Multiplexer::close() {
  for (const auto& [endpoint, line] : lines_) line->close();
  lines_.clear();
}

}  // namespace noisegate::detail
