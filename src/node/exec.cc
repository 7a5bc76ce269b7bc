#include "node/exec.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/process.h"
#include "node/log_file.h"

namespace kiln::node {

namespace {

class ExecSession : public std::enable_shared_from_this<ExecSession> {
 public:
  ExecSession(Loop& loop, std::shared_ptr<Connection> connection, bool terminal)
      : loop_(loop), connection_(std::move(connection)), terminal_(terminal) {}

  void start(ExecRequest request) {
    Fd child_in, child_out, child_err;
    if (terminal_) {
      Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
      if (!master || ::unlockpt(master.get()) < 0) fail("cannot make a terminal: {}", errno_text(errno));
      // By descriptor, not by name: /dev/pts may be another one's here.
      child_in = Fd(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
      if (!child_in) fail("cannot open the terminal: {}", errno_text(errno));
      if (::geteuid() == 0 && ::fchown(child_in.get(), request.spawn.user.uid, static_cast<gid_t>(-1)) < 0) {
        // Programs that open it anew by name go without.
      }
      ::fcntl(master.get(), F_SETFL, O_NONBLOCK);
      resize(master.get(), request.rows, request.columns);
      in_ = Fd(::fcntl(master.get(), F_DUPFD_CLOEXEC, 0));
      outputs_.push_back({std::move(master), 'O', false});
      request.spawn.standard_input = request.spawn.standard_output = request.spawn.standard_error = child_in.get();
    } else {
      Pipe out = make_pipe(), err = make_pipe();
      int fds[2];
      if (::pipe2(fds, O_CLOEXEC) < 0) fail("cannot make a pipe: {}", errno_text(errno));
      child_in = Fd(fds[0]);
      in_ = Fd(fds[1]);
      ::fcntl(in_.get(), F_SETFL, O_NONBLOCK);
      child_out = std::move(out.write);
      child_err = std::move(err.write);
      outputs_.push_back({std::move(out.read), 'O', false});
      outputs_.push_back({std::move(err.read), 'E', false});
      request.spawn.standard_input = child_in.get();
      request.spawn.standard_output = child_out.get();
      request.spawn.standard_error = child_err.get();
    }
    request.spawn.terminal = terminal_;
    pid_ = spawn(request.spawn);
    const auto self = shared_from_this();
    loop_.on_exit(pid_, false, [self](int status) { self->ended(status); });
    connection_->set_handlers({nullptr, [self](const Frame& frame) { self->take(frame); }, [self](const std::string&) { self->hang_up(); },
                               [self] { self->resume(); }});
    resume();
  }

 private:
  struct Output {
    Fd fd;
    char type;
    bool watched;
  };

  static void resize(int terminal, int rows, int columns) {
    winsize size{};
    size.ws_row = static_cast<unsigned short>(std::clamp(rows, 1, 1000));
    size.ws_col = static_cast<unsigned short>(std::clamp(columns, 1, 1000));
    ::ioctl(terminal, TIOCSWINSZ, &size);
  }

  // Watches what may be read. A pipe nobody may read now is not watched at all: its end would be announced without end.
  void resume() {
    for (auto& output : outputs_) {
      if (!output.fd || output.watched || connection_->is_full()) continue;
      output.watched = true;
      loop_.watch(output.fd.get(), EPOLLIN, [self = shared_from_this(), &output](std::uint32_t) { self->read(output); });
    }
    if (exit_code_) drain();
  }

  void pause(Output& output) {
    if (output.watched) loop_.unwatch(output.fd.get());
    output.watched = false;
  }

  // One piece. False when there is nothing (more) for now.
  bool read(Output& output) {
    if (!output.fd) return false;
    char bytes[32 << 10];
    const ssize_t count = ::read(output.fd.get(), bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) return true;
    if (count < 0 && errno == EAGAIN) return false;
    if (count <= 0) {  // EIO: a terminal that nobody has open any more
      pause(output);
      output.fd.reset();
      return false;
    }
    connection_->send(output.type, {bytes, static_cast<std::size_t>(count)});
    if (connection_->is_full())
      for (auto& each : outputs_) pause(each);
    return true;
  }

  // The command has ended: what it wrote is in the pipes by now. Others that hold them (it left something in the background) are not waited
  // for.
  void drain() {
    for (auto& output : outputs_) {
      while (read(output))
        if (connection_->is_full()) return;
    }
    for (auto& output : outputs_) {
      pause(output);
      output.fd.reset();
    }
    close_input();
    if (finished_ || connection_->is_closed()) return;
    finished_ = true;
    connection_->send(Json{{"exit", *exit_code_}});
    connection_->close_after_sending();
  }

  void ended(int status) {
    exit_code_ = exit_code_of(status);
    pid_ = 0;
    loop_.cancel(kill_timer_);
    if (connection_->is_closed()) return;
    drain();
  }

  void take(const Frame& frame) {
    if (frame.type == 'I') {
      if (!in_) return;
      input_ += frame.payload;
      write_input();
    } else if (frame.type == 'C') {
      if (terminal_) {
        input_ += '\x04';
      } else {
        end_of_input_ = true;
      }
      write_input();
    } else if (frame.type == 'J') {
      const Json message = frame.json();
      if (const auto found = message.find("resize"); found != message.end() && found->is_object() && terminal_ && outputs_[0].fd)
        resize(outputs_[0].fd.get(), found->value("rows", 24), found->value("columns", 80));
      if (const auto found = message.find("signal"); found != message.end() && found->is_string() && pid_ > 0) {
        const int number = signal_number(found->get<std::string>());
        if (number > 0) ::kill(-pid_, number);
      }
    }
  }

  void write_input() {
    while (in_ && !input_.empty()) {
      const ssize_t count = ::write(in_.get(), input_.data(), input_.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) break;
      if (count < 0) {  // it does not read any more
        close_input();
        return;
      }
      input_.erase(0, static_cast<std::size_t>(count));
    }
    if (!in_) return;
    if (input_.empty()) {
      if (in_watched_) loop_.unwatch(in_.get());
      in_watched_ = false;
      connection_->pause_reading(false);
      if (end_of_input_) close_input();
      return;
    }
    connection_->pause_reading(input_.size() > (256u << 10));
    if (in_watched_) return;
    in_watched_ = true;
    loop_.watch(in_.get(), EPOLLOUT, [self = shared_from_this()](std::uint32_t) { self->write_input(); });
  }

  void close_input() {
    if (in_watched_) loop_.unwatch(in_.get());
    in_watched_ = false;
    in_.reset();
    input_.clear();
    connection_->pause_reading(false);
  }

  void hang_up() {
    for (auto& output : outputs_) {
      pause(output);
      output.fd.reset();
    }
    close_input();
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGHUP);
    kill_timer_ = loop_.after(std::chrono::milliseconds(2000), [self = shared_from_this()] {
      if (self->pid_ > 0) ::kill(-self->pid_, SIGKILL);
    });
  }

  Loop& loop_;
  std::shared_ptr<Connection> connection_;
  bool terminal_;
  std::vector<Output> outputs_;
  Fd in_;
  std::string input_;
  bool in_watched_ = false, end_of_input_ = false, finished_ = false;
  pid_t pid_ = 0;
  std::optional<int> exit_code_;
  Loop::TimerId kill_timer_ = 0;
};

}  // namespace

void serve_exec(Loop& loop, std::shared_ptr<Connection> connection, ExecRequest request) {
  std::make_shared<ExecSession>(loop, connection, request.terminal)->start(std::move(request));
}

}  // namespace kiln::node
