// A master's agent passes a request on to another node's agent and joins the two connections.
#pragma once

#include <memory>
#include <string>

#include "node/connection.h"

namespace kiln::node {

// Takes `client` over. `what` names the other end in an error ("the agent of node 'worker-1'").
void relay(Loop& loop, std::shared_ptr<Connection> client, const std::string& address, int port, const std::string& secret,
           const Json& request, const std::string& what);

}  // namespace kiln::node
