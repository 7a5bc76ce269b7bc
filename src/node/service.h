// One supervised service: its process, its readiness, its restarts, its stop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "node/events.h"
#include "node/log_file.h"
#include "node/loop.h"
#include "node/plan.h"
#include "node/readiness.h"

namespace kiln::node {

enum class ServiceState { kWaiting, kStarting, kReady, kRestarting, kFailed, kStopping, kStopped, kOff };
std::string_view state_name(ServiceState state);

// What to do about a service that ended by itself. No clock and no process in it: the caller tells what happened.
class RestartPolicy {
 public:
  explicit RestartPolicy(std::string restart) : restart_(std::move(restart)) {}
  enum class Action { kRestart, kDone, kGiveUp };
  struct Decision {
    Action action;
    std::chrono::milliseconds pause{0};
  };
  // `ok`: it ended with exit code 0. `ready_for`: how long it had been ready; nothing when it never was, in this run.
  Decision ended(bool ok, std::optional<std::chrono::milliseconds> ready_for);

 private:
  // Three in a row, about a second in all: a service that can't start at all shall fail a launch while people still watch. One that has
  // worked before is worth trying for ever, at most each 30 s.
  static constexpr int kMaxFailedStarts = 3;
  static constexpr std::chrono::milliseconds kFirstPause{200}, kLongestPause{30000}, kResetAfter{60000};
  std::string restart_;
  bool ever_ready_ = false;
  int failed_starts_ = 0;
  std::chrono::milliseconds pause_ = kFirstPause;
};

struct ServiceContext {
  Loop& loop;
  NodeEvents& events;
  const Paths& paths;
  Environment env;  // of the module and the node
  std::function<std::optional<std::string>(const std::string& host)> resolve;
  std::string own_address;
  std::function<void()> on_change;
  std::function<void(const std::string& service, std::string_view bytes)> on_output;  // may be nothing
};

class SupervisedService {
 public:
  SupervisedService(const PlannedService& planned, ServiceContext context);
  ~SupervisedService();

  const PlannedService& planned() const { return planned_; }
  ServiceState state() const { return state_; }
  // Ready now, or ended as it should (restart: never and on-failure).
  bool satisfied() const { return state_ == ServiceState::kReady || (state_ == ServiceState::kStopped && done_); }
  LogFile& log() { return log_; }

  void start();
  // The gate's conditions are met; stays so over restarts.
  void open_gate();
  bool gate_is_open() const { return gate_open_; }
  // Its setup failed and the like.
  void fail(const std::string& why);
  // Its stop signal, and KILL after its own timeout or `at_most`, whichever is less.
  void stop(std::optional<std::chrono::milliseconds> at_most);
  Json status() const;

 private:
  void launch();
  void became_ready();
  void ended(int status);
  void timed_out();
  void set_state(ServiceState state, std::string text = {});
  void finish_activity(bool ok, const std::string& text = {});
  SpawnRequest spawn_request() const;
  void make_gate();

  const PlannedService& planned_;
  ServiceContext context_;
  LogFile log_;
  RestartPolicy policy_;
  ServiceState state_;
  std::string text_;
  double since_;
  pid_t pid_ = 0;
  int restarts_ = 0;
  bool done_ = false, gate_open_ = false, stopping_ = false, failing_ = false;
  std::uint64_t activity_ = 0;  // 0 before the first start
  bool activity_open_ = false;
  std::optional<Clock::time_point> ready_at_;
  std::unique_ptr<Probe> probe_;
  Fd gate_;
  Loop::TimerId timer_ = 0;  // readiness time-out, pause before a restart, or KILL
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace kiln::node
