#include "packing.h"

#include "errors.h"

namespace noisegate::detail {

namespace {

// The columns that both requests have.
template <class Request>
void pack(const BatchItems& items, Request& request, std::string& bodies) {
  bool beside = false;
  for (const auto* item : items) beside = beside || !item->associated_data.empty();
  const std::string* last = nullptr;
  for (const auto* item : items) {
    if (last != nullptr && *last == item->session_id) {
      auto* counts = request.mutable_counts();
      counts->Set(counts->size() - 1, counts->Get(counts->size() - 1) + 1);
    } else {
      last = &item->session_id;
      request.mutable_session_ids()->append(*last);
      request.add_counts(1);
    }
    request.add_lengths(static_cast<std::uint32_t>(item->body.size()));
    bodies.append(item->body);
    if (beside) {
      request.add_associated_data_lengths(static_cast<std::uint32_t>(item->associated_data.size()));
      request.mutable_associated_data()->append(item->associated_data);
    }
  }
  // One each is what none stand for.
  if (static_cast<std::size_t>(request.counts_size()) == items.size()) request.clear_counts();
}

// Each item's bytes; nothing where the lengths do not match.
template <class Lengths>
std::optional<std::vector<std::string>> cut(const std::string& joined, const Lengths& lengths, std::size_t count) {
  if (static_cast<std::size_t>(lengths.size()) != count) return std::nullopt;
  std::vector<std::string> pieces;
  pieces.reserve(count);
  std::size_t at = 0;
  for (const std::size_t length : lengths) {
    if (length > joined.size() - at) return std::nullopt;
    pieces.push_back(joined.substr(at, length));
    at += length;
  }
  if (at != joined.size()) return std::nullopt;
  return pieces;
}

// A value for each item, or none at all, which stands for zeros.
template <class Column>
bool is_column(const Column& column, std::size_t count) {
  return column.size() == 0 || static_cast<std::size_t>(column.size()) == count;
}

template <class Column>
auto at(const Column& column, std::size_t n) {
  return column.size() == 0 ? 0 : column.Get(static_cast<int>(n));
}

// What only some items have; false for an item that was not asked for.
template <class Values, class Visit>
bool sparse(std::vector<Settled>& results, const Values& values, Visit visit) {
  for (const auto& value : values) {
    if (value.index() >= results.size()) return false;
    visit(results[value.index()], value);
  }
  return true;
}

template <class Indices, class Visit>
bool marked(std::vector<Settled>& results, const Indices& indices, Visit visit) {
  for (const auto index : indices) {
    if (index >= results.size()) return false;
    visit(results[index]);
  }
  return true;
}

template <class Response>
Result<std::vector<Settled>> sealed_items(const Response& answer, std::size_t count) {
  auto packets = cut(answer.ciphertexts(), answer.lengths(), count);
  if (!packets) return not_whole("a length for each item, and its bytes");
  if (!is_column(answer.counters(), count) || !is_column(answer.epochs(), count)) {
    return not_whole("a result for each item");
  }
  std::vector<Settled> results(count);
  for (std::size_t n = 0; n < count; ++n) {
    auto& sealed = results[n].sealed;
    sealed.packet = std::move((*packets)[n]);
    sealed.counter = at(answer.counters(), n);
    sealed.epoch = at(answer.epochs(), n);
  }
  const bool known =
      marked(results, answer.rotation_due(), [](Settled& item) { item.sealed.rotation_due = true; }) &&
      sparse(results, answer.to_peer(),
             [](Settled& item, const auto& messages) { item.sealed.to_peer = strings_of(messages.to_peer()); }) &&
      sparse(results, answer.errors(),
             [](Settled& item, const auto& refused) { item = Settled{.error = error_of(refused)}; });
  if (!known) return not_whole("items that were asked for");
  return results;
}

void open(Settled& item, const v1::ItemControl& control) {
  item.opened.has_plaintext = false;
  item.opened.plaintext.clear();
  item.opened.control = control.kind();
  item.opened.answered = control.answered();
}

void refuse(Settled& item, const v1::ItemError& refused) {
  auto error = error_of(refused);
  auto id = std::move(item.opened.session_id);
  item = Settled{};
  if (error.refuses_packet()) {
    item.opened.session_id = std::move(id);
    item.opened.refused = std::move(error.reason);
  } else {
    item.error = std::move(error);
  }
}

}  // namespace

v1::EncryptBatchRequest encrypt_batch_of(const BatchItems& items, std::string request_id) {
  v1::EncryptBatchRequest request;
  request.set_request_id(std::move(request_id));
  pack(items, request, *request.mutable_plaintexts());
  return request;
}

v1::DecryptBatchRequest decrypt_batch_of(const BatchItems& items, std::string request_id) {
  v1::DecryptBatchRequest request;
  request.set_request_id(std::move(request_id));
  pack(items, request, *request.mutable_ciphertexts());
  return request;
}

Result<std::vector<Settled>> items_of(const v1::EncryptBatchResponse& answer, const BatchItems& items) {
  return sealed_items(answer, items.size());
}

Result<std::vector<Settled>> items_of(const v1::BroadcastResponse& answer, const BatchItems& items) {
  return sealed_items(answer, items.size());
}

Result<std::vector<Settled>> items_of(const v1::DecryptBatchResponse& answer, const BatchItems& items) {
  const auto count = items.size();
  auto plaintexts = cut(answer.plaintexts(), answer.lengths(), count);
  if (!plaintexts) return not_whole("a length for each item, and its bytes");
  const auto& newest = answer.newest();
  if (!is_column(answer.counters(), count) || !is_column(answer.epochs(), count) || !is_column(newest, count)) {
    return not_whole("a result for each item");
  }
  std::vector<Settled> results(count);
  for (std::size_t n = 0; n < count; ++n) {
    auto& opened = results[n].opened;
    opened.session_id = items[n]->session_id;
    opened.has_plaintext = true;
    opened.plaintext = std::move((*plaintexts)[n]);
    opened.counter = at(answer.counters(), n);
    opened.epoch = at(answer.epochs(), n);
    opened.newest = !newest.empty() && newest[n] == 1;
  }
  const bool known =
      marked(results, answer.rotation_due(), [](Settled& item) { item.opened.rotation_due = true; }) &&
      marked(results, answer.early(), [](Settled& item) { item.opened.early = true; }) &&
      sparse(results, answer.to_peer(),
             [](Settled& item, const auto& messages) { item.opened.to_peer = strings_of(messages.to_peer()); }) &&
      sparse(results, answer.controls(), open) && sparse(results, answer.errors(), refuse);
  if (!known) return not_whole("items that were asked for");
  return results;
}

}  // namespace noisegate::detail
