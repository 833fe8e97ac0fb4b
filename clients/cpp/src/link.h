// One Transport stream over a connection of its own.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "bundle.h"
#include "calls.h"
#include "loop.h"
#include "scope.h"
#include "task.h"

namespace noisegate::detail {

class Line;

// Two pumps, of which neither waits for the other. A caller that writes only while it is not reading can lock up with a
// service that does the same as soon as both directions are full. Here answers are always read, whatever the writing
// pump waits for.
class Link {
 public:
  Link(Loop& loop, const Options& options, std::shared_ptr<Line> line, std::string address);

  // The stream's whole life.
  Detached run(std::shared_ptr<Link> self);
  // There may be something to take.
  void wake() { woken_.set(); }
  void cancel() { scope_.end(client_closed()); }
  bool busy() const { return !unanswered_.empty(); }

 private:
  using Stream = grpc::GenericClientAsyncReaderWriter;

  Task<Error> live();
  Detached write(Stream& stream, Latch& written);
  Task<bool> read(Stream& stream);
  bool next(v1::TransportRequest& message);
  void settle(const v1::TransportAnswer& answer);

  Loop& loop_;
  const Options& options_;
  const std::shared_ptr<Line> line_;
  const std::string address_;
  Scope scope_;
  Latch woken_;
  std::uint64_t number_ = 0;
  std::map<std::uint64_t, BundlePtr> unanswered_;
  bool draining_ = false;
  bool over_ = false;
};

}  // namespace noisegate::detail
