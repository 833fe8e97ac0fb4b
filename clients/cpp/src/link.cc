#include "link.h"

#include "channels.h"
#include "errors.h"
#include "line.h"

namespace noisegate::detail {

namespace {

// How many batches one stream has under way, as many as may wait at the service; more wait here and grow.
constexpr std::size_t max_unanswered = 32;

// From here on a message takes no further batch; with the longest one it is still below the service's limit.
constexpr std::size_t joined_bytes = 256 << 10;

// A connection that is gone is one thing, however gRPC names it.
Error how_it_ended(const Scope& scope, const grpc::Status& status) {
  if (status.ok()) return {.code = Code::unavailable, .message = "the service ended the stream"};
  auto why = failure_of(scope, status);
  if (why.reason.empty() && (why.code == Code::internal || why.code == Code::cancelled || why.code == Code::unknown)) {
    why.code = Code::unavailable;
  }
  return why;
}

}  // namespace

Link::Link(Loop& loop, const Options& options, std::shared_ptr<Line> line, std::string address)
    : loop_(loop),
      options_(options),
      line_(std::move(line)),
      address_(std::move(address)),
      scope_(loop, std::nullopt),
      woken_(loop) {}

Detached Link::run(std::shared_ptr<Link> self) {
  auto living = live();
  const auto why = co_await living;
  std::vector<BundlePtr> left;
  for (const auto& [number, bundle] : unanswered_) left.push_back(bundle);
  unanswered_.clear();
  line_->ended(self, left, why);
}

// Gives how the stream ended.
Task<Error> Link::live() {
  const auto channel = dial(options_, address_);
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  prepare(options_, Span{scope_, {}}, method::transport, context);
  const auto stream = stub.PrepareCall(&context, method::transport.path, loop_.queue());
  const auto hook = scope_.on_end([&context] { context.TryCancel(); });
  Operation started;
  stream->StartCall(started.tag());
  if (co_await started) {
    Scope forever(loop_, std::nullopt);
    Latch written(loop_);
    write(*stream, written);
    auto reading = read(*stream);
    co_await reading;
    over_ = true;
    woken_.set();
    auto waiting = written.wait(forever);
    co_await waiting;
  }
  grpc::Status status;
  Operation finished;
  stream->Finish(&status, finished.tag());
  co_await finished;
  scope_.forget(hook);
  co_return how_it_ended(scope_, status);
}

// Sends what is due, as far as the stream takes it. How a stream ended, the reading pump knows.
Detached Link::write(Stream& stream, Latch& written) {
  Scope forever(loop_, std::nullopt);
  while (!over_) {
    v1::TransportRequest message;
    while (!over_ && next(message)) {
      Operation sent;
      stream.Write(buffer_of(message), sent.tag());
      if (!co_await sent) over_ = true;
      message.Clear();
    }
    if (over_) break;
    if (draining_) {
      // The service ends the stream once everything that it has read is answered.
      Operation closed;
      stream.WritesDone(closed.tag());
      co_await closed;
      break;
    }
    auto waiting = woken_.wait(forever);
    co_await waiting;
    woken_.reset();
  }
  written.set();
}

// The batches that are due, as one message: it costs both sides hardly more than one of them alone. False for none.
bool Link::next(v1::TransportRequest& message) {
  for (std::size_t size = 0; size < joined_bytes && !draining_ && unanswered_.size() < max_unanswered;) {
    const auto bundle = line_->take(*this);
    if (!bundle) break;
    *message.add_batches() = bundle->request(++number_);
    size += bundle->size();
    unanswered_[number_] = bundle;
  }
  return message.batches_size() > 0;
}

// Takes every answer, until the stream ends; false where it had to be ended.
Task<bool> Link::read(Stream& stream) {
  for (;;) {
    grpc::ByteBuffer body;
    Operation came;
    stream.Read(&body, came.tag());
    if (!co_await came) co_return true;
    v1::TransportResponse response;
    if (!parse(body, response)) {
      scope_.end(not_whole("the form of the contract"));
      co_return false;
    }
    for (const auto& answer : response.answers()) settle(answer);
    if (response.has_draining()) {
      draining_ = true;
      line_->draining(*this);
    }
    wake();
  }
}

void Link::settle(const v1::TransportAnswer& answer) {
  const auto found = unanswered_.find(answer.correlation_id());
  if (found == unanswered_.end()) return;
  const auto bundle = found->second;
  unanswered_.erase(found);
  if (answer.has_refused()) {
    line_->refused(bundle, error_of(answer.refused()));
    return;
  }
  line_->answered();
  bundle->answered(answer);
}

}  // namespace noisegate::detail
