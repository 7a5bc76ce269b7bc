// The agent's port: accepts, shakes hands, gives each connection's first request to the agent.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "node/connection.h"

namespace kiln::node {

class Server {
 public:
  // Connections that have not proved themselves. With more, the oldest goes: strangers can't keep the launcher out.
  static constexpr std::size_t kMaxStrangers = 256;
  static constexpr std::size_t kMaxConnections = 4096;  // a thousand nodes that report, and their relayed commands

  using OnRequest = std::function<void(std::shared_ptr<Connection>, const Json&)>;
  Server(Loop& loop, std::string secret, OnRequest on_request);
  ~Server();
  // Error when the port is taken. Works before the address is there.
  void listen(const std::string& address, int port);

 private:
  void accept(int listener);
  void take(const std::shared_ptr<Connection>& connection, const Frame& frame);
  Loop& loop_;
  std::string secret_;
  OnRequest on_request_;
  std::vector<Fd> listeners_;
  std::deque<std::weak_ptr<Connection>> strangers_, friends_;
};

}  // namespace kiln::node
