// A command run for a client: its output flows to the connection as fast as that takes it, its input comes from there.
#pragma once

#include <memory>

#include "node/connection.h"
#include "node/loop.h"
#include "node/spawn.h"

namespace kiln::node {

struct ExecRequest {
  SpawnRequest spawn;
  bool terminal = false;
  int rows = 24, columns = 80;
};

// Takes the connection over until the command has ended or the client is gone (docs/channel.md, "exec").
void serve_exec(Loop& loop, std::shared_ptr<Connection> connection, ExecRequest request);

}  // namespace kiln::node
