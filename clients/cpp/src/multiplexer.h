// Calls of many sessions on few streams: one line for each endpoint, made when first needed.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "bundle.h"
#include "calls.h"
#include "line.h"

namespace noisegate::detail {

class Multiplexer {
 public:
  Multiplexer(Loop& loop, const Options& options, Channels& channels, Calls& calls)
      : loop_(loop), options_(options), channels_(channels), calls_(calls) {}

  // Lets one item go with the next batch of its kind, and waits for what becomes of it.
  Task<Settled> enter(Scope& scope, std::string endpoint, BatchKind kind, BatchItem item);
  // Ends every stream.
  void close();
  // Whether a stream is open.
  bool busy() const { return links_ > 0; }

 private:
  void retire();

  Loop& loop_;
  const Options& options_;
  Channels& channels_;
  Calls& calls_;
  int links_ = 0;
  std::map<std::string, std::shared_ptr<Line>> lines_;
};

}  // namespace noisegate::detail
