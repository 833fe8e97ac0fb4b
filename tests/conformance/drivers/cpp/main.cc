// Calls the C++ SDK as tests/conformance/suite/driver.py has it told: lines of JSON in, lines of JSON out. It is a game
// with a tick of a millisecond: it looks for requests, submits them, polls.

#include <poll.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "driver.h"

namespace {

constexpr int tick_ms = 1;

}  // namespace

void Driver::begin(const Request& request) {
  const auto op = request.text("op");
  if (op == "cancel") {
    const auto found = running_.find(request.number("target"));
    if (found != running_.end()) found->second();
    return;
  }
  const auto found = operations().find(op);
  if (found == operations().end()) return refuse(request, Object().text("code", "UNKNOWN_OP"));
  found->second(*this, request);
}

void Driver::poll() {
  for (auto& [name, held] : clients) held->client.poll();
}

void Driver::close() { clients.clear(); }

void Driver::answer(const Request& request, const Object& ok) {
  write(Object().number("id", request.number("id")).object("ok", ok));
}

void Driver::refuse(const Request& request, const Object& error) {
  write(Object().number("id", request.number("id")).object("error", error));
}

void Driver::write(const Object& line) { std::cout << line.line() << std::endl; }

int main() {
  Driver driver;
  std::string heard;
  std::string chunk(1 << 20, '\0');
  for (;;) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, tick_ms) > 0) {
      const auto size = ::read(STDIN_FILENO, chunk.data(), chunk.size());
      if (size <= 0) break;
      heard.append(chunk, 0, static_cast<std::size_t>(size));
      std::size_t from = 0;
      for (auto end = heard.find('\n'); end != std::string::npos; end = heard.find('\n', from)) {
        const auto fields = Request::parse(heard.substr(from, end - from));
        if (!fields) return 1;
        driver.begin(Request(*fields));
        from = end + 1;
      }
      heard.erase(0, from);
    }
    driver.poll();
  }
  driver.close();
  return 0;
}
