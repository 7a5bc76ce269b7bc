// A master's agent passes a request on to another node's agent and joins the two connections.
#pragma once

#include <memory>
#include <string>

#include "node/connection.h"

namespace kiln::node {

// Takes `client` over, and answers with an error if the other end goes before the answer is whole. `what` names that end ("the agent of
// node 'worker-1'"). Returns the connection to it, for whoever learns that its machine is lost.
std::weak_ptr<Connection> relay(Loop& loop, std::shared_ptr<Connection> client, const std::string& address, int port,
                                const std::string& secret, const Json& request, const std::string& what);

}  // namespace kiln::node
