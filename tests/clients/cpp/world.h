// What the examples take for given.
#pragma once

#include <arpa/inet.h>
#include <noisegate/noisegate.h>
#include <sys/socket.h>
#include <unistd.h>

#include <compare>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

// Its messages come on standard input, each with its length in two bytes before it, and go to standard output.
struct Player {
  struct Reading {
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    std::string await_resume() const {
      const auto head = taken(2);
      return taken(static_cast<unsigned char>(head[0]) << 8 | static_cast<unsigned char>(head[1]));
    }
    static std::string taken(std::size_t size) {
      std::string bytes(size, '\0');
      std::cin.read(bytes.data(), static_cast<std::streamsize>(size));
      return bytes;
    }
  };

  Reading read() { return {}; }
  void write(const std::vector<std::string>& messages) {
    for (const auto& message : messages) {
      std::cout << static_cast<char>(message.size() >> 8) << static_cast<char>(message.size() & 0xff) << message;
    }
    std::cout << std::flush;
    written += messages.size();
  }
  void drop(const std::string& why) {
    std::cerr << why << std::endl;
    std::exit(1);
  }

  std::size_t written = 0;
};

struct Address {
  std::uint32_t host = 0;
  std::uint16_t port = 0;
  auto operator<=>(const Address&) const = default;
};

// A UDP port of loopback.
struct Port {
  struct Came {
    std::string bytes;
    Address address;
  };

  Port() : socket(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    auto own = named({htonl(INADDR_LOOPBACK), 0});
    bind(socket, reinterpret_cast<sockaddr*>(&own), sizeof own);
  }

  static sockaddr_in named(const Address& address) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = address.host;
    name.sin_port = address.port;
    return name;
  }

  int number() const {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size);
    return ntohs(own.sin_port);
  }

  std::optional<Came> receive() {
    std::string bytes(65'535, '\0');
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const auto got = recvfrom(socket, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return std::nullopt;
    bytes.resize(static_cast<std::size_t>(got));
    return Came{std::move(bytes), {from.sin_addr.s_addr, from.sin_port}};
  }

  void send(const std::string& bytes, const Address& address) {
    auto to = named(address);
    sendto(socket, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  }

  int socket;
};

struct Room {
  void take(std::size_t, const std::string&) {}
  void send(std::size_t, const std::vector<std::string>&) {}
};
