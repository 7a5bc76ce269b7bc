#include "bake/packages.h"

#include <algorithm>
#include <map>

#include "bake/scripts.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// `command` gets the packages as its arguments.
RunStep make_step(const char* command, const std::vector<std::string>& packages, std::int64_t epoch) {
  Script script;
  script.argv = {"/bin/sh", "-c", command, "packages"};
  script.argv.insert(script.argv.end(), packages.begin(), packages.end());
  script.env = plain_environment(epoch, true);
  script.what = "installing the packages " + join(packages, ", ");
  RunStep step;
  step.scripts = {std::move(script)};
  step.network = true;
  step.no_daemons = true;
  step.leftovers = Leftovers::kPackages;
  return step;
}

RunStep debian_step(const std::vector<std::string>& packages, const PackageFolders& folders, std::int64_t epoch) {
  // Sandbox::User: the cached files belong to kiln's user. unsafe-io: the layer is synced as a whole. Recommends: an image holds what
  // modules name. Pipelining, retries and languages are apt's own affair but for the translations, which nobody reads here.
  static constexpr const char* kCommand =
      "set -eu\n"
      "apt_get() { apt-get -q -y -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Languages=none"
      " -o APT::Keep-Downloaded-Packages=true -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dpkg::Use-Pty=0"
      " -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
      " -o APT::Update::Error-Mode=any ${KILN_PREFERENCES:+-o Dir::Etc::preferences=\"$KILN_PREFERENCES\"} \"$@\"; }\n"
      "apt_get update\n"
      "apt_get --no-install-recommends install \"$@\"\n";
  RunStep step = make_step(kCommand, packages, epoch);
  step.scripts[0].env["DEBIAN_FRONTEND"] = "noninteractive";
  step.scripts[0].env["DEBCONF_NONINTERACTIVE_SEEN"] = "true";
  // A kernel's own initramfs takes ten seconds, and the module that brings the kernel makes another (Debian's kernel hooks read this).
  step.scripts[0].env["INITRD"] = "No";
  step.binds = {{folders.work, "/var/lib/apt/lists", false}, {folders.cache, "/var/cache/apt/archives", false}};
  return step;
}

RunStep rpm_step(const std::vector<std::string>& packages, const PackageFolders& folders, std::int64_t epoch) {
  // /run is the container's own: what is mounted there leaves no mount point in the layer. Weak dependencies: an image holds what modules
  // name. The history of transactions holds times and host facts, and is nobody's; logs are removed with all others.
  static constexpr const char* kCommand =
      "set -eu\n"
      "for tool in dnf5 dnf microdnf yum none; do if command -v $tool > /dev/null 2>&1; then break; fi; done\n"
      "options='-y --setopt=install_weak_deps=0 --setopt=keepcache=1 --setopt=cachedir=/run/kiln/packages'\n"
      "if [ $tool = yum ]; then options=\"$options --setopt=skip_missing_names_on_install=0\"; fi\n"
      "$tool $options install \"$@\"\n";
  RunStep step = make_step(kCommand, packages, epoch);
  step.binds = {{folders.cache, "/run/kiln/packages", false}};
  return step;
}

constexpr const char* kLists = "lists";

// apt's own folders and its lock belong to one run.
std::map<std::string, fs::path> files_of_lists(const fs::path& lists) {
  std::map<std::string, fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(lists, error)) {
    const std::string name = entry.path().filename();
    if (fs::is_regular_file(entry.symlink_status()) && name != "lock") files.emplace(name, entry.path());
  }
  return files;
}

// The other lists follow from the releases: those hold their digests.
bool same_lists(const std::map<std::string, fs::path>& a, const std::map<std::string, fs::path>& b) {
  const auto same = [](const auto& left, const auto& right) {
    return left.first == right.first && (!left.first.ends_with("Release") || read_file(left.second) == read_file(right.second));
  };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), same);
}

}  // namespace

void bring_lists(const fs::path& cache, const fs::path& lists) {
  make_folder(lists);
  for (const auto& [name, file] : files_of_lists(cache / kLists)) fs::copy_file(file, lists / name);
}

void keep_lists(const fs::path& lists, const fs::path& cache) {
  const auto made = files_of_lists(lists);
  if (same_lists(made, files_of_lists(cache / kLists))) return;
  // Synced before they have their name: apt would take a list that a power failure cut for a whole one.
  const fs::path part = cache / "lists.part";
  fs::remove_all(part);
  make_folder(part);
  try {
    for (const auto& [name, file] : made) write_file_atomically(part / name, read_file(file));
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(part, ignored);
    throw;
  }
  fs::remove_all(cache / kLists);
  fs::rename(part, cache / kLists);
}

bool has_program(const std::string& file_list, const char* program) {
  const std::string end = fmt::format("bin/{}\n", program);
  return file_list.find(" usr/" + end) != std::string::npos || file_list.find(" " + end) != std::string::npos;
}

std::string find_package_family(const std::string& file_list) {
  if (has_program(file_list, "apt-get")) return "debian";
  for (const char* program : {"dnf5", "dnf", "microdnf", "yum"}) {
    if (has_program(file_list, program)) return "rpm";
  }
  return {};
}

RunStep package_step(const std::string& family, const std::vector<std::string>& packages, const PackageFolders& folders,
                     std::int64_t epoch) {
  if (family == "debian") {
    make_folder(folders.work / "partial");
    make_folder(folders.cache / "partial");
    return debian_step(packages, folders, epoch);
  }
  make_folder(folders.cache);
  return rpm_step(packages, folders, epoch);
}

}  // namespace kiln::bake
