// One connection per endpoint, made when first needed, all with the same credentials.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <list>
#include <map>
#include <memory>
#include <string>

#include "noisegate/error.h"
#include "noisegate/options.h"

namespace noisegate::detail {

// INVALID_OPTIONS with what is wrong with them; ok for nothing.
Error check(const Options& options);

// An endpoint comes from the service, too, and must not talk this client out of TLS: INSECURE_TARGET, or ok.
Error check_plaintext(const Options& options, const std::string& address);

// A new connection; it connects with its first call.
std::shared_ptr<grpc::Channel> dial(const Options& options, const std::string& address);

// Gives a call its token.
void authorize(const Options& options, grpc::ClientContext& context);

class Channels {
 public:
  Channels(const Options& options, std::string target) : options_(options), target_(std::move(target)) {}

  // HOST:PORT of an endpoint, which is empty for the client's own target.
  const std::string& address_of(const std::string& endpoint) const { return endpoint.empty() ? target_ : endpoint; }

  // The connection to an endpoint, for as long as a call has it. Insecure ones are refused before.
  std::shared_ptr<grpc::GenericStub> take(const std::string& endpoint);
  // Lets go of every connection.
  void clear();

 private:
  struct Lane {
    std::string address;
    std::shared_ptr<grpc::GenericStub> stub;
  };
  using Lanes = std::list<Lane>;

  void make_room();

  const Options& options_;
  std::string target_;
  Lanes recent_;  // the latest used in front
  std::map<std::string, Lanes::iterator> known_;
};

}  // namespace noisegate::detail
