// The agent's event loop: descriptors, timers, signals and ended children, on one thread. Nothing polls and nothing sleeps:
// epoll waits for whatever comes first. Handlers may add and remove watches, their own too.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.h"

namespace kiln::node {

using Clock = std::chrono::steady_clock;

class Loop {
 public:
  using Callback = std::function<void()>;
  using TimerId = std::uint64_t;

  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Calls `handler` with the EPOLL… events of `fd` (borrowed) until unwatch(fd). `events` 0: only errors and hang-ups.
  void watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> handler);
  void set_events(int fd, std::uint32_t events);
  void unwatch(int fd);

  TimerId after(std::chrono::milliseconds delay, Callback callback);
  // An id that has fired, or 0, is fine.
  void cancel(TimerId id);
  // Called after the handlers that are running now: to delete what they may still use.
  void defer(Callback callback);

  // Calls `handler` with waitpid's status when `pid`, a group leader, has ended; what is left of its process group is killed first
  // if `kill_group`. Children nobody waits for (orphans that became ours) are reaped silently.
  void on_exit(pid_t pid, bool kill_group, std::function<void(int status)> handler);
  // SIGTERM and SIGINT from now on come here.
  void on_stop_signal(std::function<void(int signal)> handler) { on_stop_signal_ = std::move(handler); }

  // Until quit(); gives its code.
  int run();
  void quit(int code);
  // Handles what there is, waiting at most so long: for tests.
  void run_once(std::chrono::milliseconds at_most);

 private:
  struct Watch {
    std::uint32_t generation;
    std::function<void(std::uint32_t)> handler;
  };
  struct Child {
    bool kill_group;
    std::function<void(int)> handler;
  };
  void read_signals();
  void reap();
  void run_deferred();

  Fd epoll_, signals_;
  std::uint32_t generation_ = 0;
  std::unordered_map<int, std::shared_ptr<Watch>> watches_;
  std::multimap<Clock::time_point, std::pair<TimerId, Callback>> timers_;
  TimerId last_timer_ = 0;
  std::vector<Callback> deferred_;
  std::unordered_map<pid_t, Child> children_;
  std::function<void(int)> on_stop_signal_;
  bool quit_ = false;
  int exit_code_ = 0;
};

// Puts the signal mask and handlers back to what programs expect; in a child between fork and exec.
void reset_signals_in_child();

}  // namespace kiln::node
