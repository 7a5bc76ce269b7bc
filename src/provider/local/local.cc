// The local provider: clusters of containers on this machine. Each lives in a keeper (keeper.h); what is here finds, starts and asks
// keepers, and clears up after those that are gone.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/home.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "config/names.h"
#include "container/cell.h"
#include "provider/local/control.h"
#include "provider/local/keeper.h"
#include "provider/local/machine.h"
#include "provider/local/record.h"
#include "provider/provider.h"

namespace kiln::provider::local {

namespace {

// The keeper answers from memory, in a millisecond; two seconds cover a host that swaps.
constexpr std::chrono::seconds kAnswerTime{2};
// Stopping may take the keeper 15 s, twice (TERM, KILL).
constexpr std::chrono::seconds kWorkTime{60};
// A killed keeper takes all its processes along before it is gone: JVMs with gigabytes take some hundred milliseconds.
constexpr std::chrono::seconds kDeathTime{30};

// The launcher's ends of the lifelines of clusters that are not committed yet. The process's, not the provider object's: a cluster is
// given up when the process dies.
std::mutex lifelines_lock;
std::map<std::string, Fd>& lifelines() {
  static std::map<std::string, Fd> all;
  return all;
}

FileLock lock_names() {
  make_folder(clusters_folder(), 0700);
  return FileLock::wait(clusters_folder() / ".lock");
}

// Groups of several homes don't meet: the name has a digest of the home in it.
std::string cgroup_suffix() { return "-" + sha256_hex(home_folder().native()).substr(0, 8); }

bool wait_for_process(const Fd& process, std::chrono::milliseconds timeout) {
  pollfd polled{process.get(), POLLIN, 0};
  return ::poll(&polled, 1, static_cast<int>(timeout.count())) > 0;
}

// Ends the keeper, and with it all of the cluster that runs. Returns when it is gone.
void kill_keeper(const std::filesystem::path& folder) {
  const auto deadline = std::chrono::steady_clock::now() + kDeathTime;
  while (is_locked(folder)) {
    if (const Fd process = keeper_process(folder)) {
      ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
      wait_for_process(process, kDeathTime);
    } else {
      // Just being started (it listens within milliseconds), or just ending.
      ::poll(nullptr, 0, 2);
    }
    if (std::chrono::steady_clock::now() > deadline) {
      fail("cluster '{}' does not end: somebody holds its lock '{}'", folder.filename().native(), (folder / "lock").native());
    }
  }
}

void remove_cluster(const std::filesystem::path& folder, const std::string& cgroup) {
  kill_keeper(folder);
  if (!cgroup.empty()) remove_cgroups(cgroup);
  container::remove_tree_in_cell(put_aside(folder));
}

std::string cgroup_of(const std::string& name) { return container::is_rootless() ? std::string() : "/kiln/" + name + cgroup_suffix(); }

// What the folder is, seen from outside. Never throws.
struct Seen {
  std::optional<Cluster> cluster;  // what people are shown
  std::string leftover;            // why it is garbage; empty: it is not
};

Seen look_at(const std::filesystem::path& folder) {
  Seen seen;
  const std::string name = folder.filename();
  const bool alive = is_locked(folder);
  std::optional<Record> record;
  try {
    record = load_record(folder);
  } catch (const Error&) {
    Cluster broken;
    broken.name = name;
    broken.provider = "local";
    seen.cluster = std::move(broken);
    seen.leftover = alive ? "" : "its record cannot be read";
    return seen;
  }
  if (!record) {
    // Between the folder's making and the record's writing there are microseconds, under the lock.
    seen.leftover = alive ? "" : "interrupted launch";
    return seen;
  }
  Cluster& cluster = record->cluster;
  const bool lease_over = cluster.lease_until && *cluster.lease_until <= ::time(nullptr);
  if (!alive) {
    if (cluster.state == State::kCreating) {
      seen.leftover = "interrupted launch";
      return seen;
    }
    if (cluster.state == State::kRunning) {
      cluster.state = State::kLost;
      seen.leftover = "its machines are gone";
    }
    if (lease_over) seen.leftover = "its lease has ended";
  } else {
    try {
      const Json status = ask(folder, {{"do", "status"}}, kAnswerTime);
      cluster.state = status.at("committed").get<bool>() ? State::kRunning : State::kCreating;
      for (auto& node : cluster.nodes) node.running = status.at("nodes").value(node.name, false);
    } catch (const Error&) {
      // Starting, or too busy to answer.
      if (cluster.state == State::kStopped) cluster.state = State::kCreating;
    }
  }
  seen.cluster = std::move(cluster);
  return seen;
}

std::vector<std::filesystem::path> folders(bool hidden) {
  std::vector<std::filesystem::path> all;
  std::error_code ignored;
  for (const auto& entry : list_folder(clusters_folder())) {
    const std::string name = entry.filename();
    if (fs::is_directory(entry, ignored) && (name.starts_with(".gone-") ? hidden : !hidden && !name.starts_with("."))) all.push_back(entry);
  }
  return all;
}

// Pairs of descriptors: the keeper's end, ours.
std::pair<Fd, Fd> make_lifeline() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
  return {Fd(ends[0]), Fd(ends[1])};
}

Json documents_for(const std::vector<Node>& nodes, const std::vector<Node>& known, const CreateRequest& how) {
  Json documents = Json::object();
  for (const auto& node : nodes) documents[node.name] = config::node_document_to_json(how.document(node, known));
  return documents;
}

void say_if_limits_are_ignored(const std::vector<NodeRequest>& nodes) {
  if (!container::is_rootless()) return;
  const bool asked = std::any_of(nodes.begin(), nodes.end(),
                                 [](const NodeRequest& node) { return node.resources.cpus > 0 || node.resources.memory_bytes > 0; });
  if (asked)
    say("limits of processors and memory are not enforced without root: nodes are told them and keep to them as far as their services do");
}

Node make_node(Record& record, const NodeRequest& request, std::size_t nodes) {
  Node node;
  node.name = request.name;
  node.role = request.role;
  node.address = take_address(record);
  node.resources = share_of_machine(request.resources, nodes, static_cast<unsigned>(processor_count()), available_memory_bytes());
  return node;
}

class LocalProvider : public Provider {
 public:
  std::vector<Cluster> list() override {
    std::vector<Cluster> clusters;
    for (const auto& folder : folders(false)) {
      if (auto seen = look_at(folder); seen.cluster) clusters.push_back(std::move(*seen.cluster));
    }
    return clusters;
  }

  std::optional<Cluster> find(const std::string& name) override {
    const auto folder = cluster_folder(name);
    std::error_code ignored;
    return !name.empty() && name[0] != '.' && fs::is_directory(folder, ignored) ? look_at(folder).cluster : std::nullopt;
  }

  Cluster create(const CreateRequest& request) override {
    container::require_host();
    const std::string& name = request.cluster.name;
    const auto folder = cluster_folder(name);
    Fd lock = take_name(name);
    try {
      say_if_limits_are_ignored(request.nodes);
      Record record;
      record.cluster = request.cluster;
      record.cluster.provider = "local";
      record.cluster.state = State::kCreating;
      record.cluster.nodes.clear();
      if (record.cluster.created == 0) record.cluster.created = ::time(nullptr);
      record.layer_keys = request.image.layer_keys;
      record.layer_folders = request.image.layer_folders;
      record.subnet = choose_subnet(read_file_if_there("/proc/net/route").value_or(""));
      record.cgroup = cgroup_of(name);
      for (const auto& node : request.nodes) record.cluster.nodes.push_back(make_node(record, node, request.nodes.size()));
      return start_with(record, request, true, std::move(lock));
    } catch (...) {
      const Undisturbed undisturbed;
      lock.reset();
      give_up(name);
      remove_cluster(folder, cgroup_of(name));
      throw;
    }
  }

  void commit(const std::string& name, const Json& notes) override {
    ask(cluster_folder(name), {{"do", "commit"}, {"notes", notes}}, kAnswerTime);
    give_up(name);
  }

  std::vector<Node> add_nodes(const std::string& name, const std::vector<NodeRequest>& nodes, const CreateRequest& how) override {
    const auto folder = cluster_folder(name);
    auto record = load_record(folder);
    if (!record || !is_locked(folder)) fail("cluster '{}' does not run", name);
    say_if_limits_are_ignored(nodes);
    std::vector<Node> fresh, known = record->cluster.nodes;
    for (const auto& request : nodes) {
      fresh.push_back(make_node(*record, request, record->cluster.nodes.size() + nodes.size()));
      record->cluster.nodes.push_back(fresh.back());
      known.push_back(fresh.back());
    }
    const Json documents = documents_for(fresh, known, how);
    Json entries = Json::array();
    for (const auto& node : fresh) {
      entries.push_back({{"name", node.name},
                         {"role", node.role},
                         {"address", node.address},
                         {"cpus", node.resources.cpus},
                         {"memory_bytes", node.resources.memory_bytes},
                         {"document", documents.at(node.name)}});
    }
    // Some 50 ms a node, more on a busy host.
    ask(folder, {{"do", "add"}, {"nodes", entries}, {"next_host", record->next_host}}, kWorkTime + std::chrono::seconds(nodes.size()));
    for (auto& node : fresh) node.running = true;
    return fresh;
  }

  void remove_nodes(const std::string& name, const std::vector<std::string>& nodes) override {
    const auto folder = cluster_folder(name);
    if (is_locked(folder)) {
      ask(folder, {{"do", "remove"}, {"nodes", nodes}}, kWorkTime);
      return;
    }
    // Stopped or lost: only files and the record.
    auto record = load_record(folder);
    if (!record) return;
    const auto lock = try_lock(folder);
    if (!lock) fail("cluster '{}' is being started", name);
    std::erase_if(record->cluster.nodes, [&](const Node& node) { return std::find(nodes.begin(), nodes.end(), node.name) != nodes.end(); });
    save_record(folder, *record);
    for (const auto& node : nodes) {
      if (!node.empty() && node.find('/') == std::string::npos && node[0] != '.') container::remove_tree_in_cell(folder / "nodes" / node);
    }
  }

  Fd connect(const std::string& name, const std::string& node, int port, std::chrono::milliseconds timeout) override {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    Fd socket;
    const Json answer = ask(cluster_folder(name), {{"do", "connect"}, {"node", node}},
                            std::min<std::chrono::milliseconds>(timeout, kAnswerTime), -1, &socket);
    const sockaddr_in address = socket_address(answer.at("address").get<std::string>(), port);
    // A refused socket can be connected again (tcp(7)), so a node that is just booting is met the moment it listens.
    for (std::chrono::milliseconds pause{1};; pause = std::min(pause * 2, std::chrono::milliseconds(16))) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
      int error = 0;
      if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) error = errno;
      if (error == EINPROGRESS) {
        pollfd polled[] = {{socket.get(), POLLOUT, 0}, {interrupt_fd(), POLLIN, 0}};
        const int ready = ::poll(polled, 2, static_cast<int>(std::max<std::int64_t>(0, left)));
        throw_if_interrupted();
        socklen_t size = sizeof error;
        error = ready <= 0 ? ETIMEDOUT : 0;
        if (ready > 0) ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      }
      if (error == 0) break;
      if (left <= 0 || (error != ECONNREFUSED && error != ECONNABORTED && error != EHOSTUNREACH)) {
        fail("cannot connect to port {} of node '{}': {}", port, node, errno_text(error));
      }
      pollfd user{interrupt_fd(), POLLIN, 0};
      ::poll(&user, 1, static_cast<int>(pause.count()));
      throw_if_interrupted();
    }
    ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) & ~O_NONBLOCK);
    return socket;
  }

  std::string forward(const std::string& name, const std::string& node, int port) override {
    // Made here, in the host's network; the keeper, which is not in it, accepts.
    const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = socket_address("127.0.0.1", 0);
    socklen_t size = sizeof address;
    if (!listener || ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener.get(), 64) != 0 ||
        ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      fail("cannot listen at 127.0.0.1: {}", errno_text(errno));
    }
    const std::string at = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    return ask(cluster_folder(name), {{"do", "forward"}, {"node", node}, {"port", port}, {"at", at}}, kAnswerTime, listener.get())
        .at("at")
        .get<std::string>();
  }

  void stop(const std::string& name) override {
    const auto folder = cluster_folder(name);
    if (!is_locked(folder)) {
      auto record = load_record(folder);
      if (!record) fail("there is no cluster '{}'", name);
      if (record->cluster.state == State::kRunning) {  // lost: what is left of it is its disks
        record->cluster.state = State::kStopped;
        save_record(folder, *record);
      }
      return;
    }
    const Fd process = keeper_process(folder);
    ask(folder, {{"do", "stop"}}, kWorkTime);
    give_up(name);
    if (process && !wait_for_process(process, kDeathTime)) fail("the keeper of cluster '{}' does not end", name);
  }

  Cluster start(const std::string& name, const CreateRequest& how) override {
    const auto folder = cluster_folder(name);
    auto record = load_record(folder);
    if (!record || (record->cluster.state == State::kCreating && !is_locked(folder))) fail("there is no cluster '{}'", name);
    auto lock = try_lock(folder);
    if (!lock) {
      if (auto cluster = find(name); cluster && cluster->state == State::kRunning) return *cluster;
      fail("cluster '{}' is being started or stopped by somebody else", name);
    }
    if (record->cluster.lease_until && *record->cluster.lease_until <= ::time(nullptr)) {
      Error error(fmt::format("the lease of cluster '{}' has ended", name));
      error.set_hint(fmt::format("`kiln destroy {}` removes what is left of it", name));
      throw error;
    }
    if (!how.image.layer_folders.empty()) {
      record->layer_keys = how.image.layer_keys;
      record->layer_folders = how.image.layer_folders;
    }
    record->cgroup = cgroup_of(name);
    record->cluster.state = State::kStopped;  // until committed
    try {
      return start_with(*record, how, false, std::move(*lock));
    } catch (...) {
      const Undisturbed undisturbed;
      give_up(name);
      kill_keeper(folder);
      if (!record->cgroup.empty()) remove_cgroups(record->cgroup);
      throw;
    }
  }

  void destroy(const std::string& name) override {
    const auto folder = cluster_folder(name);
    std::error_code ignored;
    if (name.empty() || name[0] == '.' || !fs::is_directory(folder, ignored)) return;
    give_up(name);
    remove_cluster(folder, cgroup_of(name));
  }

  std::vector<Leftover> collect_garbage(bool dry_run) override {
    std::vector<Leftover> leftovers;
    std::error_code ignored;
    if (!fs::is_directory(clusters_folder(), ignored)) return leftovers;
    const auto names = lock_names();
    const auto take = [&](const std::string& what, const std::function<void()>& remove) {
      Leftover leftover{what, false};
      if (!dry_run) {
        try {
          remove();
          leftover.removed = true;
        } catch (const Interrupted&) {
          throw;
        } catch (const Error& error) {
          say(fmt::format("{}: {}", what, error.message()));
        }
      }
      leftovers.push_back(std::move(leftover));
    };
    for (const auto& folder : folders(false)) {
      const std::string name = folder.filename();
      const Seen seen = look_at(folder);
      if (!seen.leftover.empty())
        take(fmt::format("cluster {}: {}", name, seen.leftover), [&] { remove_cluster(folder, cgroup_of(name)); });
    }
    for (const auto& folder : folders(true)) {
      // One that is just being removed by somebody has nothing running either; removing it twice harms nobody.
      take(fmt::format("files of a destroyed cluster: {}", folder.filename().native()), [&] { remove_cluster(folder, ""); });
    }
    if (!container::is_rootless()) {
      for (const auto& cgroup : orphaned_cgroups()) take(fmt::format("control group {}", cgroup), [&] { remove_cgroups(cgroup); });
    }
    return leftovers;
  }

 private:
  // Makes the cluster's folder and takes its lock. UsageError when there is one; what an interrupted launch left is cleared first.
  static Fd take_name(const std::string& name) {
    config::check_cluster_name(name);
    const auto folder = cluster_folder(name);
    std::error_code ignored;
    // The keeper of a launch that was just killed is still clearing up: that takes it some 100 ms.
    for (const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1); std::chrono::steady_clock::now() < deadline;
         ::poll(nullptr, 0, 5)) {
      const Seen seen = look_at(folder);
      if (!is_locked(folder) || (seen.cluster && seen.cluster->state != State::kCreating)) break;
    }
    const auto names = lock_names();
    if (fs::exists(folder, ignored)) {
      if (look_at(folder).leftover != "interrupted launch") {
        UsageError error(fmt::format("there is a cluster '{}' already", name));
        error.set_hint(fmt::format("`kiln status {0}` shows it, `kiln destroy {0}` removes it", name));
        throw error;
      }
      remove_cluster(folder, cgroup_of(name));
    }
    make_folder(folder, 0700);
    auto lock = try_lock(folder);
    if (!lock) fail("cluster '{}' is being made by somebody else", name);
    return std::move(*lock);
  }

  static Cluster start_with(const Record& record, const CreateRequest& request, bool fresh, Fd lock) {
    const std::string& name = record.cluster.name;
    const auto folder = cluster_folder(name);
    save_record(folder, record);
    auto [theirs, ours] = make_lifeline();
    {
      const std::lock_guard guard(lifelines_lock);
      lifelines()[name] = std::move(ours);
    }
    start_keeper({folder, fresh, documents_for(record.cluster.nodes, record.cluster.nodes, request)}, std::move(lock), std::move(theirs));
    Cluster cluster = record.cluster;
    cluster.state = State::kCreating;
    for (auto& node : cluster.nodes) node.running = true;
    return cluster;
  }

  static void give_up(const std::string& name) {
    const std::lock_guard guard(lifelines_lock);
    lifelines().erase(name);
  }

  // Groups that this home's clusters had, whose folder is gone.
  static std::vector<std::string> orphaned_cgroups() {
    std::vector<std::string> orphans;
    const std::string suffix = cgroup_suffix();
    std::error_code ignored;
    for (const char* top : {"/sys/fs/cgroup/memory/kiln", "/sys/fs/cgroup/kiln"}) {
      for (const auto& entry : list_folder(top)) {
        const std::string group = entry.filename();
        if (!group.ends_with(suffix)) continue;
        if (!fs::exists(cluster_folder(group.substr(0, group.size() - suffix.size())), ignored)) orphans.push_back("/kiln/" + group);
      }
    }
    return orphans;
  }
};

const RegisterProvider registration{"local", "containers on this machine; no root needed", Reach::kHere,
                                    [] { return std::make_unique<LocalProvider>(); }};

}  // namespace

}  // namespace kiln::provider::local
