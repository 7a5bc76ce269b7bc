#include "bake/layer_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "bake/accounts.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

// Removing in a layer shows what is below again; where that is nothing, the path is gone.
void remove_in(const fs::path& files, const std::string& path) {
  if (const auto place = place_in(files, path)) remove_tree(*place);
}

template <class Which>
void remove_entries(const fs::path& files, const std::string& folder, Which which) {
  const auto place = place_in(files, folder);
  if (!place || !is_real_folder(*place)) return;
  std::vector<fs::path> doomed;
  for (const auto& entry : fs::directory_iterator(*place)) {
    if (which(entry)) doomed.push_back(entry.path());
  }
  for (const auto& path : doomed) remove_tree(path);
}

void visit(const fs::path& files, const std::function<void(const fs::path&, const struct stat&)>& visitor) {
  for (const auto& entry : fs::recursive_directory_iterator(files)) {
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0) fail("cannot look at '{}': {}", entry.path().native(), errno_text(errno));
    visitor(entry.path(), status);
  }
}

// user.overlay.origin, .impure, .uuid …: how this overlay mount found its way, different each time.
void remove_private_marks(const fs::path& path) {
  char names[4096];
  const ssize_t length = ::llistxattr(path.c_str(), names, sizeof names);
  if (length <= 0) return;
  static const std::set<std::string_view> kKept = {"user.overlay.opaque", "user.overlay.whiteout", "user.overlay.whiteouts",
                                                   "user.overlay.redirect", "user.overlay.metacopy"};
  for (const char* name = names; name < names + length; name += std::string_view(name).size() + 1) {
    const std::string_view text(name);
    if ((text.starts_with("user.overlay.") || text.starts_with("trusted.overlay.")) && kKept.count(text) == 0)
      ::lremovexattr(path.c_str(), name);
  }
}

std::string escape_path(const std::string& path) {
  if (path.find_first_of("\n\\") == std::string::npos) return path;
  std::string escaped;
  for (const char c : path) {
    if (c == '\n')
      escaped += "\\n";
    else if (c == '\\')
      escaped += "\\\\";
    else
      escaped += c;
  }
  return escaped;
}

std::string unescape_path(std::string_view text) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size())
      path += text[++i] == 'n' ? '\n' : text[i];
    else
      path += text[i];
  }
  return path;
}

bool same_content(const fs::path& a, const fs::path& b) {
  std::ifstream first(a, std::ios::binary), second(b, std::ios::binary);
  if (!first || !second) fail("cannot compare '{}' and '{}'", a.native(), b.native());
  std::vector<char> left(1 << 16), right(1 << 16);
  for (;;) {
    first.read(left.data(), static_cast<std::streamsize>(left.size()));
    second.read(right.data(), static_cast<std::streamsize>(right.size()));
    if (first.gcount() != second.gcount()) return false;
    if (first.gcount() == 0) return true;
    if (!std::equal(left.begin(), left.begin() + first.gcount(), right.begin())) return false;
  }
}

}  // namespace

bool is_real_folder(const fs::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::optional<fs::path> place_in(const fs::path& files, const std::string& path) {
  fs::path at = files;
  for (const auto& part : fs::path(path)) {
    if (!is_real_folder(at)) return std::nullopt;
    at /= part;
  }
  return at;
}

void remove_leftovers(const fs::path& files, Leftovers kind) {
  if (kind == Leftovers::kBase) {
    for (const char* folder : {"run", "tmp", "var/tmp"}) remove_entries(files, folder, [](const auto&) { return true; });
  } else {
    for (const char* folder : {"run", "tmp", "var/tmp"}) remove_in(files, folder);  // the base has them
  }
  // Caches of programs, and the linker's, which holds the times at which it looked.
  for (const char* path : {"root/.cache", "var/cache/ldconfig/aux-cache"}) remove_in(files, path);
  // passwd-, shadow- …: what the files were before the last change.
  remove_entries(files, "etc", [](const auto& entry) { return entry.path().filename().native().ends_with('-') && !entry.is_directory(); });
  for (const char* path : {"etc/resolv.conf", "etc/hostname", "etc/.pwd.lock"}) {
    std::error_code error;
    if (!fs::is_symlink(files / path, error)) remove_in(files, path);
  }
  if (kind == Leftovers::kModule) return;

  for (const char* path : {"var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin", "var/cache/debconf/config.dat-old",
                           "var/cache/debconf/templates.dat-old", "var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old",
                           "var/lib/dpkg/statoverride-old", "var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend", "var/lib/dbus/machine-id",
                           "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/cache/dnf", "var/cache/libdnf5",
                           "var/cache/yum", "var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock"}) {
    remove_in(files, path);
  }
  // What a transaction notes about itself; what a base's maker did is not ours to remove.
  if (kind == Leftovers::kPackages) {
    for (const char* path : {"var/lib/dnf", "var/lib/yum/history"}) remove_in(files, path);
    remove_entries(files, "usr/lib/sysimage/libdnf5",
                   [](const auto& entry) { return entry.path().filename().native().starts_with("transaction_history"); });
  }
  for (const char* folder : {"var/lib/apt/lists", "var/cache/apt/archives"})
    remove_entries(files, folder, [](const auto&) { return true; });
  // Host keys must be each machine's own: an image with keys gives them to whoever has the image.
  remove_entries(files, "etc/ssh", [](const auto& entry) { return entry.path().filename().native().starts_with("ssh_host_"); });
  std::vector<fs::path> logs;
  if (const auto place = place_in(files, "var/log"); place && is_real_folder(*place)) {
    visit(*place, [&](const fs::path& path, const struct stat& status) {
      if (S_ISREG(status.st_mode) && status.st_size > 0) logs.push_back(path);
    });
  }
  for (const auto& log : logs) remove_tree(log);
  // systemd-resolved keeps what the sandbox had.
  remove_in(files, "etc/.resolv.conf.systemd-resolved.bak");
  // The first boot makes a new one, and an empty file says that this may happen (machine-id(5)).
  const auto machine_id = place_in(files, "etc/machine-id");
  if (machine_id && fs::is_regular_file(fs::symlink_status(*machine_id)) && ::truncate(machine_id->c_str(), 0) != 0)
    fail("cannot empty '{}': {}", machine_id->native(), errno_text(errno));
}

void clamp_times(const fs::path& files, std::int64_t epoch) {
  const auto clamp = [&](const fs::path& path, const struct stat& status) {
    remove_private_marks(path);
    if (status.st_mtim.tv_sec < epoch) return;
    const timespec times[2] = {{epoch, 0}, {epoch, 0}};
    if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0 && !S_ISCHR(status.st_mode)) {
      fail("cannot set the time of '{}': {}", path.native(), errno_text(errno));
    }
  };
  visit(files, clamp);
  struct stat status {};
  if (::lstat(files.c_str(), &status) == 0) clamp(files, status);
}

std::vector<ListedFile> list_files(const fs::path& files) {
  std::vector<ListedFile> list;
  std::set<std::pair<dev_t, ino_t>> linked;
  visit(files, [&](const fs::path& path, const struct stat& status) {
    ListedFile file;
    file.path = path.native().substr(files.native().size() + 1);
    if (S_ISREG(status.st_mode)) {
      // A file with several names takes its place once.
      if (status.st_nlink == 1 || linked.insert({status.st_dev, status.st_ino}).second) file.size_bytes = status.st_size;
    } else if (S_ISDIR(status.st_mode)) {
      file.type = 'd';
    } else if (S_ISLNK(status.st_mode)) {
      file.type = 'l';
    } else {
      file.type = S_ISCHR(status.st_mode) && status.st_rdev == ::makedev(0, 0) ? 'w' : 'o';
    }
    list.push_back(std::move(file));
  });
  std::sort(list.begin(), list.end(), [](const ListedFile& a, const ListedFile& b) { return a.path < b.path; });
  return list;
}

std::string write_list(const std::vector<ListedFile>& list) {
  std::string text;
  for (const auto& file : list) text += fmt::format("{} {} {}\n", file.type, file.size_bytes, escape_path(file.path));
  return text;
}

std::vector<ListedFile> read_list(const std::string& text) {
  std::vector<ListedFile> list;
  for (std::size_t start = 0, end; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    const std::string_view line(text.data() + start, end - start);
    ListedFile file;
    const std::size_t space = line.find(' ', 2);
    if (line.size() < 5 || line[1] != ' ' || space == std::string_view::npos) fail("a list of files is damaged at '{}'", line);
    file.type = line[0];
    std::from_chars(line.data() + 2, line.data() + space, file.size_bytes);
    file.path = unescape_path(line.substr(space + 1));
    list.push_back(std::move(file));
  }
  return list;
}

std::vector<Conflict> possible_conflicts(const std::vector<ModuleFiles>& modules) {
  std::vector<Conflict> conflicts;
  std::map<std::string_view, std::vector<std::pair<std::size_t, char>>> writers;
  const auto is_above = [&](std::size_t a, std::size_t b) {
    const auto& below = modules[a].requires_modules;
    return std::find(below.begin(), below.end(), modules[b].module) != below.end();
  };
  for (std::size_t i = 0; i < modules.size(); ++i) {
    for (const auto& file : modules[i].list) {
      auto& earlier = writers[file.path];
      for (const auto& [other, type] : earlier) {
        if ((file.type == 'd' && type == 'd') || is_above(i, other) || is_above(other, i) || is_account_file(file.path)) continue;
        conflicts.push_back({modules[other].module, modules[i].module, file.path});
      }
      earlier.emplace_back(i, file.type);
    }
  }
  return conflicts;
}

LayerSize seal_layer(const fs::path& work) {
  const fs::path files = work / "fs";
  const auto list = list_files(files);
  write_file_atomically(work / "files", write_list(list));
  const Fd folder(::open(files.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::syncfs(folder.get()) != 0) fail("cannot write '{}': {}", files.native(), errno_text(errno));
  LayerSize size;
  for (const auto& file : list) {
    size.size_bytes += file.size_bytes;
    size.files += file.type != 'd';
  }
  return size;
}

bool same_file(const fs::path& a, const fs::path& b) {
  struct stat first {
  }, second{};
  if (::lstat(a.c_str(), &first) != 0 || ::lstat(b.c_str(), &second) != 0) return false;
  if (first.st_mode != second.st_mode || first.st_uid != second.st_uid || first.st_gid != second.st_gid) return false;
  if (S_ISLNK(first.st_mode)) return fs::read_symlink(a) == fs::read_symlink(b);
  if (S_ISREG(first.st_mode)) return first.st_size == second.st_size && same_content(a, b);
  return first.st_rdev == second.st_rdev;
}

}  // namespace kiln::bake
