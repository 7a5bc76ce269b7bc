#include "base/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>

#include "base/error.h"

namespace kiln {

namespace {

std::atomic<bool> flag{false};
// Made at first use and not before main: a cell closes every descriptor it did not ask for when it begins, and a number that then means
// another file makes every poll return at once. catch_interrupts() makes it, so that the signal handler only ever writes to it.
int event() {
  static const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd;
}

void raise_flag() {
  flag = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(event(), &one, sizeof one);
}

extern "C" void on_signal(int number) {
  raise_flag();
  std::signal(number, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
  event();
  struct sigaction action = {};
  action.sa_handler = on_signal;  // no SA_RESTART: blocking calls return and their loops look at the flag
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return flag; }

void throw_if_interrupted() {
  if (flag) throw Interrupted();
}

int interrupt_fd() { return event(); }

void set_interrupted(bool value) {
  if (value) {
    raise_flag();
    return;
  }
  flag = false;
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(event(), &count, sizeof count);
}

}  // namespace kiln
