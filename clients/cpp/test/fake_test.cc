#include <atomic>
#include <mutex>

#include "check.h"
#include "fake_service.h"
#include "noisegate/noisegate.h"

namespace {

namespace v1 = noisegate::v1;
using noisegate::Client;
using noisegate::Code;
using Metadata = std::map<std::string, std::string>;

constexpr int cancelled = 1, permission_denied = 7, unavailable = 14;

noisegate::Options patient() {
  noisegate::Options options;
  options.policy.packet_deadline = std::chrono::seconds(10);
  return options;
}

noisegate::Session some_session(Client& client, char first = 0) {
  return client.session(first + std::string(23, '\0'), "", noisegate::mode_datagram);
}

std::string sealed() {
  v1::EncryptResponse answer;
  answer.set_ciphertext("sealed");
  return answer.SerializeAsString();
}

}  // namespace

TEST("a repeat has the same request_id, and another call another one") {
  std::vector<std::string> ids;
  FakeService service([&](const std::string&, const Metadata&, const std::string& body) -> FakeService::Answer {
    v1::EncryptRequest request;
    request.ParseFromString(body);
    ids.push_back(request.request_id());
    if (ids.size() < 3) return {unavailable};
    return {0, sealed()};
  });
  auto client = Client::connect(service.address(), patient());
  const auto session = some_session(*client);
  const auto first = session.encrypt("six").take();
  CHECK(first && first->packet == "sealed");
  CHECK(ids.size() == 3 && ids[0].size() == 36 && ids[0] == ids[1] && ids[1] == ids[2]);
  CHECK(session.encrypt("six").take().ok() && ids.size() == 4 && ids[3] != ids[0]);
}

TEST("a service that is away is waited for until the deadline, unless there are to be no repeats") {
  for (const int attempts : {5, 1}) {
    int asked = 0;
    FakeService service([&](const std::string&, const Metadata&, const std::string&) -> FakeService::Answer {
      if (++asked < 9) return {asked % 2 ? unavailable : cancelled};
      return {0, sealed()};
    });
    auto options = patient();
    options.policy.attempts = attempts;
    options.policy.first_backoff = options.policy.max_backoff = std::chrono::milliseconds(1);
    auto client = Client::connect(service.address(), options);
    CHECK(some_session(*client).encrypt("six").take().ok() == (attempts == 5));
    CHECK(asked == (attempts == 5 ? 9 : 1));
  }
}

TEST("each call and each stream asks for its token") {
  std::mutex mutex;
  std::vector<std::string> seen;
  FakeService service([&](const std::string&, const Metadata& metadata, const std::string&) -> FakeService::Answer {
    std::lock_guard lock(mutex);
    seen.push_back(metadata.at("authorization"));
    return {permission_denied};
  });
  std::atomic<int> asked = 0;
  for (const bool multiplex : {false, true}) {
    auto options = patient();
    options.token = [&] { return "token " + std::to_string(++asked); };
    if (multiplex) options.multiplex.emplace();
    auto client = Client::connect(service.address(), options);
    const auto refused = some_session(*client).encrypt("six").take();
    CHECK(!refused && refused.error().code == Code::permission_denied);
  }
  CHECK(seen == std::vector<std::string>{"Bearer token 1", "Bearer token 2"});
}

TEST("a call carries the trace context of whoever submits it") {
  std::string seen;
  FakeService service([&](const std::string&, const Metadata& metadata, const std::string&) -> FakeService::Answer {
    seen = metadata.contains("traceparent") ? metadata.at("traceparent") : "none";
    return {0, sealed()};
  });
  std::string current = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto options = patient();
  options.propagate = [&](Metadata& metadata) { metadata["traceparent"] = current; };
  auto client = Client::connect(service.address(), options);
  auto pending = some_session(*client).encrypt("six");
  current = "another";
  CHECK(pending.take().ok());
  CHECK(seen == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
}

TEST("calls of many sessions travel together") {
  constexpr int sessions = 200;
  std::atomic<int> messages = 0, batches = 0, items = 0;
  FakeService service([&](const std::string&, const Metadata&, const std::string& body) -> FakeService::Answer {
    v1::TransportRequest request;
    request.ParseFromString(body);
    v1::TransportResponse response;
    ++messages;
    for (const auto& batch : request.batches()) {
      ++batches;
      auto* answer = response.add_answers();
      answer->set_correlation_id(batch.correlation_id());
      for (int n = 0; n < batch.encrypt().lengths_size(); ++n) {
        ++items;
        answer->mutable_encrypt()->add_lengths(1);
        answer->mutable_encrypt()->mutable_ciphertexts()->push_back('s');
      }
    }
    return {0, response.SerializeAsString()};
  });
  auto options = patient();
  options.multiplex = noisegate::Multiplex{.tick = std::chrono::milliseconds(50)};
  auto client = Client::connect(service.address(), options);
  std::vector<noisegate::Pending<noisegate::Sealed>> calls;
  for (int n = 0; n < sessions; ++n) calls.push_back(some_session(*client, static_cast<char>(n)).encrypt("six"));
  for (auto& call : calls) CHECK(call.take().value().packet == "s");
  CHECK(items == sessions && batches <= sessions / 10 && messages <= batches);
}

TEST("an answer that is not whole is an error, and no guess") {
  FakeService service([](const std::string&, const Metadata&, const std::string&) -> FakeService::Answer {
    v1::EncryptBatchResponse answer;
    answer.set_ciphertexts("too few lengths");
    return {0, answer.SerializeAsString()};
  });
  auto client = Client::connect(service.address(), patient());
  const auto session = some_session(*client);
  const auto batch = client->encrypt_batch({{session, "1"}, {session, "2"}}).take();
  CHECK(batch && batch->size() == 2 && (*batch)[0].error().code == Code::internal);
}

TEST("a late answer is a deadline, and a cancelled call is cancelled") {
  std::mutex held;
  FakeService service([&](const std::string&, const Metadata&, const std::string&) -> FakeService::Answer {
    std::lock_guard waits(held);
    return {0, sealed()};
  });
  // After the service, which ends with its calls: so these go on before.
  std::unique_lock holding(held);
  auto client = Client::connect(service.address(), patient());
  const auto late = some_session(*client).encrypt("six", "", {.timeout = std::chrono::milliseconds(50)}).take();
  CHECK(!late && late.error().code == Code::deadline_exceeded && !late.error().resume_needed());
  auto call = some_session(*client).encrypt("six");
  call.cancel();
  const auto cancelled = call.take();
  CHECK(!cancelled && cancelled.error().code == Code::cancelled);
}
