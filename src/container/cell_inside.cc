// A cell from within: from `kiln __cell` to the job's end. See cell.cc for who ends whom.
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "container/cell.h"
#include "container/cell_protocol.h"
#include "container/foreign.h"
#include "container/line_socket.h"
#include "container/userns.h"

namespace kiln::container {

namespace {

std::map<std::string, CellJob>& jobs() {
  static std::map<std::string, CellJob> all;
  return all;
}

// Forwards what the job publishes to the owner.
class OwnerSink : public EventSink {
 public:
  explicit OwnerSink(LineSocket& socket) : socket_(socket) {}
  void on_event(const Event& event) override { socket_.send({{"event", event.to_json()}}); }

 private:
  LineSocket& socket_;
};

// This process's connection to its owner.
struct Inside {
  LineSocket socket;
  std::shared_ptr<OwnerSink> sink;
};
Inside* inside = nullptr;

void mount_or_fail(const char* source, const char* target, const char* type, unsigned long flags, const char* data) {
  if (::mount(source, target, type, flags, data) != 0)
    fail("cannot mount {} at '{}' in a cell: {}", type != nullptr ? type : source, target, errno_text(errno));
}

void bring_loopback_up() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) fail("cannot bring a cell's loopback up: {}", errno_text(errno));
}

// A /run of the cell's own, for runc's and ip's state. What /etc/resolv.conf may point to on the host stays visible.
void make_private_run() {
  const char* kept[] = {"/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"};
  std::vector<std::pair<const char*, Fd>> clones;
  for (const char* path : kept) {
    Fd tree(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, path, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | 0x8000 /* AT_RECURSIVE */)));
    if (tree) clones.emplace_back(path, std::move(tree));
  }
  mount_or_fail("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
  for (const auto& [path, tree] : clones) {
    make_folder(path);
    ::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, path, 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
  }
}

void set_up_mounts() {
  mount_or_fail("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  mount_or_fail("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  make_private_run();
}

// The job's process: PID 1 of its namespace.
[[noreturn]] void run_job(const Json& order, LineSocket socket) {
  static Inside self;
  self.socket = std::move(socket);
  self.sink = std::make_shared<OwnerSink>(self.socket);
  inside = &self;
  try {
    set_up_mounts();
    if (order.at("network").get<bool>()) bring_loopback_up();
    if (const std::string architecture = order.value("architecture", ""); is_foreign(architecture)) run_foreign_programs(architecture);
    const auto found = jobs().find(order.at("job").get<std::string>());
    if (found == jobs().end()) fail("there is no cell job '{}' in this program", order.at("job").get<std::string>());
    add_sink(self.sink);
    Json answer = found->second(order.at("arguments"));
    remove_sink(self.sink);
    if (self.socket) self.socket.send({{"done", std::move(answer)}});
  } catch (const std::exception& error) {
    remove_sink(self.sink);
    if (self.socket) {
      self.socket.send({{"error", error_to_json(error)}});
    } else {
      std::fprintf(stderr, "kiln: %s\n", error.what());  // a cell that lives on: this is its log
    }
    std::fflush(nullptr);
    ::_exit(1);
  }
  std::fflush(nullptr);
  ::_exit(0);
}

// Until the job's process ends; kills it when the owner hangs up. waitpid() returns only after the whole PID namespace is gone.
[[noreturn]] void watch(pid_t child, const LineSocket& socket) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd polled[] = {{socket.fd(), POLLRDHUP, 0}, {process.get(), POLLIN, 0}};
  while (::poll(polled, 2, -1) < 0 && errno == EINTR) {
  }
  if (polled[1].revents == 0) ::kill(child, SIGKILL);
  ::_exit(exit_code_of(wait_for_child(child)));
}

[[noreturn]] void be_cell(LineSocket socket) {
  try {
    const auto order = socket.receive();
    if (!order) ::_exit(1);
    const bool dies = order->at("die").get<bool>();
    // What cells make are roots of machines: with a careful user's 077 nobody but root could enter them.
    ::umask(022);
    if (!dies && ::chdir("/") != 0) fail("cannot go to '/': {}", errno_text(errno));
    const bool foreign = is_foreign(order->value("architecture", ""));
    if (::geteuid() != 0)
      enter_user_namespace();
    else if (foreign && !is_rootless())
      enter_own_user_namespace();
    int flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    if (order->at("network").get<bool>()) flags |= CLONE_NEWNET;
    if (::unshare(flags) != 0) {
      Error error(fmt::format("cannot make a cell's namespaces: {}", errno_text(errno)));
      error.set_hint("`kiln doctor` says what forbids it and how to allow it");
      throw error;
    }
    int alive[2];
    if (::pipe2(alive, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
    const pid_t child = ::fork();
    if (child < 0) fail("cannot start a cell's process: {}", errno_text(errno));
    if (child == 0) {
      ::close(alive[1]);
      if (dies) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      // The first process may have died before the line above: then its end of the pipe is closed.
      char go = 0;
      pollfd parent{alive[0], 0, 0};
      if (::read(alive[0], &go, 1) != 1 || (dies && ::poll(&parent, 1, 0) != 0)) ::_exit(1);
      ::close(alive[0]);
      run_job(*order, std::move(socket));
    }
    // This process knows the number that the owner sees. The job waits until that line is out: its own go over the same socket.
    socket.send({{"pid", child}});
    if (::write(alive[1], "g", 1) != 1) fail("cannot start a cell's process: {}", errno_text(errno));
    if (!dies) ::_exit(0);
    watch(child, socket);
  } catch (const std::exception& error) {
    socket.send({{"error", error_to_json(error)}});
    ::_exit(1);
  }
}

}  // namespace

RegisterCellJob::RegisterCellJob(std::string name, CellJob job) {
  if (!jobs().emplace(name, std::move(job)).second) fail("two cell jobs are called '{}'", name);
}

void cell_ready(const Json& answer) {
  if (inside == nullptr || !inside->socket) fail("cell_ready() outside a cell, or called twice");
  remove_sink(inside->sink);  // nobody reads from here on
  inside->socket.send({{"ready", answer}});
  inside->socket.close();
}

void maybe_run_as_cell(int argc, char** argv) {
  if (argc < 3 || std::string_view(argv[1]) != kCellCommand) return;
  int fd = -1;
  const std::string_view text = argv[2];
  std::from_chars(text.data(), text.data() + text.size(), fd);
  struct stat status {};
  if (fd < 3 || ::fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) {
    std::fprintf(stderr, "kiln: '%s' is started by kiln itself\n", kCellCommand);
    ::_exit(2);
  }
  // A cell that lives on must not hold what its owner happened to inherit: somebody may wait for the other end.
  ::close_range(static_cast<unsigned>(fd) + 1, ~0U, 0);
  // What was passed is for the job, not for the programs that it starts.
  for (int passed = 3; passed <= fd; ++passed) ::fcntl(passed, F_SETFD, FD_CLOEXEC);
  be_cell(LineSocket(Fd(fd)));
}

namespace {
const RegisterCellJob remove_tree_job{"remove-tree", [](const Json& arguments) {
                                        remove_tree(arguments.at("path").get<std::string>());
                                        return Json::object();
                                      }};
}

void remove_tree_in_cell(const std::filesystem::path& path) {
  if (is_rootless() && ::geteuid() != 0) {
    run_in_cell("remove-tree", {{"path", path.native()}});
  } else {
    remove_tree(path);
  }
}

}  // namespace kiln::container
