// A real noisegate for a test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace noisegate::testing {

// Runs `noisegate serve --dev` on a free port of this machine for as long as this lives. Keys are made at the start and
// lost at the end. More arguments of `noisegate serve` may follow.
//
// The command is `noisegate` on the PATH (pip install noisegate-server), or what the environment's NOISEGATE_COMMAND
// names. Where it does not come up, its log is on the standard error and address is empty.
class Service {
 public:
  explicit Service(std::vector<std::string> arguments = {});
  Service(const Service&) = delete;
  // Stops it and waits until it has.
  ~Service();

  // HOST:PORT.
  const std::string& address() const { return address_; }

 private:
  pid_t process_ = -1;
  int output_ = -1;
  std::string address_;
};

}  // namespace noisegate::testing
