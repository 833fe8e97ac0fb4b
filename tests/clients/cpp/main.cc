// "greet TARGET": greets the player on the standard input. "table TARGET": says its UDP port, and serves.
#include "world.h"
// Of the README.
#include "examples.h"

#include <poll.h>

constexpr std::size_t greeting = 2;  // message 2, and the welcome

int main(int, char** arguments) {
  // Patient enough for a busy machine.
  noisegate::Options options;
  options.policy.packet_deadline = options.policy.control_deadline = std::chrono::seconds(5);
  auto client = noisegate::Client::connect(arguments[2], options);
  if (!client) return 1;
  if (std::string(arguments[1]) == "greet") {
    Player player;
    greet(*client, player);
    while (player.written < greeting) client->poll_for(std::chrono::seconds(1));
    return 0;
  }
  Port port;
  Table table(*client, port);
  std::cout << port.number() << std::endl;
  for (pollfd wire{port.socket, POLLIN, 0};; ::poll(&wire, 1, 1)) table.tick();
}
