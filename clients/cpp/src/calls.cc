#include "calls.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace noisegate::detail {

namespace {

// How often one call follows WRONG_OWNER.
constexpr int max_hops = 2;

// Refused work or a dead connection; a service that stops cancels what reaches it in that moment.
bool unanswered(const Scope& scope, const Error& error) {
  const bool cut = error.code == Code::cancelled && error.reason.empty();
  return !scope.over() && (error.code == Code::unavailable || cut);
}

}  // namespace

std::string new_request_id() {
  thread_local std::random_device random;
  std::uint32_t word[4];
  for (auto& each : word) each = random();
  word[1] = (word[1] & 0xffff0fff) | 0x00004000;
  word[2] = (word[2] & 0x3fffffff) | 0x80000000;
  char text[37];
  std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%04x%08x", word[0], word[1] >> 16, word[1] & 0xffff,
                word[2] >> 16, word[2] & 0xffff, word[3]);
  return text;
}

grpc::ByteBuffer buffer_of(const google::protobuf::MessageLite& message) {
  const auto size = message.ByteSizeLong();
  grpc::Slice slice(size);
  message.SerializeWithCachedSizesToArray(const_cast<std::uint8_t*>(slice.begin()));
  return {&slice, 1};
}

bool parse(const grpc::ByteBuffer& body, google::protobuf::MessageLite& message) {
  grpc::Slice slice;
  // Without a byte there may be no slice.
  if (body.Length() == 0) return message.ParseFromString("");
  return body.DumpToSingleSlice(&slice).ok() && message.ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
}

bool counts(const Policy& policy, const Error& why) {
  return policy.attempts == 1 || !(why.reason.empty() || why.reason == reason::draining);
}

void prepare(const Options& options, const Span& span, Method method, grpc::ClientContext& context) {
  if (const auto deadline = span.scope.deadline()) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::microseconds>(*deadline - Clock::now()));
  }
  context.set_wait_for_ready(method.kind == Kind::control);
  for (const auto& [key, value] : span.metadata) context.AddMetadata(key, value);
  authorize(options, context);
}

Error failure_of(const Scope& scope, const grpc::Status& status) {
  if (scope.over()) return scope.why();
  return error_of(status.error_code(), status.error_message(), status.error_details());
}

std::chrono::nanoseconds Calls::delay(int repeat, std::chrono::nanoseconds asked) {
  std::chrono::nanoseconds backoff = options_.policy.first_backoff;
  for (int doubled = 0; doubled < std::min(repeat, 16); ++doubled) {
    backoff = std::min<std::chrono::nanoseconds>(2 * backoff, options_.policy.max_backoff);
  }
  // Half is fixed, so that a repeat is never at once; half is random, so that clients do not march in step.
  const std::chrono::duration<double, std::nano> jittered =
      backoff * std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  return asked + std::chrono::duration_cast<std::chrono::nanoseconds>(jittered);
}

Task<bool> Calls::sleep(Scope& scope, std::chrono::nanoseconds delay) {
  const auto until = Clock::now() + delay;
  if (scope.over() || (scope.deadline() && *scope.deadline() <= until)) co_return false;
  Latch due(loop_);
  bool fired = false;
  const auto timer = loop_.at(until, [&] {
    fired = true;
    due.set();
  });
  auto waiting = due.wait(scope);
  const bool slept = co_await waiting;
  if (!fired) loop_.forget(timer);
  co_return slept;
}

Task<Result<Reply>> Calls::ask(Span span, Method method, std::string endpoint, grpc::ByteBuffer request) {
  for (int attempts = 0, repeats = 0, hops = 0;;) {
    auto attempting = attempt(span, method, endpoint, request);
    auto reply = co_await attempting;
    if (reply.ok()) co_return reply;
    auto& error = reply.error();
    const auto owner = error.metadata.find("owner");
    if (error.reason == reason::wrong_owner && owner != error.metadata.end() && !owner->second.empty() &&
        hops < max_hops) {
      ++hops;
      endpoint = owner->second;
      continue;
    }
    const auto pause = delay(repeats++, error.retry_delay);
    attempts += counts(options_.policy, error);
    if (!unanswered(span.scope, error) || attempts >= options_.policy.attempts) co_return reply;
    auto sleeping = sleep(span.scope, pause);
    if (co_await sleeping) continue;
    if (span.scope.over()) co_return span.scope.why();
    co_return reply;
  }
}

Task<Result<Reply>> Calls::attempt(Span span, Method method, std::string endpoint, grpc::ByteBuffer request) {
  if (span.scope.over()) co_return span.scope.why();
  if (auto insecure = check_plaintext(options_, channels_.address_of(endpoint)); insecure.code != Code::ok) {
    co_return insecure;
  }
  const auto stub = channels_.take(endpoint);
  grpc::ClientContext context;
  prepare(options_, span, method, context);
  const auto hook = span.scope.on_end([&context] { context.TryCancel(); });
  const auto call = stub->PrepareUnaryCall(&context, method.path, request, loop_.queue());
  call->StartCall();
  Reply reply{.endpoint = std::move(endpoint)};
  grpc::Status status;
  Operation finish;
  call->Finish(&reply.body, &status, finish.tag());
  co_await finish;
  span.scope.forget(hook);
  if (status.ok()) co_return reply;
  co_return failure_of(span.scope, status);
}

}  // namespace noisegate::detail
