#include "provider/local/machine.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "container/overlay.h"
#include "container/runc.h"
#include "provider/local/network.h"

namespace kiln::provider::local {

namespace {

constexpr const char* kNameServer = "10.0.2.3";  // slirp4netns(1), DNS forwarding

// All in the cell's own /run.
std::filesystem::path scratch(const Node& node) { return std::filesystem::path("/run/kiln/nodes") / node.name; }

NodeNetwork network_of(const MachineRoom& room, const Node& node) {
  // "n" and the last half of the address, in decimal: unique in the cluster, and short however long the node's name is.
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (std::sscanf(node.address.c_str(), "%u.%u.%u.%u", &a, &b, &c, &d) != 4)
    fail("node '{}' has the address '{}'", node.name, node.address);
  return {std::filesystem::path("/run/netns") / node.name, fmt::format("n{}", c * 256 + d), node.address, room.subnet + ".0.1"};
}

void write_whole(int folder, const std::string& name, const std::string& text, mode_t mode) {
  // An image may have a link here, to a file of another root.
  ::unlinkat(folder, name.c_str(), 0);
  const Fd file(::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    fail("cannot write a node's '{}': {}", name, errno_text(errno));
  }
}

Fd open_in_root(const std::filesystem::path& root, const char* path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT;  // links in the image lead to the image, never out of it
  const Fd base(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return Fd(static_cast<int>(::syscall(SYS_openat2, base.get(), path, &how, sizeof how)));
}

void write_etc(const MachineRoom& room, const Node& node, const std::filesystem::path& root, const Json& document) {
  Fd etc = open_in_root(root, "etc");
  if (!etc) {
    make_folder(root / "etc");
    etc = open_in_root(root, "etc");
  }
  write_whole(etc.get(), "hostname", node.name + "\n", 0644);
  write_whole(etc.get(), "hosts", hosts_file(node, document.value("nodes", Json::array())), 0644);
  // Without a way out a name server would only be waited for: Spark starts minutes later with one that is silent.
  write_whole(etc.get(), "resolv.conf",
              room.way_out ? fmt::format("nameserver {}\noptions timeout:1 attempts:1\n", kNameServer) : std::string(), 0644);
}

// Controllers' folders: several with cgroup v1, one with v2.
std::vector<std::filesystem::path> hierarchies() {
  const std::filesystem::path top = "/sys/fs/cgroup";
  if (fs::exists(top / "cgroup.controllers")) return {top};
  std::vector<std::filesystem::path> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(top, ignored)) {
    if (!entry.is_symlink()) all.push_back(entry.path());
  }
  return all;
}

// Its sub-groups first. False while a process is in it.
bool remove_group(const std::filesystem::path& group) {
  std::error_code ignored;
  for (const auto& entry : list_folder(group)) {
    if (fs::is_directory(entry, ignored) && !remove_group(entry)) return false;
  }
  return ::rmdir(group.c_str()) == 0 || errno == ENOENT;
}

}  // namespace

std::string hosts_file(const Node& node, const Json& nodes) {
  std::string text = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";
  bool self = false;
  for (const auto& other : nodes) {
    text += other.at("address").get<std::string>() + " " + other.at("name").get<std::string>() + "\n";
    self = self || other.at("name") == node.name;
  }
  if (!self) text += node.address + " " + node.name + "\n";
  return text;
}

pid_t start_machine(const MachineRoom& room, const Node& node, const Json& document) {
  return with_context(fmt::format("starting node {}", node.name), [&] {
    const std::filesystem::path mine = scratch(node), disk = room.folder / "nodes" / node.name;
    for (const auto& folder : {disk / "upper", disk / "work", mine / "root", mine / "kiln"}) make_folder(folder);
    std::vector<std::filesystem::path> lower(room.layer_folders.begin(), room.layer_folders.end());
    container::mount_overlay(lower, disk / "upper", disk / "work", mine / "root");
    write_etc(room, node, mine / "root", document);
    {
      const Fd folder(::open((mine / "kiln").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      write_whole(folder.get(), "node.json", document.dump(), 0600);
    }
    const NodeNetwork network = network_of(room, node);
    make_node_network(network);

    container::ContainerSpec spec;
    spec.id = node.name;
    spec.root = mine / "root";
    spec.argv = {kAgent, "run"};
    spec.hostname = node.name;
    spec.binds = {{mine / "kiln", "/run/kiln", false}};
    spec.network = network.path;
    if (!room.cgroup.empty()) {
      spec.cgroup = room.cgroup + "/" + node.name;
      // All processors: no quota, which would only cost.
      if (node.resources.cpus < static_cast<double>(processor_count())) spec.cpus = node.resources.cpus;
      spec.memory_bytes = node.resources.memory_bytes;
    }
    return container::start_container(spec, mine / "bundle", disk / "console.log");
  });
}

void remove_machine(const MachineRoom& room, const Node& node, bool files) {
  container::remove_container(node.name);
  remove_node_network(network_of(room, node));
  const std::filesystem::path mine = scratch(node);
  ::umount2((mine / "root").c_str(), MNT_DETACH);
  remove_tree(mine);
  if (!room.cgroup.empty()) remove_cgroups(room.cgroup + "/" + node.name);
  if (files) remove_tree(room.folder / "nodes" / node.name);
}

void remove_cgroups(const std::string& cgroup) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  for (const auto& hierarchy : hierarchies()) {
    const std::filesystem::path group = hierarchy / std::filesystem::path(cgroup).relative_path();
    // A killed process stays in its group until it has given everything back; v1 tells nobody when that is.
    while (!remove_group(group) && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 2);
    ::rmdir(group.parent_path().c_str());  // "/kiln" itself, when it was the last
  }
}

}  // namespace kiln::provider::local
