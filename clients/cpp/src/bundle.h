// One batch of a line, from its first call to its answer.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "packing.h"
#include "scope.h"

namespace noisegate::detail {

// What may stand together in one batch.
enum class BatchKind {
  // DATAGRAM: whoever seals again gets another counter, so a repeat needs no request_id and nothing kept for it.
  seal,
  // NOISE: the counter travels with nobody. Sealed once, by a request_id.
  seal_in_turn,
  // Opened once, by a request_id; a second time it would be a replay.
  open,
};
inline constexpr std::size_t batch_kinds = 3;

// A call that waits for its result.
struct Waiting {
  explicit Waiting(Loop& loop) : done(loop) {}

  BatchItem item;
  Latch done;
  std::optional<Settled> result;
  // Nobody waits any more.
  bool gone = false;
  // Why the last attempt was in vain.
  std::optional<Error> refused;

  void settle(Settled settled);
};

class Bundle {
 public:
  explicit Bundle(BatchKind kind) : kind(kind) {}

  void add(std::shared_ptr<Waiting> call);
  std::size_t count() const { return calls_.size(); }
  // Of its items.
  std::size_t size() const { return size_; }
  // Whether a call still waits for it.
  bool wanted() const;
  // As the policy counts them.
  int attempts() const { return attempts_; }

  // The message that carries it. A repeat has the same request_id and the same items, where it has one at all.
  const v1::TransportBatch& request(std::uint64_t number);
  // Hands out the results.
  void answered(const v1::TransportAnswer& answer);
  // Ends every call that still waits.
  void fail(const Error& why);
  // Remembers why an attempt was in vain.
  void in_vain(const Error& why, bool counts);
  void refused(const Error& why);

  const BatchKind kind;
  bool due = false;

 private:
  BatchItems items() const;

  std::vector<std::shared_ptr<Waiting>> calls_;
  std::size_t size_ = 0;
  int attempts_ = 0;
  std::optional<v1::TransportBatch> body_;
};

using BundlePtr = std::shared_ptr<Bundle>;

}  // namespace noisegate::detail
