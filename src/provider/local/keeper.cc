// One thread waits for everything that can happen: requests (control.h), the end of a node, the end of the launcher before it has
// committed, the end of the lease, a folder that somebody removed by hand. What takes time (adding and removing nodes, stopping) is done by
// a thread of its own for each request, one at a time. Connections from the host are carried by relay.cc's thread.
#include "provider/local/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "container/cell.h"
#include "container/cell_protocol.h"
#include "provider/local/control.h"
#include "provider/local/machine.h"
#include "provider/local/network.h"
#include "provider/local/relay.h"
#include "provider/local/way_out.h"

namespace kiln::provider::local {

namespace {

// The agent gives services ten seconds to stop by default, then kills them; it needs a little longer itself.
constexpr std::chrono::seconds kStopTime{15};
// Who connects says at once what it wants; a client that hangs must not hold the keeper for long.
constexpr std::chrono::seconds kRequestTime{2};
constexpr int kLifelineFd = 3, kLockFd = 4;  // CellOptions::pass_fds

const char* const kJobName = "local-cluster";

struct Machine {
  Node node;
  pid_t pid = 0;
  Fd process;  // pidfd: readable when it has ended
};

Fd open_process(pid_t pid) {
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) fail("cannot watch process {}: {}", pid, errno_text(errno));
  return process;
}

void send_signal(const Fd& process, int signal) { ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0); }

// True when all have ended by then.
bool wait_for_end(const std::vector<const Fd*>& processes, std::chrono::steady_clock::time_point deadline) {
  for (const Fd* process : processes) {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
      pollfd polled{process->get(), POLLIN, 0};
      const int ready = ::poll(&polled, 1, static_cast<int>(std::max<std::int64_t>(0, left)));
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) return false;
      break;
    }
  }
  return true;
}

// Asks them to end, and makes them after kStopTime.
void end_processes(const std::vector<const Fd*>& processes) {
  for (const Fd* process : processes) send_signal(*process, SIGTERM);
  if (wait_for_end(processes, std::chrono::steady_clock::now() + kStopTime)) return;
  for (const Fd* process : processes) send_signal(*process, SIGKILL);
  wait_for_end(processes, std::chrono::steady_clock::now() + kStopTime);
}

class Keeper {
 public:
  explicit Keeper(const Json& order)
      : folder_(order.at("folder").get<std::string>()), fresh_(order.at("fresh").get<bool>()), documents_(order.at("documents")) {
    auto record = load_record(folder_);
    if (!record) fail("the cluster's folder '{}' has no record", folder_.native());
    record_ = std::move(*record);
  }

  void boot();
  [[noreturn]] void serve();
  // Ends all that runs here; the files too if `all`.
  void clear(bool all) noexcept;

 private:
  using Clients = container::LineSocket;

  MachineRoom room() const { return {folder_, record_.layer_folders, record_.subnet, record_.cgroup, has_way_out_}; }
  std::vector<Machine> start(const std::vector<Node>& nodes, const Json& documents);
  void arm_lease();
  bool folder_is_there() const;
  void reap();
  bool is_over();
  [[noreturn]] void end(bool all);
  void take_request();
  Json answer(const Json& request, Clients& client, int& pass);
  void add(const Json& request);
  void remove(const Json& request);
  void stop();
  void in_background(Clients client, std::function<void()> work);

  std::filesystem::path folder_;
  bool fresh_;
  Json documents_;
  Fd lifeline_{kLifelineFd}, lock_file_{kLockFd}, listener_, lease_, wake_, watch_;
  bool has_way_out_ = false;
  WayOut way_out_;
  Relays relays_;

  std::mutex work_lock_;  // one request that takes time at a time
  std::mutex lock_;       // over what follows
  Record record_;
  std::vector<Machine> machines_;
  std::map<std::pair<std::string, int>, std::string> forwards_;
  bool committed_ = false, stopped_ = false, over_ = false;
  int working_ = 0;
};

// Daemons with many connections need more than a login shell's 1,024 descriptors, and so does the keeper of many nodes. Not "all": there
// are programs that close every possible one when they start.
void raise_descriptor_limit() {
  constexpr rlim_t kPlenty = 65536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kPlenty) return;
  limit.rlim_cur = std::min(limit.rlim_max, kPlenty);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void Keeper::boot() {
  raise_descriptor_limit();
  has_way_out_ = host_has_way_out();
  if (has_way_out_) way_out_.prepare();
  if (::unshare(CLONE_NEWNET) != 0) fail("cannot make a network namespace: {}", errno_text(errno));
  wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  listener_ = listen_for_control(folder_);
  arm_lease();
  watch_ = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ::inotify_add_watch(watch_.get(), folder_.c_str(), IN_DELETE | IN_MOVE_SELF);
  make_bridge(record_.subnet + ".0.1");
  make_folder("/run/netns");
  machines_ = start(record_.cluster.nodes, documents_);
  documents_ = nullptr;
  way_out_.open();
}

std::vector<Machine> Keeper::start(const std::vector<Node>& nodes, const Json& documents) {
  std::vector<Machine> started(nodes.size());
  const MachineRoom shared = room();
  // runc computes for 15 of its 25 ms: a few more at a time than processors hide the rest. In order, so masters come first.
  parallel_for(nodes.size(), processor_count() + 1, [&](std::size_t i) {
    const pid_t pid = start_machine(shared, nodes[i], documents.at(nodes[i].name));
    started[i] = {nodes[i], pid, open_process(pid)};
  });
  return started;
}

void Keeper::arm_lease() {
  if (!record_.cluster.lease_until) return;
  // By the wall clock, also when that is set or the machine slept.
  lease_ = Fd(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  itimerspec when{};
  when.it_value.tv_sec = std::max<std::int64_t>(1, *record_.cluster.lease_until);
  if (!lease_ || ::timerfd_settime(lease_.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0)
    fail("cannot set the lease's timer: {}", errno_text(errno));
}

// False when somebody has removed or moved the folder by hand: then nobody can find this keeper any more.
bool Keeper::folder_is_there() const {
  struct stat named {
  }, ours{};
  return ::stat((folder_ / "lock").c_str(), &named) == 0 && ::fstat(lock_file_.get(), &ours) == 0 && named.st_ino == ours.st_ino &&
         named.st_dev == ours.st_dev;
}

void Keeper::clear(bool all) noexcept {
  try {
    ::kill(-1, SIGKILL);  // everyone in this PID namespace but us
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
    }
    for (const auto& node : list_folder("/run/kiln/nodes")) ::umount2((node / "root").c_str(), MNT_DETACH);
    if (!record_.cgroup.empty()) remove_cgroups(record_.cgroup);
    if (all) {
      remove_tree(put_aside(folder_));
    } else {
      ::unlink((folder_ / "control").c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kiln: cannot clear the cluster away: %s\n", error.what());
  }
}

void Keeper::end(bool all) {
  clear(all);
  std::fflush(nullptr);
  ::_exit(0);
}

void Keeper::reap() {
  const std::lock_guard guard(lock_);
  int status = 0;
  const auto note = [&](pid_t pid) {
    const bool is_ours = std::any_of(machines_.begin(), machines_.end(), [&](const Machine& machine) { return machine.pid == pid; });
    if (is_ours && WIFEXITED(status) && WEXITSTATUS(status) == config::kClusterIsOver) over_ = true;
  };
  // A worker's own children (runc) are its to wait for.
  if (working_ == 0) {
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) note(pid);
  } else {
    for (const auto& machine : machines_)
      if (::waitpid(machine.pid, &status, WNOHANG) == machine.pid) note(machine.pid);
  }
}

// By its own word: a node has said so, and no master runs that would still have others to stop.
bool Keeper::is_over() {
  const std::lock_guard guard(lock_);
  return over_ && std::none_of(machines_.begin(), machines_.end(),
                               [](const Machine& machine) { return machine.node.role == "master" && machine.process; });
}

void Keeper::serve() {
  for (;;) {
    std::vector<pollfd> polled{
        {listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}, {lease_.get(), POLLIN, 0}, {-1, 0, 0}, {watch_.get(), POLLIN, 0}};
    std::vector<pid_t> watched;
    {
      const std::lock_guard guard(lock_);
      if (!committed_) polled[3] = {lifeline_.get(), 0, 0};
      for (auto& machine : machines_) {
        if (!machine.process) continue;
        polled.push_back({machine.process.get(), POLLIN, 0});
        watched.push_back(machine.pid);
      }
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;

    if (polled[2].revents != 0) {
      std::fprintf(stderr, "kiln: the lease has ended\n");
      end(true);
    }
    if (polled[4].revents != 0) {
      std::array<char, 4096> ignored_events;
      while (::read(watch_.get(), ignored_events.data(), ignored_events.size()) > 0) {
      }
      if (!folder_is_there()) {
        std::fprintf(stderr, "kiln: the cluster's folder has gone\n");
        end(false);
      }
    }
    {
      const std::lock_guard guard(lock_);
      if (stopped_) end(false);
      if (polled[3].revents != 0 && !committed_) {
        std::fprintf(stderr, "kiln: the launcher ended before it was done\n");
        end(fresh_);
      }
      for (std::size_t i = 5; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        for (auto& machine : machines_) {
          if (machine.pid != watched[i - 5]) continue;
          if (!stopped_) std::fprintf(stderr, "kiln: node %s has ended\n", machine.node.name.c_str());
          machine.process.reset();
        }
      }
    }
    reap();
    if (is_over()) {
      std::fprintf(stderr, "kiln: the cluster has ended itself\n");
      end(true);
    }
    eventfd_t ignored;
    if (polled[1].revents != 0) ::eventfd_read(wake_.get(), &ignored);
    if (polled[0].revents != 0) take_request();
  }
}

void Keeper::take_request() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!socket || ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != ::geteuid()) return;
  Clients client(std::move(socket));
  int pass = -1;
  Json reply;
  try {
    const auto request = client.receive(kRequestTime);
    if (!request) return;
    reply = answer(*request, client, pass);
    if (reply.is_null()) return;  // a worker has taken it over
  } catch (const std::exception& error) {
    reply = {{"error", container::error_to_json(error)}};
  }
  client.send(reply, pass);
  if (pass >= 0) ::close(pass);
}

Json Keeper::answer(const Json& request, Clients& client, int& pass) {
  const std::string what = request.at("do").get<std::string>();
  if (what == "add") {
    in_background(std::move(client), [this, request] { add(request); });
    return nullptr;
  }
  if (what == "remove") {
    in_background(std::move(client), [this, request] { remove(request); });
    return nullptr;
  }
  if (what == "stop") {
    in_background(std::move(client), [this] { stop(); });
    return nullptr;
  }

  const std::lock_guard guard(lock_);
  const auto running_machine = [&](const std::string& name) -> const Machine& {
    for (const auto& machine : machines_) {
      if (machine.node.name != name) continue;
      if (!machine.process) fail("node '{}' of cluster '{}' has ended", name, record_.cluster.name);
      return machine;
    }
    fail("cluster '{}' has no node '{}'", record_.cluster.name, name);
  };
  if (what == "status") {
    Json nodes = Json::object();
    for (const auto& machine : machines_) nodes[machine.node.name] = static_cast<bool>(machine.process);
    return {{"committed", committed_}, {"nodes", nodes}, {"way_out", has_way_out_}};
  }
  if (what == "commit") {
    Record changed = record_;
    changed.cluster.state = State::kRunning;
    changed.cluster.notes = request.at("notes");
    save_record(folder_, changed);
    record_ = std::move(changed);
    committed_ = true;
    return {{"done", true}};
  }
  if (what == "connect") {
    const Machine& machine = running_machine(request.at("node").get<std::string>());
    pass = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (pass < 0) fail("cannot make a socket: {}", errno_text(errno));
    return {{"address", machine.node.address}};
  }
  if (what == "forward") {
    const Machine& machine = running_machine(request.at("node").get<std::string>());
    const int port = request.at("port").get<int>();
    auto& at = forwards_[{machine.node.name, port}];
    if (at.empty()) {
      auto fds = client.take_fds();
      if (fds.empty()) fail("no socket came with the request");
      at = request.at("at").get<std::string>();
      relays_.add(std::move(fds.front()), machine.node.address, port);
    }
    return {{"at", at}};
  }
  fail("the keeper does not know the request '{}'", what);
}

void Keeper::in_background(Clients client, std::function<void()> work) {
  {
    const std::lock_guard guard(lock_);
    ++working_;
  }
  auto shared = std::make_shared<Clients>(std::move(client));
  std::thread([this, shared, work = std::move(work)] {
    Json reply = {{"done", true}};
    try {
      const std::lock_guard one(work_lock_);
      work();
    } catch (const std::exception& error) {
      reply = {{"error", container::error_to_json(error)}};
    }
    shared->send(reply);
    {
      const std::lock_guard guard(lock_);
      --working_;
    }
    ::eventfd_write(wake_.get(), 1);
  }).detach();
}

void Keeper::add(const Json& request) {
  std::vector<Node> fresh;
  Json documents = Json::object();
  Record changed;
  MachineRoom shared;
  {
    const std::lock_guard guard(lock_);
    changed = record_;
    shared = room();
  }
  for (const auto& entry : request.at("nodes")) {
    Node node;
    node.name = entry.at("name").get<std::string>();
    node.role = entry.at("role").get<std::string>();
    node.address = entry.at("address").get<std::string>();
    node.resources = {entry.at("cpus").get<double>(), entry.at("memory_bytes").get<std::int64_t>()};
    for (const auto& other : changed.cluster.nodes) {
      if (other.name == node.name || other.address == node.address)
        fail("cluster '{}' has a node '{}' at {} already", changed.cluster.name, other.name, other.address);
    }
    documents[node.name] = entry.at("document");
    changed.cluster.nodes.push_back(node);
    fresh.push_back(std::move(node));
  }
  changed.next_host = request.at("next_host").get<unsigned>();
  try {
    auto started = start(fresh, documents);
    const std::lock_guard guard(lock_);
    changed.cluster.state = record_.cluster.state;
    changed.cluster.notes = record_.cluster.notes;
    save_record(folder_, changed);
    record_ = std::move(changed);
    for (auto& machine : started) machines_.push_back(std::move(machine));
  } catch (...) {
    for (const auto& node : fresh) remove_machine(shared, node, true);  // which kills the container
    throw;
  }
}

void Keeper::remove(const Json& request) {
  const auto names = request.at("nodes").get<std::vector<std::string>>();
  const auto is_leaving = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  std::vector<Node> leaving;
  std::vector<Fd> processes;
  MachineRoom shared;
  {
    const std::lock_guard guard(lock_);
    shared = room();
    for (const auto& machine : machines_) {
      if (!is_leaving(machine.node.name)) continue;
      leaving.push_back(machine.node);
      if (machine.process) processes.emplace_back(::fcntl(machine.process.get(), F_DUPFD_CLOEXEC, 0));
    }
  }
  std::vector<const Fd*> watched;
  for (const auto& process : processes) watched.push_back(&process);
  end_processes(watched);
  for (const auto& node : leaving) remove_machine(shared, node, true);
  const std::lock_guard guard(lock_);
  Record changed = record_;
  std::erase_if(changed.cluster.nodes, [&](const Node& node) { return is_leaving(node.name); });
  save_record(folder_, changed);
  record_ = std::move(changed);
  std::erase_if(machines_, [&](const Machine& machine) { return is_leaving(machine.node.name); });
  std::erase_if(forwards_, [&](const auto& entry) { return is_leaving(entry.first.first); });
}

void Keeper::stop() {
  std::vector<Fd> processes;
  {
    const std::lock_guard guard(lock_);
    for (const auto& machine : machines_) {
      if (machine.process) processes.emplace_back(::fcntl(machine.process.get(), F_DUPFD_CLOEXEC, 0));
    }
  }
  std::vector<const Fd*> watched;
  for (const auto& process : processes) watched.push_back(&process);
  end_processes(watched);
  const std::lock_guard guard(lock_);
  record_.cluster.state = State::kStopped;
  save_record(folder_, record_);
  stopped_ = true;  // the main thread ends the keeper once the answer is out
}

const container::RegisterCellJob keeper_job{kJobName, [](const Json& order) -> Json {
                                              Keeper keeper(order);
                                              try {
                                                keeper.boot();
                                              } catch (...) {
                                                keeper.clear(order.at("fresh").get<bool>());
                                                throw;
                                              }
                                              container::cell_ready(Json::object());
                                              keeper.serve();
                                            }};

}  // namespace

void start_keeper(const KeeperOrder& order, Fd lock, Fd lifeline) {
  container::CellOptions options;
  options.die_with_parent = false;
  options.log_file = order.folder / "keeper.log";
  options.pass_fds.push_back(std::move(lifeline));
  options.pass_fds.push_back(std::move(lock));
  container::start_cell(kJobName, {{"folder", order.folder.native()}, {"fresh", order.fresh}, {"documents", order.documents}},
                        std::move(options));
}

std::filesystem::path put_aside(const std::filesystem::path& folder) {
  std::filesystem::path aside = folder.parent_path() / (".gone-" + random_hex(8));
  if (::rename(folder.c_str(), aside.c_str()) != 0 && errno != ENOENT) {
    fail("cannot rename '{}': {}", folder.native(), errno_text(errno));
  }
  return aside;
}

}  // namespace kiln::provider::local
