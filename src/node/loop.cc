#include "node/loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>

#include "base/error.h"

namespace kiln::node {

namespace {

// A handler's exception is a bug or a lack of memory or descriptors; the node's services shall outlive it.
template <class Body>
void guarded(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    fmt::print(stderr, "kiln-node: {}\n", error.what());
  }
}

std::uint64_t key(int fd, std::uint32_t generation) {
  return (static_cast<std::uint64_t>(generation) << 32) | static_cast<std::uint32_t>(fd);
}

}  // namespace

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) fail("cannot make an epoll: {}", errno_text(errno));
  sigset_t mask;
  sigemptyset(&mask);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&mask, number);
  ::sigprocmask(SIG_BLOCK, &mask, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = Fd(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) fail("cannot make a signalfd: {}", errno_text(errno));
  watch(signals_.get(), EPOLLIN, [this](std::uint32_t) { read_signals(); });
}

Loop::~Loop() {
  // Handlers own connections and the like, which unwatch and cancel as they go: they must find tables that are whole.
  while (!watches_.empty() || !timers_.empty() || !deferred_.empty() || !children_.empty()) {
    const auto watches = std::exchange(watches_, {});
    const auto timers = std::exchange(timers_, {});
    const auto deferred = std::exchange(deferred_, {});
    const auto children = std::exchange(children_, {});
  }
}

void reset_signals_in_child() {
  for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGQUIT}) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void Loop::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> handler) {
  unwatch(fd);
  auto entry = std::make_shared<Watch>(Watch{++generation_, std::move(handler)});
  epoll_event event{};
  event.events = events;
  event.data.u64 = key(fd, entry->generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) fail("cannot watch a descriptor: {}", errno_text(errno));
  watches_[fd] = std::move(entry);
}

void Loop::set_events(int fd, std::uint32_t events) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = key(fd, found->second->generation);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::unwatch(int fd) {
  if (watches_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Loop::TimerId Loop::after(std::chrono::milliseconds delay, Callback callback) {
  timers_.emplace(Clock::now() + delay, std::pair{++last_timer_, std::move(callback)});
  return last_timer_;
}

void Loop::cancel(TimerId id) {
  if (id == 0) return;
  for (auto it = timers_.begin(); it != timers_.end(); ++it) {
    if (it->second.first != id) continue;
    timers_.erase(it);
    return;
  }
}

void Loop::defer(Callback callback) { deferred_.push_back(std::move(callback)); }

void Loop::on_exit(pid_t pid, bool kill_group, std::function<void(int)> handler) { children_[pid] = Child{kill_group, std::move(handler)}; }

void Loop::read_signals() {
  signalfd_siginfo info;
  bool stop = false, child = false;
  int number = 0;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) {
      child = true;
    } else {
      stop = true;
      number = static_cast<int>(info.ssi_signo);
    }
  }
  if (child) reap();
  if (stop && on_stop_signal_) on_stop_signal_(number);
}

void Loop::reap() {
  for (;;) {
    // Look before reaping: as long as the leader is a zombie its process group's number can't be given to anybody else,
    // so that killing the rest of the group hits nobody but them.
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) return;
    const auto found = children_.find(info.si_pid);
    if (found != children_.end() && found->second.kill_group) ::kill(-info.si_pid, SIGKILL);
    int status = 0;
    if (::waitpid(info.si_pid, &status, WNOHANG) != info.si_pid) return;
    if (found == children_.end()) continue;
    const auto handler = std::move(found->second.handler);
    children_.erase(found);
    guarded([&] { handler(status); });
  }
}

void Loop::run_deferred() {
  while (!deferred_.empty()) {
    const auto callbacks = std::move(deferred_);
    deferred_.clear();
    for (const auto& callback : callbacks) guarded(callback);
  }
}

void Loop::run_once(std::chrono::milliseconds at_most) {
  run_deferred();
  auto wait = at_most;
  if (!timers_.empty()) {
    // Rounded up: waking a fraction too early would spin through zero-length waits until the timer is due.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
    if (wait.count() < 0 || left < wait) wait = std::max(left, std::chrono::milliseconds(0));
  }
  epoll_event events[64];
  const int count = ::epoll_wait(epoll_.get(), events, 64, static_cast<int>(std::min<std::int64_t>(wait.count(), 1 << 30)));
  for (int i = 0; i < count; ++i) {
    const auto found = watches_.find(static_cast<int>(events[i].data.u64 & 0xffffffff));
    // An earlier handler of this round may have closed it, and the number may be another's by now.
    if (found == watches_.end() || found->second->generation != events[i].data.u64 >> 32) continue;
    const auto entry = found->second;
    guarded([&] { entry->handler(events[i].events); });
  }
  const auto now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto callback = std::move(timers_.begin()->second.second);
    timers_.erase(timers_.begin());
    guarded(callback);
  }
  run_deferred();
}

int Loop::run() {
  while (!quit_) run_once(std::chrono::milliseconds(-1));
  return exit_code_;
}

void Loop::quit(int code) {
  quit_ = true;
  exit_code_ = code;
}

}  // namespace kiln::node
