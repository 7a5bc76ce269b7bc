// The modules' scripts on a node: how one is started, and setup.sh or run.sh of all modules, each when those it needs are through.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "node/events.h"
#include "node/log_file.h"
#include "node/loop.h"
#include "node/plan.h"

namespace kiln::node {

// `first_line` names the interpreter (#!…), else /bin/sh -eu; a plain #!/bin/sh is given -eu too (docs/modules.md), if `strict`.
std::vector<std::string> script_command(const std::string& first_line, const std::string& path, bool strict = true);

// Everything needed to start MODULE's script as root; the stage is the script's name without ".sh" ("deploy" for init.sh).
// Error for a name with a slash, and when there is no such script.
SpawnRequest script_request(const PlannedModule& module, const std::string& script, const Environment& node_env, const Paths& paths);
bool has_script(const PlannedModule& module, const std::string& script);

// Runs one script of every module that has it, in dependency order, those that don't need each other side by side.
class ScriptRun {
 public:
  struct Context {
    Loop& loop;
    NodeEvents& events;
    const Paths& paths;
    const Plan& plan;
    Environment env;
    std::string secret;  // of the cluster; empty: it has none
  };
  // on_module: each module when its turn is over (`why` empty: well). on_end: all are.
  ScriptRun(Context context, std::string script, std::function<void(const std::string& module, const std::string& why)> on_module,
            std::function<void()> on_end);
  void start() { advance(); }
  bool is_running() const { return !ended_ && !started_.empty(); }
  const std::map<std::string, std::shared_ptr<LogFile>>& logs() const { return logs_; }

 private:
  void advance();
  void launch(const PlannedModule& module);
  void finish(const std::string& module, const std::string& why);
  Context context_;
  std::string script_, stage_;
  std::function<void(const std::string&, const std::string&)> on_module_;
  std::function<void()> on_end_;
  std::set<std::string> started_, done_, failed_;
  std::map<std::string, std::shared_ptr<LogFile>> logs_;  // by "MODULE.setup"
  bool ended_ = false;
};

}  // namespace kiln::node
