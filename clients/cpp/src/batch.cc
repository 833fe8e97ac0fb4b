#include <algorithm>
#include <map>

#include "core.h"
#include "packing.h"

namespace noisegate {

namespace detail {
namespace {

// One operation over many items, under way.
struct Batch {
  std::shared_ptr<Core> core;
  Span span;
  Method method;
  std::vector<StatePtr> sessions;
  std::vector<BatchItem> items;
  std::vector<Settled> results;
  // Of a broadcast, its items' one body and associated data.
  std::string plaintext;
  std::string associated_data;
};

BatchItems some_of(const Batch& batch, const std::vector<std::size_t>& numbers) {
  BatchItems some;
  for (const auto number : numbers) some.push_back(&batch.items[number]);
  return some;
}

template <class Response, class Request>
Task<Result<std::vector<Settled>>> ask_part(const Batch& batch, std::string endpoint, Request request,
                                            BatchItems items) {
  auto asking = ask<Response>(batch.core->calls, batch.span, batch.method, endpoint, request);
  auto answer = co_await asking;
  if (!answer) co_return answer.error();
  co_return items_of(*answer, items);
}

Task<Result<std::vector<Settled>>> ask_for(const Batch& batch, std::string endpoint, BatchItems items) {
  if (batch.method.path == method::encrypt_batch.path) {
    return ask_part<v1::EncryptBatchResponse>(batch, endpoint, encrypt_batch_of(items, new_request_id()), items);
  }
  if (batch.method.path == method::decrypt_batch.path) {
    return ask_part<v1::DecryptBatchResponse>(batch, endpoint, decrypt_batch_of(items, new_request_id()), items);
  }
  v1::BroadcastRequest request;
  request.set_request_id(new_request_id());
  request.set_plaintext(batch.plaintext);
  request.set_associated_data(batch.associated_data);
  for (const auto* item : items) request.mutable_session_ids()->append(item->session_id);
  return ask_part<v1::BroadcastResponse>(batch, endpoint, std::move(request), items);
}

// How many of these items one call takes, from there on: at least one.
std::size_t fitting(const Batch& batch, const std::vector<std::size_t>& numbers, std::size_t from) {
  std::size_t count = 0;
  std::size_t size = 0;
  for (auto at = from; at < numbers.size() && count < max_batch_items; ++at, ++count) {
    size += batch.items[numbers[at]].size();
    if (count > 0 && size > max_batch_bytes) break;
  }
  return count;
}

// All items of one endpoint. What fits into no one call goes in several, one after the other: they may have items of
// the same session, whose order is kept.
Detached ask_endpoint(Batch& batch, std::string endpoint, std::vector<std::size_t> numbers, int& left, Latch& all) {
  for (std::size_t from = 0; from < numbers.size();) {
    const auto count = fitting(batch, numbers, from);
    const std::vector<std::size_t> part(numbers.begin() + from, numbers.begin() + from + count);
    auto asking = ask_for(batch, endpoint, some_of(batch, part));
    auto results = co_await asking;
    for (std::size_t n = 0; n < count; ++n) {
      auto& result = batch.results[part[n]];
      if (results) {
        result = std::move((*results)[n]);
      } else {
        result.error = results.error();
      }
    }
    from += count;
  }
  if (--left == 0) all.set();
}

// Those of all sessions, in the order of their ids, so that two batches cannot wait for each other.
Task<Result<std::vector<BothTurns>>> take_all_turns(Batch& batch, bool sending) {
  auto sessions = batch.sessions;
  std::sort(sessions.begin(), sessions.end(), [](const auto& one, const auto& other) {
    const auto ids = std::pair(one->known().id, other->known().id);
    return ids.first != ids.second ? ids.first < ids.second : one < other;
  });
  sessions.erase(std::unique(sessions.begin(), sessions.end()), sessions.end());
  std::vector<BothTurns> turns;
  for (const auto& session : sessions) {
    auto taking = take_turns(session, batch.span.scope, sending, !sending);
    auto taken = co_await taking;
    if (!taken) co_return taken.error();
    turns.push_back(std::move(*taken));
  }
  co_return turns;
}

// Asks for all items, the endpoints side by side.
Task<Result<std::vector<Settled>>> run(Batch batch) {
  batch.results.resize(batch.items.size());
  auto taking = take_all_turns(batch, batch.method.path != method::decrypt_batch.path);
  const auto turns = co_await taking;
  std::map<std::string, std::vector<std::size_t>> endpoints;
  for (std::size_t n = 0; n < batch.items.size(); ++n) {
    const auto known = batch.sessions[n]->known();
    batch.items[n].session_id = known.id;
    if (!turns) {
      batch.results[n].error = turns.error();
    } else if (known.id.size() != session_id_bytes) {
      // One of another length would shift those behind it.
      batch.results[n].error = Error{.code = Code::invalid_argument,
                                     .reason = std::string(reason::invalid_request),
                                     .message = "a session in a batch has an id of 24 bytes"};
    } else {
      endpoints[known.endpoint].push_back(n);
    }
  }
  if (!endpoints.empty()) {
    int left = static_cast<int>(endpoints.size());
    Latch all(batch.core->loop);
    for (auto& [endpoint, numbers] : endpoints) ask_endpoint(batch, endpoint, std::move(numbers), left, all);
    // Each ends with its own call, and so with the scope of all.
    Scope until(batch.core->loop, std::nullopt);
    auto waiting = all.wait(until);
    co_await waiting;
  }
  for (std::size_t n = 0; n < batch.items.size(); ++n) {
    if (batch.results[n].error) batch.sessions[n]->noticed(*batch.results[n].error);
  }
  co_return std::move(batch.results);
}

Task<Result<std::vector<Result<Sealed>>>> seal_all(Batch batch) {
  const auto core = batch.core;
  const auto sessions = batch.sessions;
  auto running = run(std::move(batch));
  auto settled = co_await running;
  std::vector<Result<Sealed>> results;
  for (std::size_t n = 0; n < sessions.size(); ++n) {
    auto& each = (*settled)[n];
    core->hand(sessions[n], each.sealed.to_peer);
    if (each.error) {
      results.push_back(std::move(*each.error));
    } else {
      results.push_back(std::move(each.sealed));
    }
  }
  co_return results;
}

Task<Result<std::vector<Result<Opened>>>> open_all(Batch batch) {
  const auto core = batch.core;
  const auto sessions = batch.sessions;
  auto running = run(std::move(batch));
  auto settled = co_await running;
  std::vector<Result<Opened>> results;
  for (std::size_t n = 0; n < sessions.size(); ++n) {
    auto& each = (*settled)[n];
    core->hand(sessions[n], each.opened.to_peer);
    sessions[n]->noticed(each.opened);
    if (each.error) {
      results.push_back(std::move(*each.error));
    } else {
      results.push_back(std::move(each.opened));
    }
  }
  co_return results;
}

// What a batch is made of, before it has a span.
struct Asked {
  std::vector<StatePtr> sessions;
  std::vector<BatchItem> items;

  explicit Asked(std::vector<Item> given) {
    for (auto& item : given) {
      sessions.push_back(item.session.state());
      items.push_back({{}, std::move(item.body), std::move(item.associated_data)});
    }
  }

  Batch begun(Core& core, Span span, Method method, std::string plaintext = {}, std::string associated_data = {}) {
    return {core.shared_from_this(), span, method, std::move(sessions), std::move(items), {},
            std::move(plaintext),    std::move(associated_data)};
  }
};

}  // namespace
}  // namespace detail

using detail::Span;

Pending<std::vector<Result<Sealed>>> Client::encrypt_batch(std::vector<Item> items, CallOptions options) {
  return core_->start<std::vector<Result<Sealed>>>(
      core_->timeout(detail::Kind::batch, options),
      [&core = *core_, asked = detail::Asked(std::move(items))](Span span) mutable {
        return detail::seal_all(asked.begun(core, span, detail::method::encrypt_batch));
      });
}

Pending<std::vector<Result<Opened>>> Client::decrypt_batch(std::vector<Item> items, CallOptions options) {
  return core_->start<std::vector<Result<Opened>>>(
      core_->timeout(detail::Kind::batch, options),
      [&core = *core_, asked = detail::Asked(std::move(items))](Span span) mutable {
        return detail::open_all(asked.begun(core, span, detail::method::decrypt_batch));
      });
}

Pending<std::vector<Result<Sealed>>> Client::broadcast(std::vector<Session> sessions, std::string_view plaintext,
                                                       std::string_view associated_data, CallOptions options) {
  std::vector<Item> items;
  for (auto& session : sessions) items.push_back({std::move(session), std::string(plaintext)});
  return core_->start<std::vector<Result<Sealed>>>(
      core_->timeout(detail::Kind::batch, options),
      [&core = *core_, asked = detail::Asked(std::move(items)), plaintext = std::string(plaintext),
       beside = std::string(associated_data)](Span span) mutable {
        return detail::seal_all(
            asked.begun(core, span, detail::method::broadcast, std::move(plaintext), std::move(beside)));
      });
}

}  // namespace noisegate
