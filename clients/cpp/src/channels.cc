#include "channels.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <string_view>

namespace noisegate::detail {

namespace {

// Kept, unless more are in use; the longest idle gives way.
constexpr std::size_t max_channels = 64;

// A page of 1,000 sessions is the longest answer.
constexpr int max_message_bytes = 4 << 20;

constexpr auto service_config = R"({"loadBalancingConfig": [{"round_robin": {}}]})";

// A packet's deadline is 250 ms, and gRPC's own second before it connects again would fail every packet of it. This
// client repeats calls itself: gRPC does not know what a request_id makes safe.
constexpr std::pair<const char*, int> arguments[] = {
    {"grpc.keepalive_time_ms", 30'000},
    {"grpc.keepalive_timeout_ms", 10'000},
    {"grpc.keepalive_permit_without_calls", 1},
    {"grpc.http2.max_pings_without_data", 0},
    {"grpc.initial_reconnect_backoff_ms", 100},
    {"grpc.min_reconnect_backoff_ms", 1'000},
    {"grpc.max_reconnect_backoff_ms", 1'000},
    // A pod that is started again has another address; gRPC would not ask for it within 30 s of the last time.
    {"grpc.dns_min_time_between_resolutions_ms", 1'000},
    {"grpc.use_local_subchannel_pool", 1},
    {"grpc.enable_retries", 0},
    {"grpc.service_config_disable_resolution", 1},
};

// Whether HOST:PORT or a unix: address stays on this machine; of names only localhost does.
bool is_loopback(std::string_view target) {
  if (target.starts_with("unix:")) return true;
  const auto colon = target.rfind(':');
  if (colon == std::string_view::npos) return false;
  auto host = std::string(target.substr(0, colon));
  in6_addr six{};
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
  }
  in_addr four{};
  return host == "localhost" || (inet_pton(AF_INET, host.c_str(), &four) == 1 && ntohl(four.s_addr) >> 24 == 127);
}

Error wrong(std::string what) {
  return {.code = Code::invalid_argument, .reason = std::string(reason::invalid_options), .message = std::move(what)};
}

}  // namespace

Error check(const Options& options) {
  using std::chrono::milliseconds;
  const auto& policy = options.policy;
  const auto none = milliseconds::zero();
  if (policy.packet_deadline <= none || policy.control_deadline <= none || policy.attempts < 1 ||
      policy.first_backoff < none || policy.max_backoff < none) {
    return wrong("Policy: deadlines must be positive, attempts at least 1, back-off not negative");
  }
  if (const auto& multiplex = options.multiplex;
      multiplex && (multiplex->tick < none || multiplex->tick > milliseconds(100) || multiplex->max_items < 1 ||
                    multiplex->max_items > 1'024 || multiplex->max_bytes < 1 || multiplex->max_bytes > 1'310'720)) {
    return wrong("Multiplex: tick at most 100 ms, max_items 1 to 1,024, max_bytes 1 to 1,310,720");
  }
  return {.code = Code::ok};
}

Error check_plaintext(const Options& options, const std::string& address) {
  if (options.tls || is_loopback(address) || (options.insecure && !options.token)) return {.code = Code::ok};
  return {.code = Code::invalid_argument,
          .reason = std::string(reason::insecure_target),
          .message = address + " is no loopback address: set tls, or insecure in a network that you trust",
          .metadata = {{"target", address}}};
}

std::shared_ptr<grpc::Channel> dial(const Options& options, const std::string& address) {
  grpc::ChannelArguments all;
  for (const auto& [name, value] : arguments) all.SetInt(name, value);
  all.SetServiceConfigJSON(service_config);
  all.SetMaxReceiveMessageSize(max_message_bytes);
  all.SetMaxSendMessageSize(max_message_bytes);
  all.SetUserAgentPrefix("noisegate-cpp");
  for (const auto& [name, value] : options.channel_arguments) {
    if (const auto* number = std::get_if<int>(&value)) {
      all.SetInt(name, *number);
    } else {
      all.SetString(name, std::get<std::string>(value));
    }
  }
  if (!options.tls) return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), all);
  grpc::SslCredentialsOptions certificates;
  certificates.pem_root_certs = options.tls->roots;
  certificates.pem_cert_chain = options.tls->certificate;
  certificates.pem_private_key = options.tls->key;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(certificates), all);
}

void authorize(const Options& options, grpc::ClientContext& context) {
  if (options.token) context.AddMetadata("authorization", "Bearer " + options.token());
}

std::shared_ptr<grpc::GenericStub> Channels::take(const std::string& endpoint) {
  const auto& address = address_of(endpoint);
  auto found = known_.find(address);
  if (found == known_.end()) {
    recent_.push_front({address, std::make_shared<grpc::GenericStub>(dial(options_, address))});
    found = known_.emplace(address, recent_.begin()).first;
    make_room();
  }
  recent_.splice(recent_.begin(), recent_, found->second);
  return found->second->stub;
}

void Channels::clear() {
  known_.clear();
  recent_.clear();
}

// Lets go of the connection that nobody has used for the longest time. Whoever has it still has its own share of it.
void Channels::make_room() {
  if (recent_.size() <= max_channels) return;
  for (auto lane = std::prev(recent_.end()); lane != recent_.begin(); --lane) {
    if (lane->stub.use_count() > 1) continue;
    known_.erase(lane->address);
    recent_.erase(lane);
    return;
  }
}

}  // namespace noisegate::detail
