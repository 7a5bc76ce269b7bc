#include "container/runc.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "container/cell.h"

extern char** environ;

namespace kiln::container {

namespace {

constexpr const char* kStateFolder = "/run/kiln-runc";  // the cell's own /run: gone with it

// What Docker gives a container: enough for daemons, package managers and ping, too little to reach the machine.
constexpr const char* kCapabilities[] = {"CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
                                         "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
                                         "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

Json mount_of(const std::string& destination, const std::string& type, const std::string& source, std::vector<std::string> options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", std::move(options)}};
}

std::vector<std::string> runc_command(std::vector<std::string> arguments) {
  std::vector<std::string> argv = {"runc", "--root", kStateFolder};
  // Told, not found out: as root of a user namespace runc decides by $USER whether it may touch cgroups.
  argv.insert(argv.end(), {"--rootless", is_rootless() ? "true" : "false"});
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

void write_bundle(const ContainerSpec& spec, const std::filesystem::path& bundle) {
  make_folder(bundle, 0700);
  // No fsync and no rename (write_file_atomically): the file is for the runc that starts next, and nobody else.
  const std::filesystem::path path = bundle / "config.json";
  const std::string text = runc_config(spec).dump();
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    fail("cannot write '{}': {}", path.native(), errno_text(errno));
  }
}

// runc's own words from the log that it wrote as JSON lines: the last error in it.
std::string complaint_in(const std::filesystem::path& log) {
  std::string complaint = "no reason given";
  for (const auto& line : split(read_file_if_there(log).value_or(""), '\n')) {
    const Json entry = Json::parse(line, nullptr, false);
    if (entry.is_object() && entry.value("level", "") == "error") complaint = entry.value("msg", complaint);
  }
  return complaint;
}

struct SpawnActions {
  SpawnActions() { ::posix_spawn_file_actions_init(&actions); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t actions;
};

// Starts runc and waits for it: its wait status. Not base's run(), which waits for the end of its pipes:
// a container would hold them open.
int spawn_runc(std::vector<std::string> argv, const SpawnActions& actions) {
  const auto program = find_program("runc");
  if (!program) {
    Error error("cannot start a container: runc is not installed");
    error.set_hint("sudo apt-get install runc");
    throw error;
  }
  std::vector<char*> arguments;
  for (auto& word : argv) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t runc = 0;
  const int error = ::posix_spawn(&runc, program->c_str(), &actions.actions, nullptr, arguments.data(), environ);
  if (error != 0) fail("cannot start '{}': {}", *program, errno_text(error));
  return wait_for_child(runc);
}

}  // namespace

Json runc_config(const ContainerSpec& spec) {
  const bool rootless = is_rootless();
  std::map<std::string, std::string> env = spec.env;
  env.emplace("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  if (spec.terminal) env.emplace("TERM", "xterm");
  std::vector<std::string> env_list;
  for (const auto& [name, value] : env) env_list.push_back(name + "=" + value);
  const std::vector<std::string> capabilities(std::begin(kCapabilities), std::end(kCapabilities));

  Json mounts = Json::array({
      mount_of("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      mount_of("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount_of("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      // No size given: half of the memory. Programs that compute share much through it.
      mount_of("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777"}),
      mount_of("/run", "tmpfs", "tmpfs", {"nosuid", "nodev", "mode=755"}),
  });
  if (spec.network == "host") {
    // A /sys shows the devices of a network namespace, which must be the container's own to be mounted. It also tells of the host.
    mounts.push_back(mount_of("/sys", "tmpfs", "tmpfs", {"nosuid", "noexec", "nodev", "ro", "size=4k"}));
  } else {
    mounts.push_back(mount_of("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}));
  }
  if (!rootless && spec.network != "host") {
    mounts.push_back(mount_of("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}));
  }
  for (const auto& bind : spec.binds) {
    mounts.push_back(mount_of(bind.to.native(), "bind", bind.from.native(), {"rbind", bind.read_only ? "ro" : "rw", "nosuid", "nodev"}));
  }

  Json namespaces = Json::array({{{"type", "pid"}}, {{"type", "ipc"}}, {{"type", "uts"}}, {{"type", "mount"}}});
  if (spec.network.empty()) {
    namespaces.push_back({{"type", "network"}});
  } else if (spec.network != "host") {
    namespaces.push_back({{"type", "network"}, {"path", spec.network}});
  }

  Json linux_part = {
      {"namespaces", std::move(namespaces)},
      {"maskedPaths",
       {"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}},
      {"readonlyPaths", {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}},
  };
  if (!rootless && !spec.cgroup.empty()) {
    linux_part["cgroupsPath"] = spec.cgroup;
    Json resources = {{"devices", Json::array({{{"allow", false}, {"access", "rwm"}}})}};
    if (spec.cpus > 0) {
      constexpr std::int64_t kPeriod = 100000;  // microseconds: the kernel's default
      resources["cpu"] = {{"period", kPeriod}, {"quota", std::max<std::int64_t>(1000, std::llround(spec.cpus * kPeriod))}};
    }
    if (spec.memory_bytes > 0) resources["memory"] = {{"limit", spec.memory_bytes}};
    linux_part["resources"] = std::move(resources);
  }

  return {
      {"ociVersion", "1.0.2"},
      {"process",
       {{"terminal", spec.terminal},
        {"user", {{"uid", 0}, {"gid", 0}}},
        {"args", spec.argv},
        {"env", env_list},
        {"cwd", spec.directory},
        {"capabilities", {{"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}}},
        {"noNewPrivileges", false}}},
      {"root", {{"path", spec.root.native()}, {"readonly", false}}},
      {"hostname", spec.hostname},
      {"mounts", std::move(mounts)},
      {"linux", std::move(linux_part)},
  };
}

ProcessResult run_container(const ContainerSpec& spec, const std::filesystem::path& bundle, const ProcessOptions& options) {
  write_bundle(spec, bundle);
  return run(runc_command({"run", "--bundle", bundle.native(), spec.id}), options);
}

namespace {

// `runc run --detach` with standard input and output as `actions` say, which the container inherits: its process id.
pid_t start_detached(const ContainerSpec& spec, const std::filesystem::path& bundle, const SpawnActions& actions) {
  write_bundle(spec, bundle);
  const std::filesystem::path log = bundle / "runc.log", pid_file = bundle / "pid";
  std::vector<std::string> argv = runc_command({"run", "--detach", "--bundle", bundle.native(), "--pid-file", pid_file.native(), spec.id});
  argv.insert(argv.begin() + 1, {"--log", log.native(), "--log-format", "json"});
  const int status = spawn_runc(std::move(argv), actions);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail("cannot start the container '{}': {}", spec.id, complaint_in(log));

  const std::string text = read_file(pid_file);
  pid_t process = 0;
  std::from_chars(text.data(), text.data() + text.size(), process);
  if (process <= 0) fail("cannot start the container '{}': runc wrote no process id to '{}'", spec.id, pid_file.native());
  return process;
}

}  // namespace

int run_container_on(const ContainerSpec& spec, const std::filesystem::path& bundle, const std::array<int, 3>& standard_fds) {
  // Detached, as a runc that stays puts pipes between; the cell, PID 1, inherits the container's process when runc ends.
  SpawnActions actions;
  for (int number = 0; number < 3; ++number) ::posix_spawn_file_actions_adddup2(&actions.actions, standard_fds[number], number);
  const int status = wait_for_child(start_detached(spec, bundle, actions));
  remove_container(spec.id);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

pid_t start_container(const ContainerSpec& spec, const std::filesystem::path& bundle, const std::filesystem::path& log_file) {
  SpawnActions actions;
  ::posix_spawn_file_actions_addopen(&actions.actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions.actions, 1, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions.actions, 1, 2);
  return start_detached(spec, bundle, actions);
}

void remove_container(const std::string& id) {
  // `delete --force` says nothing about a container that is not there.
  run(runc_command({"delete", "--force", id}));
}

}  // namespace kiln::container
