#include "noisegate/testing.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string_view>

extern char** environ;

namespace noisegate::testing {

namespace {

constexpr std::string_view ready = "noisegate listening on ";
constexpr std::chrono::milliseconds start_within{20'000};

// A line without its end, or what there was of it when the time was over.
std::string read_line(int from, std::chrono::milliseconds within) {
  const auto until = std::chrono::steady_clock::now() + within;
  std::string line;
  for (char next = 0;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd wanted{from, POLLIN, 0};
    if (left.count() <= 0 || poll(&wanted, 1, static_cast<int>(left.count())) != 1) return line;
    if (read(from, &next, 1) != 1 || next == '\n') return line;
    line += next;
  }
}

}  // namespace

Service::Service(std::vector<std::string> arguments) {
  const char* named = std::getenv("NOISEGATE_COMMAND");
  std::vector<std::string> words = {
      named ? named : "noisegate", "serve", "--dev", "--listen", "127.0.0.1:0", "--drain", "0"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> command;
  for (auto& word : words) command.push_back(word.data());
  command.push_back(nullptr);
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC) != 0) return;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  if (posix_spawnp(&process_, command[0], &actions, nullptr, command.data(), environ) != 0) process_ = -1;
  posix_spawn_file_actions_destroy(&actions);
  close(pipe[1]);
  output_ = pipe[0];
  const auto line = read_line(output_, start_within);
  if (std::string_view(line).starts_with(ready)) address_ = line.substr(ready.size());
}

Service::~Service() {
  if (process_ > 0) {
    kill(process_, address_.empty() ? SIGKILL : SIGTERM);
    waitpid(process_, nullptr, 0);
  }
  if (output_ >= 0) close(output_);
}

}  // namespace noisegate::testing
