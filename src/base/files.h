// Files as kiln uses them: whole reads, atomic writes, locks that die with their process, folders that remove themselves.
// All of them throw Error("cannot … 'path': reason").
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace kiln {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path);
// The content, or nothing when there is no such file: also not any more, as with /proc of a process that ends while it is read.
std::optional<std::string> read_file_if_there(const fs::path& path);

// What is in the folder, sorted; none when it is absent or cannot be read, and those seen so far when it is removed meanwhile.
std::vector<fs::path> list_folder(const fs::path& folder);

// Writes a new file beside `path`, syncs it and renames it into place: a reader sees the old or the new content, never a part.
void write_file_atomically(const fs::path& path, std::string_view content, mode_t mode = 0644);

// A new file, written piece by piece; one that is there already is an error. If its writer dies it stays as far as it came: write
// aside, and rename.
class OutputFile {
 public:
  explicit OutputFile(const fs::path& path, mode_t mode = 0644);
  void write(std::string_view bytes);
  void sync();

 private:
  fs::path path_;
  Fd fd_;
};

// Makes the folder and its parents; an existing one is fine. `mode` is for the last one, when it is made.
void make_folder(const fs::path& path, mode_t mode = 0755);

// Removes the tree, also one with folders that its owner may not write; what is absent is fine. Does not follow links.
void remove_tree(const fs::path& path);

// An advisory lock (flock) on a file that stays; the kernel frees it when the process dies, so it is never stale.
// Children started with close-on-exec descriptors don't inherit it.
class FileLock {
 public:
  enum class Mode { kShared, kExclusive };
  // Waits for the lock; Interrupted when the user gives up.
  static FileLock wait(const fs::path& path, Mode mode = Mode::kExclusive);
  // Nothing when somebody else has it.
  static std::optional<FileLock> try_now(const fs::path& path, Mode mode = Mode::kExclusive);
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = default;

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// A new folder `<parent>/<prefix>XXXXXX`, removed at the end of its scope unless released.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& parent = fs::temp_directory_path(), std::string_view prefix = "kiln-");
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();
  const fs::path& path() const { return path_; }
  fs::path release();

 private:
  fs::path path_;
};

// 3 → "3 B", 1536 → "1.5 KiB", …
std::string human_size(std::uintmax_t size_bytes);

}  // namespace kiln
