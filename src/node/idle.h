// Whether anything goes on in the cluster, for one that shall end when nothing has for a while (`kiln launch --idle`).
//
// Every node looks at itself, ten times within that while: at what its agent does for others (sessions, setup, drain), at SSH sessions, and
// at what the modules' busy.sh say (docs/modules.md). A node where something goes on tells every master; the others are silent, so that a
// thousand idle workers cost nothing. What a look finds counts until the next one finds nothing: nobody ends too early, but somewhat late.
//
// The first master ends the cluster. The others wait a minute longer, so that it is theirs when the first is lost. A node that is no master
// ends by itself, and that only when it has heard no master for as long.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "node/events.h"
#include "node/loop.h"
#include "node/plan.h"

namespace kiln::node {

class IdleWatch {
 public:
  struct Hooks {
    // What the agent does, in words; empty: nothing.
    std::function<std::string()> own_work;
    // Something goes on here: the masters shall know.
    std::function<void(const std::string& what)> tell;
    // How much longer than the limit this node waits; nothing: it is not its to end anything.
    std::function<std::optional<std::chrono::seconds>()> patience;
    // Nothing has gone on for so long. Called once.
    std::function<void()> end;
  };
  struct Context {
    Loop& loop;
    NodeEvents& events;
    const Paths& paths;
    const Plan& plan;
    Environment env;
  };
  // `limit`: how long nothing may go on. `pause`: between two looks; 0: pause_for(limit).
  IdleWatch(Context context, std::chrono::milliseconds limit, Hooks hooks, std::chrono::milliseconds pause = {});
  ~IdleWatch();
  void start();
  // Something went on just now: here, or on a node that says so.
  void heard() { last_ = Clock::now(); }
  // As heard(), and the masters learn of it with the next look: a session that is over by then.
  void began();

  // A tenth of the limit, a second to a minute.
  static std::chrono::milliseconds pause_for(std::chrono::milliseconds limit);

 private:
  struct Question;  // a busy.sh that runs
  void look();
  void ask(const PlannedModule& module);
  void answered(const std::string& module, const std::string& what);
  void conclude();

  Context context_;
  std::chrono::milliseconds limit_, pause_;
  Hooks hooks_;
  Clock::time_point last_ = Clock::now();
  std::string found_;  // in this look
  int open_questions_ = 0;
  std::map<std::string, std::string> failures_;  // of busy.sh, as told
  double last_look_, this_look_;
  bool was_busy_ = false, began_ = false, ended_ = false;
  Loop::TimerId timer_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

// A session that an SSH server has open on this machine, by what runs in it: "sh"; nothing when there is none. `proc` is /proc.
std::optional<std::string> ssh_session(const std::filesystem::path& proc);

}  // namespace kiln::node
