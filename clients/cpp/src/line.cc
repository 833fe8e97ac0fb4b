#include "line.h"

#include "link.h"

namespace noisegate::detail {

Line::Line(Loop& loop, const Options& options, Calls& calls, std::string address, int& links)
    : loop_(loop), options_(options), calls_(calls), address_(std::move(address)), link_count_(links) {}

void Line::add(BatchKind kind, std::shared_ptr<Waiting> call) {
  const auto& limits = *options_.multiplex;
  auto& filling = filling_[static_cast<std::size_t>(kind)];
  if (filling && filling->size() + call->item.size() > limits.max_bytes) {
    due(filling);
    filling.reset();
  }
  if (!filling) filling = std::make_shared<Bundle>(kind);
  filling->add(std::move(call));
  if (filling->count() >= limits.max_items || filling->size() >= limits.max_bytes) {
    due(filling);
    filling.reset();
    wake();
  } else if (!filling->due && !ticking_) {
    ticking_ = true;
    loop_.at(Clock::now() + limits.tick, [self = shared_from_this()] { self->tick(); });
  }
}

// What has been collected goes now, and grows on until a link takes it.
void Line::tick() {
  ticking_ = false;
  for (const auto& filling : filling_) {
    if (filling) due(filling);
  }
  wake();
}

void Line::due(const BundlePtr& bundle) {
  if (bundle->due) return;
  bundle->due = true;
  ready_.push_back(bundle);
}

// Lets the link look, and opens one where there is none.
void Line::wake() {
  if (closed_ || pausing_ || ready_.empty()) return;
  if (!link_) {
    link_ = std::make_shared<Link>(loop_, options_, shared_from_this(), address_);
    links_.insert(link_);
    ++link_count_;
    link_->run(link_);
  }
  link_->wake();
}

BundlePtr Line::take(const Link& link) {
  while (&link == link_.get() && !ready_.empty()) {
    auto oldest = ready_.front();
    ready_.pop_front();
    auto& filling = filling_[static_cast<std::size_t>(oldest->kind)];
    if (filling == oldest) filling.reset();
    if (oldest->wanted()) return oldest;
  }
  return nullptr;
}

void Line::refused(const BundlePtr& bundle, const Error& why) {
  const auto pause = calls_.delay(bundle->attempts(), why.retry_delay);
  if (!goes_again(bundle, why)) return;
  ++waits_;
  loop_.at(Clock::now() + pause, [self = shared_from_this(), bundle] {
    --self->waits_;
    self->ready_.push_back(bundle);
    self->wake();
  });
}

void Line::draining(const Link& link) {
  if (&link == link_.get()) link_.reset();
  wake();
}

void Line::ended(const std::shared_ptr<Link>& link, const std::vector<BundlePtr>& unanswered, const Error& why) {
  links_.erase(link);
  --link_count_;
  if (link == link_) link_.reset();
  std::deque<BundlePtr> again;
  for (const auto& bundle : unanswered) {
    if (goes_again(bundle, why)) again.push_back(bundle);
  }
  ready_.insert(ready_.begin(), again.begin(), again.end());
  if (why.code != Code::unavailable) fail_all(why);
  for (const auto& bundle : ready_) bundle->refused(why);
  if (closed_ || ready_.empty() || pausing_) return;
  if (link_) {
    link_->wake();
    return;
  }
  pausing_ = true;
  loop_.at(Clock::now() + calls_.delay(failures_++, why.retry_delay), [self = shared_from_this()] {
    self->pausing_ = false;
    self->wake();
  });
}

bool Line::goes_again(const BundlePtr& bundle, const Error& why) {
  bundle->in_vain(why, counts(options_.policy, why));
  if (why.code != Code::unavailable || bundle->attempts() >= options_.policy.attempts) {
    bundle->fail(why);
    return false;
  }
  return bundle->wanted();
}

void Line::fail_all(const Error& why) {
  for (auto& filling : filling_) {
    if (filling) filling->fail(why);
    filling.reset();
  }
  for (const auto& bundle : ready_) bundle->fail(why);
  ready_.clear();
}

bool Line::idle() const {
  bool busy = !ready_.empty() || waits_ > 0 || ticking_;
  for (const auto& link : links_) busy = busy || link->busy();
  return !busy;
}

void Line::close() {
  closed_ = true;
  for (const auto& link : links_) link->cancel();
}

}  // namespace noisegate::detail
