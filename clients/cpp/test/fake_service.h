// A server of gRPC whose answers a test decides.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

class FakeService {
 public:
  struct Answer {
    int code = 0;
    std::string body = {};
  };
  // Answers one message of a call; a code that is not 0 ends the call.
  using Handle = std::function<Answer(const std::string& method, const std::map<std::string, std::string>& metadata,
                                      const std::string& body)>;

  explicit FakeService(Handle handle);
  ~FakeService();

  std::string address() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};
