#include "bundle.h"

#include <algorithm>

#include "calls.h"
#include "errors.h"

namespace noisegate::detail {

void Waiting::settle(Settled settled) {
  if (result) return;
  result = std::move(settled);
  done.set();
}

void Bundle::add(std::shared_ptr<Waiting> call) {
  size_ += call->item.size();
  calls_.push_back(std::move(call));
}

bool Bundle::wanted() const {
  return std::any_of(calls_.begin(), calls_.end(), [](const auto& call) { return !call->gone; });
}

BatchItems Bundle::items() const {
  BatchItems items;
  items.reserve(calls_.size());
  for (const auto& call : calls_) items.push_back(&call->item);
  return items;
}

const v1::TransportBatch& Bundle::request(std::uint64_t number) {
  if (!body_ || kind == BatchKind::seal) {
    // What nobody waits for any more is not sent: in NOISE mode it would cost a counter, and so the session.
    std::erase_if(calls_, [](const auto& call) { return call->gone; });
    body_.emplace();
    if (kind == BatchKind::open) {
      *body_->mutable_decrypt() = decrypt_batch_of(items(), new_request_id());
    } else {
      *body_->mutable_encrypt() = encrypt_batch_of(items(), kind == BatchKind::seal ? "" : new_request_id());
    }
  }
  body_->set_correlation_id(number);
  return *body_;
}

void Bundle::answered(const v1::TransportAnswer& answer) {
  auto results = kind == BatchKind::open ? items_of(answer.decrypt(), items()) : items_of(answer.encrypt(), items());
  if (!results) {
    fail(results.error());
    return;
  }
  for (std::size_t n = 0; n < calls_.size(); ++n) calls_[n]->settle(std::move((*results)[n]));
}

void Bundle::fail(const Error& why) {
  for (const auto& call : calls_) call->settle({.error = why});
}

void Bundle::in_vain(const Error& why, bool counts) {
  attempts_ += counts;
  refused(why);
}

void Bundle::refused(const Error& why) {
  for (const auto& call : calls_) call->refused = why;
}

}  // namespace noisegate::detail
