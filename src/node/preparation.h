// What a node is given before its modules' setup.sh: swap, and the user's own script (the node document's "swap_bytes" and "user_data").
//
// The script runs once in a node's life, as users of cloud-init expect it: as root, in `/`, with what its first line names. Where it fails
// the node fails. One that was cut off (the machine went down) runs again at the next start.
//
// Swap is a file: on the machine's instance store where it has one (module machine mounts it), else on the root. It is taken into use at
// every start. Only a machine of the node's own has swap of its own: "power_off" says that this is one. Where the kernel refuses all the
// same, the node goes on without, and says so.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/node_document.h"
#include "node/events.h"
#include "node/log_file.h"
#include "node/loop.h"
#include "node/paths.h"
#include "node/spawn.h"

namespace kiln::node {

class Preparation {
 public:
  // `env`: what modules' scripts get of the node.
  Preparation(Loop& loop, NodeEvents& events, const Paths& paths, const config::NodeDocument& document, Environment env);
  // Calls `done` with why it failed, or nothing; at once when there is nothing to do.
  void start(std::function<void(const std::string& why)> done);
  // "swap" and "user-data".
  const std::map<std::string, std::shared_ptr<LogFile>>& logs() const { return logs_; }

 private:
  struct Step {
    std::string name;
    std::vector<std::string> argv;
    bool may_fail = false;
    std::filesystem::path marker;  // written when it has succeeded; empty: none
  };
  void next();
  void run(const Step& step);
  void finish(const Step& step, const std::string& why, const std::string& tail);

  Loop& loop_;
  NodeEvents& events_;
  const Paths& paths_;
  Environment env_;
  std::vector<Step> steps_;
  std::size_t at_ = 0;
  std::map<std::string, std::shared_ptr<LogFile>> logs_;
  std::function<void(const std::string&)> done_;
};

}  // namespace kiln::node
