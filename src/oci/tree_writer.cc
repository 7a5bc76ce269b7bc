#include "oci/tree_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::oci {

namespace {

constexpr int kMostLinks = 40;           // on the way to one path: the kernel's own number
constexpr std::size_t kMostDepth = 200;  // folders in folders; removing them takes a descriptor for each
constexpr std::size_t kMostPath = 3500;  // the kernel's limit of 4096 bytes, less where the store lies
constexpr mode_t kModeBits = 07777;
constexpr std::int64_t kNobody = 0xffffffff;  // to the kernel: leave the owner as it is

struct DirClose {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

std::deque<std::string> names_of(const std::string& path) {
  std::deque<std::string> names;
  for (auto& name : split(path, '/')) {
    if (!name.empty() && name != ".") names.push_back(std::move(name));
  }
  return names;
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Fd open_folder(int at, const std::string& name) { return Fd(::openat(at, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)); }

std::vector<std::string> list(int at, const std::string& name) {
  const int fd = ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const std::unique_ptr<DIR, DirClose> folder(fd < 0 ? nullptr : ::fdopendir(fd));
  if (!folder) fail("cannot read the folder '{}': {}", name, errno_text(errno));
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string found = entry->d_name;
    if (found != "." && found != "..") names.push_back(found);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void remove_below(int at, const std::string& name) {
  if (::unlinkat(at, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) fail("cannot remove '{}': {}", name, errno_text(errno));
  const Fd folder = open_folder(at, name);
  if (!folder) fail("cannot remove '{}': {}", name, errno_text(errno));
  for (const auto& below : list(at, name)) remove_below(folder.get(), below);
  if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) != 0) fail("cannot remove the folder '{}': {}", name, errno_text(errno));
}

timespec time_of(archive_entry* entry) { return {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)}; }

void write_all(int file, const char* bytes, std::size_t count, std::int64_t offset, const std::string& path) {
  while (count > 0) {
    const ssize_t written = ::pwrite(file, bytes, count, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write '{}': {}", path, errno_text(errno));
    bytes += written;
    offset += written;
    count -= static_cast<std::size_t>(written);
  }
}

}  // namespace

WriteLimits limits_by_free_space(const fs::path& folder) {
  struct statvfs room {};
  if (::statvfs(folder.c_str(), &room) != 0) fail("cannot look at '{}': {}", folder.native(), errno_text(errno));
  WriteLimits limits;
  limits.data_bytes = static_cast<std::int64_t>(room.f_bavail) * static_cast<std::int64_t>(room.f_frsize);
  return limits;
}

struct TreeWriter::State {
  fs::path folder;
  WriteLimits limits;
  bool owners = true;
  Fd root;
  std::int64_t written_bytes = 0;
  std::map<std::string, timespec> folder_times;
  // The folder that was walked to last: archives list a folder's files one after the other.
  std::string walked, walked_parent;
  Fd walked_fd;

  void forget() { walked_fd.reset(); }
  // The folder at a path without links.
  Fd open_parent(const std::string& path);
  Fd copy_of_root() const {
    Fd copy(::fcntl(root.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) fail("cannot copy a descriptor: {}", errno_text(errno));
    return copy;
  }
  Fd walk(std::deque<std::string> names, std::vector<std::string>& at);
  void step_back(std::vector<std::string>& at, Fd& here);
  void write_file(ArchiveReader& reader, archive_entry* entry, int at, const std::string& path);
  void link(archive_entry* entry, int at, const std::string& path, const std::string& target);
  void set_attributes(int file, archive_entry* entry, const std::string& path) const;
  void set_owner(archive_entry* entry, int at, const std::string& path) const;
};

TreeWriter::TreeWriter(const fs::path& folder, const WriteLimits& limits, bool owners) : state_(std::make_unique<State>()) {
  state_->folder = folder;
  state_->limits = limits;
  state_->owners = owners;
  state_->root = Fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!state_->root) fail("cannot open the folder '{}': {}", folder.native(), errno_text(errno));
}

TreeWriter::~TreeWriter() = default;

void TreeWriter::State::step_back(std::vector<std::string>& at, Fd& here) {
  if (at.empty()) return;  // the image's root is its own parent
  at.pop_back();
  here = copy_of_root();
  for (const auto& name : at) {
    here = open_folder(here.get(), name);
    if (!here) fail("cannot open '{}': {}", name, errno_text(errno));
  }
}

// Walks `names`, from the root; `at` gets the names of the real way. Folders that lack are made.
Fd TreeWriter::State::walk(std::deque<std::string> names, std::vector<std::string>& at) {
  Fd here = copy_of_root();
  const std::string whole = join({names.begin(), names.end()}, "/");
  for (int links = 0; !names.empty();) {
    const std::string name = names.front();
    names.pop_front();
    if (name == "..") {
      step_back(at, here);
      continue;
    }
    Fd next = open_folder(here.get(), name);
    if (!next && errno == ENOENT) {
      if (::mkdirat(here.get(), name.c_str(), 0755) != 0) fail("cannot make the folder '{}': {}", name, errno_text(errno));
      next = open_folder(here.get(), name);
    }
    if (next) {
      here = std::move(next);
      at.push_back(name);
      if (at.size() > kMostDepth) fail("'{}…' lies more than {} folders deep", whole.substr(0, 100), kMostDepth);
      continue;
    }
    std::string target(kMostPath + 1, '\0');
    const ssize_t length = ::readlinkat(here.get(), name.c_str(), target.data(), target.size());
    if (length < 0) fail("'{}' leads through '{}', which is no folder", whole, name);
    if (++links > kMostLinks) fail("'{}' leads through links in a circle", whole);
    target.resize(static_cast<std::size_t>(length));
    if (target.starts_with('/')) {
      at.clear();
      here = copy_of_root();
    }
    const auto way = names_of(target);
    names.insert(names.begin(), way.begin(), way.end());
  }
  return here;
}

std::string TreeWriter::resolve(const std::string& path) {
  auto names = names_of(path);
  if (std::find(names.begin(), names.end(), "..") != names.end()) fail("the entry '{}' leads out of the archive", path);
  if (names.empty()) return {};
  const std::string last = names.back();
  names.pop_back();
  const std::string parent = join({names.begin(), names.end()}, "/");
  if (!state_->walked_fd || state_->walked != parent) {
    std::vector<std::string> at;
    state_->walked_fd = state_->walk(names, at);
    state_->walked = parent;
    state_->walked_parent = join(at, "/");
  }
  const std::string real = state_->walked_parent.empty() ? last : state_->walked_parent + "/" + last;
  if (real.size() > kMostPath) fail("the path '{}…' is longer than {} bytes", real.substr(0, 100), kMostPath);
  return real;
}

Fd TreeWriter::State::open_parent(const std::string& path) {
  if (walked_fd && walked_parent == parent_of(path)) {
    Fd copy(::fcntl(walked_fd.get(), F_DUPFD_CLOEXEC, 3));
    if (copy) return copy;
  }
  Fd here = copy_of_root();
  for (const auto& name : names_of(parent_of(path))) {
    here = open_folder(here.get(), name);
    if (!here) fail("cannot open the folder of '{}': {}", path, errno_text(errno));
  }
  return here;
}

void TreeWriter::State::set_owner(archive_entry* entry, int at, const std::string& path) const {
  if (!owners) return;
  const auto user = archive_entry_uid(entry), group = archive_entry_gid(entry);
  if (user < 0 || group < 0 || user >= kNobody || group >= kNobody)
    fail("'{}' belongs to user {} and group {}, which cannot be", path, user, group);
  if (::fchownat(at, name_of(path).c_str(), static_cast<uid_t>(user), static_cast<gid_t>(group), AT_SYMLINK_NOFOLLOW) == 0) return;
  Error error(fmt::format("cannot give '{}' to user {} and group {}: {}", path, user, group, errno_text(errno)));
  if (errno == EINVAL) error.set_hint("an ordinary user's subordinate ids (/etc/subuid, /etc/subgid) don't reach so far");
  throw error;
}

void TreeWriter::State::set_attributes(int file, archive_entry* entry, const std::string& path) const {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    const std::string_view text = name == nullptr ? "" : name;
    const bool capability = text == "security.capability";
    if (!(capability && owners) && (!text.starts_with("user.") || text.starts_with("user.overlay."))) continue;
    if (::fsetxattr(file, name, value, size, 0) == 0 || (!capability && errno == ENOTSUP)) continue;
    fail("cannot set the attribute '{}' of '{}': {}", text, path, errno_text(errno));
  }
}

void TreeWriter::State::write_file(ArchiveReader& reader, archive_entry* entry, int at, const std::string& path) {
  const std::int64_t size_bytes = archive_entry_size(entry);
  if (size_bytes > limits.file_bytes) fail("'{}' would be {} large: refused", path, human_size(static_cast<std::uintmax_t>(size_bytes)));
  const Fd file(::openat(at, name_of(path).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) fail("cannot make '{}': {}", path, errno_text(errno));
  const void* bytes = nullptr;
  std::size_t count = 0;
  std::int64_t offset = 0, end = 0;
  while (reader.read_block(bytes, count, offset)) {
    written_bytes += static_cast<std::int64_t>(count);
    if (written_bytes > limits.data_bytes) fail("cannot write '{}': {}", path, errno_text(ENOSPC));
    if (offset < 0 || offset > limits.file_bytes - static_cast<std::int64_t>(count)) fail("'{}' has data at an impossible place", path);
    write_all(file.get(), static_cast<const char*>(bytes), count, offset, path);
    end = std::max(end, offset + static_cast<std::int64_t>(count));
  }
  // A hole at the end.
  if (size_bytes > end && ::ftruncate(file.get(), size_bytes) != 0) fail("cannot write '{}': {}", path, errno_text(errno));
  set_owner(entry, at, path);
  if (::fchmod(file.get(), archive_entry_perm(entry) & kModeBits) != 0) fail("cannot set the mode of '{}': {}", path, errno_text(errno));
  set_attributes(file.get(), entry, path);
  const timespec times[2] = {time_of(entry), time_of(entry)};
  ::futimens(file.get(), times);
}

// `target`: where the other name is, by resolve().
void TreeWriter::State::link(archive_entry* entry, int at, const std::string& path, const std::string& target) {
  const Fd there = open_parent(target);
  struct stat status {};
  if (target.empty() || ::fstatat(there.get(), name_of(target).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(status.st_mode))
    fail("'{}' is a hard link to '{}', which is no file of the image", path, archive_entry_hardlink(entry));
  if (target == path) return;
  remove_below(at, name_of(path));
  if (::linkat(there.get(), name_of(target).c_str(), at, name_of(path).c_str(), 0) != 0)
    fail("cannot link '{}' to '{}': {}", path, target, errno_text(errno));
}

bool TreeWriter::write(ArchiveReader& reader, archive_entry* entry, const std::string& path) {
  const auto type = archive_entry_filetype(entry);
  const char* other_name = archive_entry_hardlink(entry);
  if (path.empty()) {
    if (type != AE_IFDIR) return false;
    state_->set_owner(entry, state_->root.get(), ".");
    if (::fchmodat(state_->root.get(), ".", archive_entry_perm(entry) & kModeBits, 0) != 0)
      fail("cannot set the mode of '/': {}", errno_text(errno));
    state_->folder_times["."] = time_of(entry);
    return true;
  }
  if (other_name == nullptr && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK && type != AE_IFIFO) return false;
  const std::string target = other_name != nullptr ? resolve(other_name) : std::string();
  const std::string name = name_of(path);
  const Fd at = state_->open_parent(path);
  struct stat there {};
  const bool is_there = ::fstatat(at.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (is_there && !S_ISREG(there.st_mode)) state_->forget();
  if (other_name != nullptr) {
    state_->link(entry, at.get(), path, target);
    return true;
  }
  const timespec times[2] = {time_of(entry), time_of(entry)};
  if (type == AE_IFDIR) {
    if (!is_there || !S_ISDIR(there.st_mode)) {
      if (is_there) remove_below(at.get(), name);
      if (::mkdirat(at.get(), name.c_str(), 0700) != 0) fail("cannot make the folder '{}': {}", path, errno_text(errno));
    }
    state_->set_owner(entry, at.get(), path);
    const Fd folder(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (folder) state_->set_attributes(folder.get(), entry, path);
    // The last step of all for a folder that its owner may not search; it is a folder, no link that would be followed.
    if (::fchmodat(at.get(), name.c_str(), archive_entry_perm(entry) & kModeBits, 0) != 0)
      fail("cannot set the mode of '{}': {}", path, errno_text(errno));
    state_->folder_times[path] = times[0];
    return true;
  }
  if (is_there) remove_below(at.get(), name);
  if (type == AE_IFREG) {
    state_->write_file(reader, entry, at.get(), path);
    return true;
  }
  if (type == AE_IFLNK) {
    const char* leads_to = archive_entry_symlink(entry);
    if (leads_to == nullptr || *leads_to == '\0') fail("'{}' is a link to nothing", path);
    if (::symlinkat(leads_to, at.get(), name.c_str()) != 0) fail("cannot make the link '{}': {}", path, errno_text(errno));
    state_->set_owner(entry, at.get(), path);
  } else {
    if (::mkfifoat(at.get(), name.c_str(), 0600) != 0) fail("cannot make '{}': {}", path, errno_text(errno));
    state_->set_owner(entry, at.get(), path);
    ::fchmodat(at.get(), name.c_str(), archive_entry_perm(entry) & kModeBits, 0);
  }
  ::utimensat(at.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW);
  return true;
}

void TreeWriter::remove(const std::string& path) {
  if (path.empty()) fail("an image's root cannot be removed");
  const Fd at = state_->open_parent(path);
  state_->forget();
  remove_below(at.get(), name_of(path));
}

void TreeWriter::hide(const std::string& path) {
  if (path.empty()) fail("an image's root cannot be hidden");
  const Fd at = state_->open_parent(path);
  state_->forget();
  remove_below(at.get(), name_of(path));
  if (::mknodat(at.get(), name_of(path).c_str(), S_IFCHR, ::makedev(0, 0)) != 0) fail("cannot hide '{}': {}", path, errno_text(errno));
}

void TreeWriter::hide_all(const std::string& folder) {
  const Fd at = state_->open_parent(folder);
  const Fd file(::openat(at.get(), folder.empty() ? "." : name_of(folder).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!file || ::fsetxattr(file.get(), "user.overlay.opaque", "y", 1, 0) != 0)
    fail("cannot hide what is in '{}': {}", folder, errno_text(errno));
}

std::vector<std::string> TreeWriter::names_in(const std::string& path) {
  if (path.empty()) return list(state_->root.get(), ".");
  const Fd at = state_->open_parent(path);
  return list(at.get(), name_of(path));
}

bool TreeWriter::is_folder(const std::string& path) {
  if (path.empty()) return true;
  const Fd at = state_->open_parent(path);
  struct stat status {};
  return ::fstatat(at.get(), name_of(path).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

void TreeWriter::finish() {
  state_->forget();
  for (const auto& [path, time] : state_->folder_times) {
    const timespec times[2] = {time, time};
    Fd here = state_->copy_of_root();
    for (const auto& name : names_of(parent_of(path))) {
      if (here) here = open_folder(here.get(), name);
    }
    // It may have been taken away, or be no folder any more.
    if (here) ::utimensat(here.get(), name_of(path).c_str(), times, AT_SYMLINK_NOFOLLOW);
  }
}

}  // namespace kiln::oci
