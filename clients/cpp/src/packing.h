// How batches stand in messages: one behind the other, neighbours of one session under one id.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "noisegate/error.h"
#include "noisegate/records.h"

namespace noisegate::detail {

inline constexpr std::size_t session_id_bytes = 24;
inline constexpr std::size_t max_batch_items = 1'024;
inline constexpr std::size_t max_batch_bytes = 1'310'720;

// One of a batch: a plaintext to seal or a record to open.
struct BatchItem {
  std::string session_id;
  std::string body;
  std::string associated_data;

  // Counts against a batch's limit of bytes.
  std::size_t size() const { return body.size() + associated_data.size(); }
};

using BatchItems = std::vector<const BatchItem*>;

// What became of one item; the answer is in sealed or in opened, as was asked.
struct Settled {
  Sealed sealed;
  Opened opened;
  std::optional<Error> error;
};

v1::EncryptBatchRequest encrypt_batch_of(const BatchItems& items, std::string request_id);
v1::DecryptBatchRequest decrypt_batch_of(const BatchItems& items, std::string request_id);

// One for each item, in order; a packet that was refused is a result. An error where the answer is not whole.
Result<std::vector<Settled>> items_of(const v1::EncryptBatchResponse& answer, const BatchItems& items);
Result<std::vector<Settled>> items_of(const v1::BroadcastResponse& answer, const BatchItems& items);
Result<std::vector<Settled>> items_of(const v1::DecryptBatchResponse& answer, const BatchItems& items);

}  // namespace noisegate::detail
