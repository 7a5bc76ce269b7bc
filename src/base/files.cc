#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "base/interrupt.h"

namespace kiln {

namespace {

// Nothing when it is a file of /proc whose process has ended since it was opened.
std::optional<std::string> read_all(int fd, const fs::path& path) {
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == ESRCH) return std::nullopt;
    if (count < 0) fail("cannot read '{}': {}", path.native(), errno_text(errno));
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
  }
}

void write_all(int fd, std::string_view content, const fs::path& path) {
  while (!content.empty()) {
    const ssize_t count = ::write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write '{}': {}", path.native(), errno_text(errno));
    content.remove_prefix(static_cast<std::size_t>(count));
  }
}

Fd open_lock_file(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) fail("cannot open the lock '{}': {}", path.native(), errno_text(errno));
  return fd;
}

}  // namespace

std::optional<std::string> read_file_if_there(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    // ESRCH: a file of /proc whose process has just ended.
    if (errno == ENOENT || errno == ENOTDIR || errno == ESRCH) return std::nullopt;
    fail("cannot open '{}': {}", path.native(), errno_text(errno));
  }
  return read_all(fd.get(), path);
}

std::string read_file(const fs::path& path) {
  auto content = read_file_if_there(path);
  if (!content) fail("cannot open '{}': {}", path.native(), errno_text(ENOENT));
  return std::move(*content);
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  // Not a range-for: its increment throws where somebody else removes the folder meanwhile.
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) entries.push_back(entry->path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

void write_file_atomically(const fs::path& path, std::string_view content, mode_t mode) {
  // The name tells who made it: a leftover after a crash is recognised by its suffix and never read.
  std::string temporary = path.native() + ".XXXXXX";
  const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) fail("cannot make a file beside '{}': {}", path.native(), errno_text(errno));
  try {
    write_all(fd.get(), content, temporary);
    if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) fail("cannot write '{}': {}", temporary, errno_text(errno));
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail("cannot replace '{}': {}", path.native(), errno_text(errno));
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

OutputFile::OutputFile(const fs::path& path, mode_t mode)
    : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)) {
  if (!fd_) fail("cannot make '{}': {}", path_.native(), errno_text(errno));
}

void OutputFile::write(std::string_view bytes) { write_all(fd_.get(), bytes, path_.native()); }

void OutputFile::sync() {
  if (::fdatasync(fd_.get()) != 0) fail("cannot write '{}': {}", path_.native(), errno_text(errno));
}

void make_folder(const fs::path& path, mode_t mode) {
  if (path.empty() || fs::is_directory(path)) return;
  make_folder(path.parent_path());
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) fail("cannot make the folder '{}': {}", path.native(), errno_text(errno));
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (!error) return;
  // A folder without write permission (some packages ship such): open them up, then try once more.
  for (auto it = fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
       it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (error) break;
    if (it->is_directory(error) && !it->is_symlink(error)) ::chmod(it->path().c_str(), 0700);
  }
  ::chmod(path.c_str(), 0700);
  fs::remove_all(path, error);
  if (error) fail("cannot remove '{}': {}", path.native(), error.message());
}

FileLock FileLock::wait(const fs::path& path, Mode mode) {
  Fd fd = open_lock_file(path);
  const int operation = mode == Mode::kShared ? LOCK_SH : LOCK_EX;
  while (::flock(fd.get(), operation) != 0) {
    if (errno != EINTR) fail("cannot lock '{}': {}", path.native(), errno_text(errno));
    throw_if_interrupted();
  }
  return FileLock(std::move(fd));
}

std::optional<FileLock> FileLock::try_now(const fs::path& path, Mode mode) {
  Fd fd = open_lock_file(path);
  const int operation = (mode == Mode::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  while (::flock(fd.get(), operation) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR) fail("cannot lock '{}': {}", path.native(), errno_text(errno));
  }
  return FileLock(std::move(fd));
}

TemporaryFolder::TemporaryFolder(const fs::path& parent, std::string_view prefix) {
  std::string name = (parent / (std::string(prefix) + "XXXXXX")).native();
  if (::mkdtemp(name.data()) == nullptr) fail("cannot make a folder in '{}': {}", parent.native(), errno_text(errno));
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  if (path_.empty()) return;
  try {
    remove_tree(path_);
  } catch (const Error&) {
    // Nothing to be done in a destructor; `kiln gc` finds what is left.
  }
}

fs::path TemporaryFolder::release() {
  fs::path path;
  std::swap(path, path_);
  return path;
}

std::string human_size(std::uintmax_t size_bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(size_bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", size_bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace kiln
