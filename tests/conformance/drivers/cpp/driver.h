// What the driver keeps, by the requests' names, and how it answers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "wire.h"

class Driver {
 public:
  using Operation = void (*)(Driver& driver, const Request& request);

  // Begins a request, or cancels one.
  void begin(const Request& request);
  // Answers what has come to its end.
  void poll();
  void close();

  struct Held {
    noisegate::Client client;
    std::map<std::string, std::unique_ptr<noisegate::Receiver<std::string>>> receivers = {};
  };

  Held& held(const Request& request) { return *clients.at(request.text("client")); }
  noisegate::Client& client(const Request& request) { return held(request).client; }
  noisegate::Session session(const Request& request) { return sessions.at(request.text("session")); }

  void answer(const Request& request, const Object& ok);
  void refuse(const Request& request, const Object& error);
  // Answers with what `show` makes of the result, once it is there.
  template <class T, class Show>
  void answer(const Request& request, noisegate::Pending<T> pending, Show show) {
    const auto id = request.number("id");
    running_[id] = [pending]() mutable { pending.cancel(); };
    pending.then([this, request, id, show](noisegate::Result<T> result) {
      running_.erase(id);
      if (result) {
        answer(request, show(*result));
      } else {
        refuse(request, shown(result.error()));
      }
    });
  }

  std::map<std::string, std::unique_ptr<Held>> clients;
  std::map<std::string, noisegate::Session> sessions;
  // What the hook was given, by the session's id.
  std::map<std::string, std::vector<std::string>> sent;

 private:
  void write(const Object& line);

  std::map<int, std::function<void()>> running_;
};

// Named as the requests have them.
const std::map<std::string, Driver::Operation>& operations();
