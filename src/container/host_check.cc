// What the host must have for cells, containers and bakes. Each check says what it found and what would mend it; the last one simply
// tries: a cell with an overlay in it, which finds what nobody thought of.
#include "container/host_check.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/home.h"
#include "base/process.h"
#include "base/strings.h"
#include "container/overlay.h"
#include "container/userns.h"

namespace kiln::container {

namespace {

// A Spark image is 1.5 GiB, its sources and caches as much, and every node writes: below this it gets tight.
constexpr std::uintmax_t kEnoughDiskBytes = 10ULL << 30;

std::string install_command(const std::string& package) {
  if (find_program("apt-get")) return "sudo apt-get install " + package;
  if (find_program("dnf")) return "sudo dnf install " + package;
  return fmt::format("install '{}' with this system's package manager", package);
}

std::string sysctl_command(const std::string& name, int value) {
  return fmt::format("echo {0}={1} | sudo tee /etc/sysctl.d/60-kiln.conf && sudo sysctl {0}={1}", name, value);
}

std::optional<long> sysctl(const std::string& path) {
  const auto text = read_file_if_there("/proc/sys/" + path);
  if (!text) return std::nullopt;
  try {
    return std::stol(*text);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

Check check_program(const std::string& program, const std::string& package, const std::string& what_for, bool required) {
  Check check;
  check.name = program;
  check.required = required;
  const auto path = find_program(program);
  check.ok = path.has_value();
  check.found = path ? *path : fmt::format("not installed; {}", what_for);
  if (!check.ok) check.mend = install_command(package);
  return check;
}

// It must run as root: set-uid, or with file capabilities (Fedora).
Check check_mapper(const std::string& program) {
  Check check = check_program(program, "uidmap", "an ordinary user's containers need it", true);
  if (!check.ok) return check;
  struct stat status {};
  const bool privileged = ::stat(check.found.c_str(), &status) == 0 && status.st_uid == 0 &&
                          ((status.st_mode & S_ISUID) != 0 || ::getxattr(check.found.c_str(), "security.capability", nullptr, 0) > 0);
  if (!privileged) {
    check.ok = false;
    check.mend = "sudo chmod u+s " + check.found;
    check.found += ", which is not set-uid root";
  }
  return check;
}

std::filesystem::path nearest_existing(std::filesystem::path path) {
  std::error_code ignored;
  while (!fs::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  return path;
}

Check check_disk() {
  Check check;
  check.name = "free disk";
  check.required = false;
  const auto home = home_folder();
  struct statvfs status {};
  if (::statvfs(nearest_existing(home).c_str(), &status) != 0) {
    check.ok = false;
    check.found = fmt::format("cannot look at '{}': {}", home.native(), errno_text(errno));
    check.mend = "set KILN_HOME to a folder on a disk";
    return check;
  }
  const std::uintmax_t free = static_cast<std::uintmax_t>(status.f_bavail) * status.f_frsize;
  check.ok = free >= kEnoughDiskBytes;
  check.found = fmt::format("{} at {}", human_size(free), home.native());
  if (!check.ok)
    check.mend = fmt::format("free {} there, or set KILN_HOME to a folder on a larger disk (`kiln image gc` removes what no image uses)",
                             human_size(kEnoughDiskBytes - free));
  return check;
}

Check check_tun() {
  Check check;
  check.name = "/dev/net/tun";
  check.required = false;
  check.ok = ::access("/dev/net/tun", R_OK | W_OK) == 0;
  check.found = "usable";
  if (check.ok) return check;
  const bool absent = errno == ENOENT;
  check.found = fmt::format("{}; without it nodes on this machine reach each other, but not the network", errno_text(errno));
  check.mend = absent ? "sudo modprobe tun" : "sudo chmod 0666 /dev/net/tun";
  return check;
}

Check check_limits() {
  Check check;
  check.name = "resource limits";
  check.required = false;
  if (is_rootless()) {
    check.found = "not enforced for an ordinary user: nodes are told theirs, and services keep to them";
    return check;
  }
  for (const char* path : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
    const bool group = fs::exists(std::string(path) + "/cgroup.procs");
    if (group && ::access(path, W_OK) == 0) {
      check.found = std::string("control groups at ") + path;
      return check;
    }
  }
  check.ok = false;
  check.found = "no control groups that can be written at /sys/fs/cgroup";
  check.mend = "sudo mount -t cgroup2 none /sys/fs/cgroup";
  return check;
}

const RegisterCellJob try_job{"check-host", [](const Json& arguments) {
                                const fs::path folder = arguments.at("folder").get<std::string>();
                                for (const char* name : {"lower", "upper", "work", "root"}) make_folder(folder / name);
                                mount_overlay({folder / "lower"}, folder / "upper", folder / "work", folder / "root");
                                make_folder(folder / "root/made");
                                if (::chown((folder / "root/made").c_str(), 65534, 65534) != 0)
                                  fail("cannot give a file to another user: {}", errno_text(errno));
                                return Json::object();
                              }};

Check check_cell() {
  Check check;
  check.name = "sandbox";
  check.found = "a user namespace with an overlay works";
  if (!is_rootless()) check.found = "namespaces with an overlay work";
  const auto home = home_folder();
  const bool had_home = fs::exists(home);
  try {
    make_folder(home);
    TemporaryFolder folder(home, ".check-");
    run_in_cell("check-host", {{"folder", folder.path().native()}});
    remove_tree_in_cell(folder.release());
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    check.ok = false;
    check.found = error.message();
    check.mend = error.hint_text().find("kiln doctor") == std::string::npos && !error.hint_text().empty()
                     ? error.hint_text()
                     : std::string("mend what is named above; in a container, give it --privileged or run kiln on the host itself");
  }
  std::error_code ignored;
  if (!had_home) fs::remove(home, ignored);
  return check;
}

std::vector<Check> look(bool also_try) {
  std::vector<Check> checks;
  utsname system{};
  ::uname(&system);
  checks.push_back(check_kernel(system.release, read_file_if_there("/proc/filesystems").value_or("")));
  if (::geteuid() != 0) {
    checks.push_back(check_user_namespaces({sysctl("kernel/unprivileged_userns_clone"), sysctl("user/max_user_namespaces"),
                                            sysctl("kernel/apparmor_restrict_unprivileged_userns")}));
    checks.push_back(check_mapper("newuidmap"));
    checks.push_back(check_mapper("newgidmap"));
    checks.push_back(
        check_subordinate_ids(user_name(), count_of(subordinate_ids("/etc/subuid")), count_of(subordinate_ids("/etc/subgid"))));
  }
  checks.push_back(check_program("runc", "runc", "it runs nodes and builds", true));
  checks.push_back(check_program("mmdebstrap", "mmdebstrap", "images of Debian and Ubuntu are made by it", true));
  checks.push_back(check_program("tar", "tar", "images are unpacked by it", true));
  checks.push_back(check_program("python3", "python3-pip", "sources of kind pypi: are fetched by its pip", false));
  checks.push_back(check_program("mvn", "maven", "sources of kind maven: are fetched by it", false));
  checks.push_back(check_program("git", "git", "sources of kind git: are fetched by it", false));
  checks.push_back(
      check_program("slirp4netns", "slirp4netns", "without it nodes on this machine reach each other, but not the network", false));
  checks.push_back(check_program("nft", "nftables", "without it nodes on this machine reach each other, but not the network", false));
  for (const auto& [program, package] :
       {std::pair{"mke2fs", "e2fsprogs"}, {"sfdisk", "fdisk"}, {"mkfs.vfat", "dosfstools"}, {"mcopy", "mtools"}})
    checks.push_back(check_program(program, package, "bootable disks are made by it", false));
  checks.push_back(check_program("qemu-img", "qemu-utils", "disks as qcow2, vmdk, vhd and vhdx are made by it", false));
  checks.push_back(check_tun());
  checks.push_back(check_limits());
  checks.push_back(check_disk());
  if (also_try) checks.push_back(check_cell());
  return checks;
}

}  // namespace

Check check_user_namespaces(const NamespaceSettings& settings) {
  Check check;
  check.name = "user namespaces";
  check.found = "allowed";
  const auto forbidden = [&](const std::string& name, long value, int needed) {
    check.ok = false;
    check.found = fmt::format("{} is {}", name, value);
    check.mend = sysctl_command(name, needed);
  };
  if (settings.unprivileged_clone == 0) {
    forbidden("kernel.unprivileged_userns_clone", 0, 1);
  } else if (settings.most == 0) {
    forbidden("user.max_user_namespaces", 0, 15000);
  } else if (settings.apparmor_restricted.value_or(0) != 0) {
    forbidden("kernel.apparmor_restrict_unprivileged_userns", *settings.apparmor_restricted, 0);
  } else if (!settings.most) {
    check.ok = false;
    check.found = "this kernel has none";
    check.mend = "use a kernel with CONFIG_USER_NS, or run kiln as root";
  }
  return check;
}

Check check_subordinate_ids(const std::string& user, std::uint64_t users, std::uint64_t groups) {
  Check check;
  check.name = "subordinate ids";
  check.ok = users >= kFewestIds && groups >= kFewestIds;
  check.found = fmt::format("{} user and {} group ids for {}", users, groups, user);
  if (!check.ok) {
    check.found += fmt::format(", {} are needed", kFewestIds);
    check.mend = fmt::format("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}", user);
  }
  return check;
}

Check check_kernel(const std::string& release, const std::string& proc_filesystems) {
  Check check;
  check.name = "kernel";
  check.found = release;
  int major = 0, minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 11))) {
    check.ok = false;
    check.found = fmt::format("Linux {}, 5.11 is needed", release);
    check.mend = "upgrade the kernel (Debian 12, Ubuntu 22.04 or later have a newer one)";
    return check;
  }
  for (const auto& line : split(proc_filesystems, '\n')) {
    if (line.ends_with("\toverlay")) {
      check.found = fmt::format("Linux {} with overlayfs", release);
      return check;
    }
  }
  check.ok = false;
  check.found = fmt::format("Linux {} without overlayfs", release);
  check.mend = "sudo modprobe overlay && echo overlay | sudo tee /etc/modules-load.d/kiln.conf";
  return check;
}

std::vector<Check> check_host() { return look(true); }

void require_host() {
  for (const auto& check : look(false)) {
    if (check.ok || !check.required) continue;
    Error error(fmt::format("{}: {}", check.name, check.found));
    error.set_hint(check.mend);
    throw error;
  }
}

}  // namespace kiln::container
