#include "base/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include "base/error.h"

namespace kiln {

namespace {

volatile std::sig_atomic_t window_changed = 0;
extern "C" void on_window_change(int) { window_changed = 1; }

}  // namespace

bool has_terminal() { return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0; }

TerminalSize terminal_size() {
  winsize size{};
  // Some terminals (a serial line) do not know.
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {};
  return {size.ws_row, size.ws_col};
}

RawTerminal::RawTerminal(bool wanted) : active_(wanted && ::tcgetattr(STDIN_FILENO, &before_) == 0) {
  if (!active_) return;
  termios raw = before_;
  ::cfmakeraw(&raw);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  struct sigaction action = {};
  action.sa_handler = on_window_change;
  ::sigaction(SIGWINCH, &action, &old_action_);
}

RawTerminal::~RawTerminal() {
  if (!active_) return;
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  ::sigaction(SIGWINCH, &old_action_, nullptr);
}

bool RawTerminal::size_changed() {
  if (!active_ || window_changed == 0) return false;
  window_changed = 0;
  return true;
}

PseudoTerminal::PseudoTerminal() : ours_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
  if (!ours_ || ::grantpt(ours_.get()) != 0 || ::unlockpt(ours_.get()) != 0) fail("cannot make a terminal: {}", errno_text(errno));
  char name[64];
  if (::ptsname_r(ours_.get(), name, sizeof name) != 0) fail("cannot make a terminal: {}", errno_text(errno));
  theirs_ = Fd(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!theirs_) fail("cannot open the terminal '{}': {}", name, errno_text(errno));
}

void PseudoTerminal::relay_while(const std::function<void()>& work) {
  const auto set_size = [this] {
    const TerminalSize size = terminal_size();
    const winsize window{size.rows, size.columns, 0, 0};
    ::ioctl(ours_.get(), TIOCSWINSZ, &window);
  };
  RawTerminal raw(true);
  set_size();
  const Fd ended(::eventfd(0, EFD_CLOEXEC));
  std::jthread relay([&] {
    char buffer[4096];
    const auto copy = [&](int from, int to) {
      const ssize_t count = ::read(from, buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) return true;
      for (ssize_t done = 0; done < count;) {
        const ssize_t written = ::write(to, buffer + done, static_cast<std::size_t>(count - done));
        if (written < 0 && errno != EINTR) return false;
        if (written > 0) done += written;
      }
      return count > 0;
    };
    bool typing = true;
    for (;;) {
      if (raw.size_changed()) set_size();
      pollfd polled[] = {{ours_.get(), POLLIN, 0}, {typing ? STDIN_FILENO : -1, POLLIN, 0}, {ended.get(), POLLIN, 0}};
      if (::poll(polled, 3, -1) < 0) continue;  // a signal
      if (polled[1].revents != 0) typing = copy(STDIN_FILENO, ours_.get());
      if (polled[0].revents != 0 && !copy(ours_.get(), STDOUT_FILENO)) return;
      // The last words were read above.
      if (polled[0].revents == 0 && polled[2].revents != 0) return;
    }
  });
  const auto end = [&] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(ended.get(), &one, sizeof one);
  };
  try {
    work();
  } catch (...) {
    end();
    throw;
  }
  end();
}

}  // namespace kiln
