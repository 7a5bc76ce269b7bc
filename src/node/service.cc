#include "node/service.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/process.h"

namespace kiln::node {

namespace {
// A service without a probe is "ready" when started; only when it has lived for this long has it shown that it can.
constexpr std::chrono::milliseconds kProof{1000};
}  // namespace

std::string_view state_name(ServiceState state) {
  constexpr std::string_view kNames[] = {"waiting", "starting", "ready", "restarting", "failed", "stopping", "stopped", "off"};
  return kNames[static_cast<int>(state)];
}

RestartPolicy::Decision RestartPolicy::ended(bool ok, std::optional<std::chrono::milliseconds> ready_for) {
  if (restart_ == "never") return {ok ? Action::kDone : Action::kGiveUp};
  if (restart_ == "on-failure" && ok) return {Action::kDone};
  if (ready_for) {
    ever_ready_ = true;
    if (*ready_for >= kResetAfter) pause_ = kFirstPause;
  } else if (!ever_ready_ && ++failed_starts_ >= kMaxFailedStarts) {
    return {Action::kGiveUp};
  }
  const auto pause = pause_;
  pause_ = std::min(pause_ * 2, kLongestPause);
  return {Action::kRestart, pause};
}

SupervisedService::SupervisedService(const PlannedService& planned, ServiceContext context)
    : planned_(planned),
      context_(std::move(context)),
      log_(context_.paths.logs() / (planned.name + ".log")),
      policy_(planned.spec.restart),
      state_(planned.here ? ServiceState::kWaiting : ServiceState::kOff),
      since_(now_in_seconds()) {}

SupervisedService::~SupervisedService() { context_.loop.cancel(timer_); }

void SupervisedService::set_state(ServiceState state, std::string text) {
  state_ = state;
  text_ = std::move(text);
  since_ = now_in_seconds();
  context_.on_change();
}

void SupervisedService::finish_activity(bool ok, const std::string& text) {
  if (!activity_open_) return;
  activity_open_ = false;
  context_.events.end(activity_, "service " + planned_.name, ok, text);
}

SpawnRequest SupervisedService::spawn_request() const {
  SpawnRequest request;
  request.user = require_user(context_.paths, planned_.spec.user);
  request.env = login_environment(request.user);
  for (const auto& [name, value] : context_.env) request.env[name] = value;
  for (const auto& [name, value] : planned_.spec.env) request.env[name] = value;
  request.directory = planned_.spec.directory;
  if (gate_) request.env["KILN_GATE"] = (context_.paths.gates() / planned_.name).native();
  return request;
}

void SupervisedService::make_gate() {
  if (planned_.spec.gate.empty()) return;
  // A new one for each start: a byte that the last process did not take must not let the next one through.
  const auto path = context_.paths.gates() / planned_.name;
  ::unlink(path.c_str());
  if (::mkfifo(path.c_str(), 0600) < 0) kiln::fail("cannot make the gate '{}': {}", path.native(), errno_text(errno));
  const User user = require_user(context_.paths, planned_.spec.user);
  if (::geteuid() == 0 && ::chown(path.c_str(), user.uid, user.gid) < 0 && user.uid != 0)
    kiln::fail("cannot give the gate '{}' to '{}': {}", path.native(), user.name, errno_text(errno));
  // Read and write: opening can't block for a reader, nor does the byte get lost before one comes.
  gate_ = Fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!gate_) kiln::fail("cannot open the gate '{}': {}", path.native(), errno_text(errno));
  if (gate_open_) {
    gate_open_ = false;
    open_gate();
  }
}

void SupervisedService::open_gate() {
  if (gate_open_) return;
  gate_open_ = true;
  // A line break, so that a shell's `read` is content with the one byte.
  if (gate_ && ::write(gate_.get(), "\n", 1) != 1) context_.events.message("service " + planned_.name, "cannot open its gate", false);
}

void SupervisedService::start() {
  if (state_ != ServiceState::kWaiting) return;
  launch();
}

void SupervisedService::launch() {
  log_.forget_tail();
  if (activity_ == 0) {
    activity_ = context_.events.begin("service " + planned_.name);
    activity_open_ = true;
  }
  try {
    make_gate();
    SpawnRequest request = spawn_request();
    auto command = request;
    Pipe output = make_pipe();
    request.argv = {"/bin/sh", "-c", "exec " + planned_.spec.exec};
    request.standard_output = request.standard_error = output.write.get();
    pid_ = spawn(request);
    const std::weak_ptr<int> alive = alive_;
    pump_pipe(context_.loop, std::move(output.read), [this, alive, pid = pid_](std::string_view bytes) {
      if (alive.expired() || bytes.empty()) return;
      log_.write(bytes);
      if (context_.on_output) context_.on_output(planned_.name, bytes);
      // What an earlier process's children still say must not make this one ready.
      if (probe_ && pid == pid_) probe_->on_output(bytes);
    });
    context_.loop.on_exit(pid_, true, [this, alive](int status) {
      if (!alive.expired()) ended(status);
    });
    ready_at_.reset();
    if (planned_.spec.ready.kind == config::Ready::Kind::kStarted) {
      became_ready();
      return;
    }
    set_state(ServiceState::kStarting);
    timer_ = context_.loop.after(std::chrono::seconds(planned_.spec.ready.timeout_seconds), [this] { timed_out(); });
    probe_ = make_probe(planned_.spec.ready, ProbeContext{context_.loop, context_.resolve, context_.own_address, std::move(command)},
                        [this] { became_ready(); });
  } catch (const std::exception& error) {
    if (pid_ > 0) {
      failing_ = true;
      text_ = error.what();
      ::kill(-pid_, SIGKILL);
    } else {
      fail(error.what());
    }
  }
}

void SupervisedService::became_ready() {
  context_.loop.cancel(timer_);
  timer_ = 0;
  probe_.reset();
  ready_at_ = Clock::now();
  if (activity_open_) {
    finish_activity(true);
  } else {
    context_.events.message("service " + planned_.name, "ready again");
  }
  set_state(ServiceState::kReady);
}

void SupervisedService::timed_out() {
  timer_ = 0;
  failing_ = true;
  text_ = fmt::format("not ready after {} s", planned_.spec.ready.timeout_seconds);
  probe_.reset();
  ::kill(-pid_, SIGKILL);
}

void SupervisedService::fail(const std::string& why) {
  if (state_ == ServiceState::kOff || state_ == ServiceState::kFailed) return;
  const std::string tail = log_.tail();
  const std::string text = tail.empty() ? why : why + "\n" + tail;
  if (activity_ == 0) {
    activity_ = context_.events.begin("service " + planned_.name);
    activity_open_ = true;
  }
  if (activity_open_) {
    finish_activity(false, text);
  } else {
    context_.events.message("service " + planned_.name, text, false);
  }
  set_state(ServiceState::kFailed, why);
}

void SupervisedService::ended(int status) {
  context_.loop.cancel(timer_);
  timer_ = 0;
  pid_ = 0;
  probe_.reset();
  gate_.reset();
  const std::string how = describe_status(status);
  if (stopping_) {
    finish_activity(false, "stopped before it was ready");
    context_.events.message("service " + planned_.name, "stopped");
    set_state(ServiceState::kStopped, how);
    return;
  }
  std::optional<std::chrono::milliseconds> ready_for;
  if (ready_at_) {
    ready_for = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *ready_at_);
    if (planned_.spec.ready.kind == config::Ready::Kind::kStarted && *ready_for < kProof) ready_for.reset();
  }
  const bool was_ready = ready_at_.has_value();
  const bool ok = exit_code_of(status) == 0;
  const std::string reason = failing_ ? text_ : how;
  const bool hopeless = std::exchange(failing_, false);
  ready_at_.reset();
  set_state(ServiceState::kRestarting, reason);
  // Its last words may still be in the pipe, which is read in the loop's next rounds: decide after these.
  timer_ = context_.loop.after(std::chrono::milliseconds(10), [this, ready_for, was_ready, ok, reason, hopeless, status] {
    timer_ = 0;
    if (stopping_) return;
    const auto decision = hopeless ? RestartPolicy::Decision{RestartPolicy::Action::kGiveUp} : policy_.ended(ok, ready_for);
    switch (decision.action) {
      case RestartPolicy::Action::kDone:
        done_ = true;
        finish_activity(true, "ended");
        if (was_ready) context_.events.message("service " + planned_.name, "ended");
        set_state(ServiceState::kStopped, reason);
        return;
      case RestartPolicy::Action::kGiveUp:
        fail(reason);
        return;
      case RestartPolicy::Action::kRestart:
        break;
    }
    ++restarts_;
    const double seconds = std::chrono::duration<double>(decision.pause).count();
    const std::string tail = log_.tail(5);
    context_.events.message("service " + planned_.name,
                            fmt::format("{}; starting it again in {:.1f} s{}{}", reason, seconds, tail.empty() ? "" : "\n", tail), false,
                            {{"exit_code", exit_code_of(status)}, {"restarts", restarts_}});
    timer_ = context_.loop.after(decision.pause, [this] {
      timer_ = 0;
      launch();
    });
  });
}

void SupervisedService::stop(std::optional<std::chrono::milliseconds> at_most) {
  if (stopping_) return;
  stopping_ = true;
  context_.loop.cancel(timer_);
  timer_ = 0;
  probe_.reset();
  if (pid_ == 0) {
    finish_activity(false, "stopped before it was ready");
    if (state_ != ServiceState::kFailed && state_ != ServiceState::kOff) set_state(ServiceState::kStopped, text_);
    return;
  }
  std::chrono::milliseconds timeout = std::chrono::seconds(planned_.spec.stop_timeout_seconds);
  if (at_most && *at_most < timeout) timeout = *at_most;
  const int number = signal_number(planned_.spec.stop_signal);
  ::kill(-pid_, number > 0 ? number : SIGTERM);
  timer_ = context_.loop.after(timeout, [this] {
    timer_ = 0;
    context_.events.message("service " + planned_.name, "does not stop: killed", false);
    if (pid_ > 0) ::kill(-pid_, SIGKILL);
  });
  set_state(ServiceState::kStopping);
}

Json SupervisedService::status() const {
  return {{"name", planned_.name}, {"state", state_name(state_)}, {"pid", pid_}, {"restarts", restarts_}, {"since", since_},
          {"text", text_}};
}

}  // namespace kiln::node
