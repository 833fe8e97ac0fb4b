// Collects the calls for one endpoint into batches, over one stream at a time.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bundle.h"
#include "calls.h"
#include "noisegate/options.h"

namespace noisegate::detail {

class Link;

// While a stream that drains is read to its end, another one takes what is new.
class Line : public std::enable_shared_from_this<Line> {
 public:
  // `links` counts the streams of all lines.
  Line(Loop& loop, const Options& options, Calls& calls, std::string address, int& links);

  // Lets a call go with the next batch of its kind.
  void add(BatchKind kind, std::shared_ptr<Waiting> call);
  // Ends every stream. Its calls end with their scopes.
  void close();
  // Whether nobody waits for it.
  bool idle() const;

  // For its streams:

  // The oldest batch that is due and that somebody still waits for; none for none at present.
  BundlePtr take(const Link& link);
  // The service is well.
  void answered() { failures_ = 0; }
  // The service did nothing for this batch; where that may change, the batch goes again after a while.
  void refused(const BundlePtr& bundle, const Error& why);
  // What is new goes over another connection.
  void draining(const Link& link);
  // Batches without an answer go again, in their order and before newer ones; after a while, if the stream failed.
  void ended(const std::shared_ptr<Link>& link, const std::vector<BundlePtr>& unanswered, const Error& why);

 private:
  void tick();
  void due(const BundlePtr& bundle);
  void wake();
  bool goes_again(const BundlePtr& bundle, const Error& why);
  void fail_all(const Error& why);

  Loop& loop_;
  const Options& options_;
  Calls& calls_;
  const std::string address_;
  int& link_count_;

  std::array<BundlePtr, batch_kinds> filling_;  // may still grow
  std::deque<BundlePtr> ready_;                 // due, the oldest first
  int waits_ = 0;                               // bundles that wait to go again
  bool ticking_ = false;
  bool pausing_ = false;
  int failures_ = 0;
  std::shared_ptr<Link> link_;
  std::set<std::shared_ptr<Link>> links_;
  bool closed_ = false;
};

}  // namespace noisegate::detail
