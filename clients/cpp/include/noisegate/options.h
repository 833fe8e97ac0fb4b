// What connect makes: deadlines, credentials, hooks.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace noisegate {

class Session;

// How long calls may take and how they are repeated. The service remembers a request_id for 5 s: keep deadlines below
// that.
struct Policy {
  // Of encrypt and decrypt, all attempts together. NOISE mode: a late answer costs the session there, so set it higher,
  // e.g. 2 s, where a machine may be loaded.
  std::chrono::milliseconds packet_deadline{250};
  // Of every other call.
  std::chrono::milliseconds control_deadline{2'000};
  // Of one call, the first included; 1 for no repeats. Those that meet an instance that is away or stops do not count:
  // the deadline alone bounds them.
  int attempts = 5;
  // The most to wait before the first repeat; it doubles up to max_backoff.
  std::chrono::milliseconds first_backoff{25};
  std::chrono::milliseconds max_backoff{500};
};

// How calls of many sessions travel together.
struct Multiplex {
  // How long a batch collects calls: at most 100 ms.
  std::chrono::microseconds tick{1'000};
  // Of one batch, which goes at once when it has them: at most 1,024.
  std::size_t max_items = 256;
  // Of its plaintexts or records: at most 1,310,720; a longer call goes alone.
  std::size_t max_bytes = 256 << 10;
};

// Certificates, in PEM. With one of our own it is mutual TLS, which names the caller (a SPIFFE id as a rule).
struct Tls {
  // The authorities that sign for the service; empty for the system's.
  std::string roots;
  std::string certificate;
  // Secret.
  std::string key;
};

struct Options {
  Policy policy = {};
  // Lets encrypt and decrypt of all sessions travel together, in batches on one stream to each endpoint. The service's
  // policy must grant Transport, EncryptBatch and DecryptBatch.
  std::optional<Multiplex> multiplex = {};
  // Holds for every endpoint that the service names. Without it connect is for loopback alone.
  std::optional<Tls> tls = {};
  // Allows plaintext to addresses beyond loopback, for a network that you trust: plaintexts and pre-shared keys travel
  // on it. Never with a token.
  bool insecure = false;
  // Gives a bearer token for each call; it is asked on the client's own thread: it must not wait, and keeps its own
  // cache.
  std::function<std::string()> token = {};
  // Sends the messages that the service has for players besides what was asked for: each on its own, in this order.
  // poll calls it, before it delivers the result that brought them; that result's to_peer is then empty. The records
  // that encrypt seals are the caller's own to send.
  std::function<void(const Session& session, const std::vector<std::string>& messages)> on_send = {};
  // Adds metadata to a call, e.g. the traceparent and tracestate of the current span; asked on the thread that submits
  // the call. With multiplex, encrypt and decrypt travel on a stream of the client's, which has none. Keys in lower
  // case.
  std::function<void(std::map<std::string, std::string>& metadata)> propagate = {};
  // Arguments of gRPC's channels, e.g. {"grpc.primary_user_agent", "table-server"}.
  std::map<std::string, std::variant<int, std::string>> channel_arguments = {};
};

// Of one call.
struct CallOptions {
  // Instead of the policy's deadline.
  std::optional<std::chrono::milliseconds> timeout = {};
};

}  // namespace noisegate
