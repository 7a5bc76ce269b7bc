#include "image/tar_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "image/gzip_writer.h"

namespace kiln::image {

namespace {

struct WriteFree {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct EntryFree {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using Writer = std::unique_ptr<archive, WriteFree>;
using Entry = std::unique_ptr<archive_entry, EntryFree>;

// libarchive is C: what a sink throws waits until its call has returned.
struct Sink {
  ByteSink sink;
  std::exception_ptr thrown;
};

la_ssize_t pass_on(archive*, void* data, const void* bytes, std::size_t size) {
  auto* target = static_cast<Sink*>(data);
  try {
    target->sink({static_cast<const char*>(bytes), size});
    return static_cast<la_ssize_t>(size);
  } catch (...) {
    target->thrown = std::current_exception();
    return -1;
  }
}

void check(int result, archive* writer, Sink& sink, const std::string& what) {
  if (result >= ARCHIVE_WARN) return;
  if (sink.thrown) std::rethrow_exception(std::exchange(sink.thrown, nullptr));
  const char* words = archive_error_string(writer);
  fail("cannot write {}: {}", what, words == nullptr ? "unknown error" : words);
}

// Blocks of the size it is given in: no padding at the end.
Writer open_writer(Sink& sink, int (*format)(archive*), const std::string& filter) {
  Writer writer(archive_write_new());
  check(format(writer.get()), writer.get(), sink, "an archive");
  if (!filter.empty()) {
    check(archive_write_add_filter_by_name(writer.get(), filter.c_str()), writer.get(), sink, filter);
    if (filter == "zstd") archive_write_set_filter_option(writer.get(), "zstd", "compression-level", "3");
  }
  constexpr int kBlockBytes = 1 << 16;
  archive_write_set_bytes_per_block(writer.get(), kBlockBytes);
  archive_write_set_bytes_in_last_block(writer.get(), 1);
  check(archive_write_open2(writer.get(), &sink, nullptr, pass_on, nullptr, nullptr), writer.get(), sink, "an archive");
  return writer;
}

struct Found {
  std::string path;  // relative
  struct stat status {};
};

std::vector<Found> walk(const fs::path& folder) {
  std::vector<Found> found;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    Found one{it->path().lexically_relative(folder).native(), {}};
    if (::lstat(it->path().c_str(), &one.status) != 0) fail("cannot look at '{}': {}", it->path().native(), errno_text(errno));
    found.push_back(std::move(one));
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.path < b.path; });
  return found;
}

bool is_whiteout(const struct stat& status) { return S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0); }

bool is_opaque(const fs::path& path) {
  for (const char* name : {"user.overlay.opaque", "trusted.overlay.opaque"}) {
    char value = 0;
    if (::lgetxattr(path.c_str(), name, &value, 1) == 1 && value == 'y') return true;
  }
  return false;
}

// File capabilities and what users set; not what overlayfs notes for itself.
void add_xattrs(archive_entry* entry, const fs::path& path) {
  char names[8192];
  const ssize_t length = ::llistxattr(path.c_str(), names, sizeof names);
  if (length <= 0) return;
  std::map<std::string, std::string> kept;  // sorted: the kernel's order is its own affair
  for (const char* name = names; name < names + length; name += std::string_view(name).size() + 1) {
    const std::string_view text = name;
    if (text != "security.capability" && (!text.starts_with("user.") || text.starts_with("user.overlay."))) continue;
    std::string value(65536, '\0');
    const ssize_t size = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    if (size >= 0) kept.emplace(text, value.substr(0, static_cast<std::size_t>(size)));
  }
  // libarchive writes them in the reverse of the order they were added in.
  for (auto it = kept.rbegin(); it != kept.rend(); ++it) {
    archive_entry_xattr_add_entry(entry, it->first.c_str(), it->second.data(), it->second.size());
  }
}

}  // namespace

// --- compressor ---

struct Compressor::State {
  Sink sink;
  std::string filter;
  Writer writer;
  std::optional<GzipWriter> gzip;
  State(std::string name, ByteSink bytes) : sink{std::move(bytes), nullptr}, filter(std::move(name)) {}
};

Compressor::Compressor(const std::string& filter, ByteSink sink) : state_(std::make_unique<State>(filter, std::move(sink))) {
  if (filter.empty()) return;
  if (filter == "gzip") {
    state_->gzip.emplace(state_->sink.sink);
    return;
  }
  state_->writer = open_writer(state_->sink, archive_write_set_format_raw, filter);
  const Entry entry(archive_entry_new());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  check(archive_write_header(state_->writer.get(), entry.get()), state_->writer.get(), state_->sink, filter);
}

Compressor::~Compressor() = default;

void Compressor::write(std::string_view bytes) {
  if (state_->gzip) return state_->gzip->write(bytes);
  if (!state_->writer) return state_->sink.sink(bytes);
  if (archive_write_data(state_->writer.get(), bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size()))
    check(ARCHIVE_FATAL, state_->writer.get(), state_->sink, state_->filter);
}

void Compressor::finish() {
  if (state_->gzip) state_->gzip->finish();
  if (state_->writer) check(archive_write_close(state_->writer.get()), state_->writer.get(), state_->sink, state_->filter);
}

// --- tar ---

struct TarWriter::State {
  Sink sink;
  Writer writer;
  explicit State(ByteSink bytes) : sink{std::move(bytes), nullptr} {}
};

TarWriter::TarWriter(ByteSink sink) : state_(std::make_unique<State>(std::move(sink))) {
  state_->writer = open_writer(state_->sink, archive_write_set_format_pax_restricted, "");
}

TarWriter::~TarWriter() = default;

void TarWriter::write_header(archive_entry* entry) {
  check(archive_write_header(state_->writer.get(), entry), state_->writer.get(), state_->sink,
        fmt::format("'{}' to an archive", archive_entry_pathname(entry)));
}

void TarWriter::write_content(const fs::path& file, std::int64_t size_bytes) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) fail("cannot open '{}': {}", file.native(), errno_text(errno));
  std::vector<char> buffer(1 << 18);
  std::int64_t left = size_bytes;
  while (left > 0) {
    const ssize_t count = ::read(fd.get(), buffer.data(), std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(left)));
    if (count < 0) fail("cannot read '{}': {}", file.native(), errno_text(errno));
    if (count == 0) fail("'{}' became shorter while it was read", file.native());
    if (archive_write_data(state_->writer.get(), buffer.data(), static_cast<std::size_t>(count)) != count)
      check(ARCHIVE_FATAL, state_->writer.get(), state_->sink, fmt::format("'{}' to an archive", file.native()));
    left -= count;
  }
}

void TarWriter::add_layer(const fs::path& folder) {
  std::map<std::pair<dev_t, ino_t>, std::string> first_names;
  for (const auto& [path, status] : walk(folder)) {
    const fs::path file = folder / path;
    const Entry entry(archive_entry_new());
    archive_entry_set_mtime(entry.get(), status.st_mtim.tv_sec, 0);
    if (is_whiteout(status)) {
      const fs::path hidden = path;
      archive_entry_set_pathname(entry.get(), (hidden.parent_path() / (".wh." + hidden.filename().native())).c_str());
      archive_entry_set_mode(entry.get(), S_IFREG | 0644);
      archive_entry_set_size(entry.get(), 0);
      write_header(entry.get());
      continue;
    }
    const bool folder_entry = S_ISDIR(status.st_mode);
    archive_entry_set_pathname(entry.get(), folder_entry ? (path + "/").c_str() : path.c_str());
    archive_entry_set_mode(entry.get(), status.st_mode);
    archive_entry_set_uid(entry.get(), status.st_uid);
    archive_entry_set_gid(entry.get(), status.st_gid);
    if (S_ISLNK(status.st_mode)) archive_entry_set_symlink(entry.get(), fs::read_symlink(file).c_str());
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) archive_entry_set_rdev(entry.get(), status.st_rdev);
    bool content = S_ISREG(status.st_mode);
    if (content && status.st_nlink > 1) {
      const auto [first, fresh] = first_names.emplace(std::pair(status.st_dev, status.st_ino), path);
      if (!fresh) {
        archive_entry_set_hardlink(entry.get(), first->second.c_str());
        content = false;
      }
    }
    if (content) archive_entry_set_size(entry.get(), status.st_size);
    if (archive_entry_hardlink(entry.get()) == nullptr && !S_ISLNK(status.st_mode)) add_xattrs(entry.get(), file);
    write_header(entry.get());
    if (content) write_content(file, status.st_size);
    if (folder_entry && is_opaque(file)) {
      const Entry opaque(archive_entry_new());
      archive_entry_set_pathname(opaque.get(), (path + "/.wh..wh..opq").c_str());
      archive_entry_set_mode(opaque.get(), S_IFREG | 0644);
      archive_entry_set_size(opaque.get(), 0);
      archive_entry_set_mtime(opaque.get(), status.st_mtim.tv_sec, 0);
      write_header(opaque.get());
    }
  }
}

void TarWriter::add_text(const std::string& path, std::string_view text, std::int64_t epoch) {
  const Entry entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), path.c_str());
  archive_entry_set_mode(entry.get(), S_IFREG | 0644);
  archive_entry_set_mtime(entry.get(), epoch, 0);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(text.size()));
  write_header(entry.get());
  if (!text.empty() && archive_write_data(state_->writer.get(), text.data(), text.size()) != static_cast<la_ssize_t>(text.size()))
    check(ARCHIVE_FATAL, state_->writer.get(), state_->sink, fmt::format("'{}' to an archive", path));
}

void TarWriter::add_file(const std::string& path, const fs::path& file, std::int64_t epoch) {
  const Entry entry(archive_entry_new());
  const auto size_bytes = static_cast<std::int64_t>(fs::file_size(file));
  archive_entry_set_pathname(entry.get(), path.c_str());
  archive_entry_set_mode(entry.get(), S_IFREG | 0644);
  archive_entry_set_mtime(entry.get(), epoch, 0);
  archive_entry_set_size(entry.get(), size_bytes);
  write_header(entry.get());
  write_content(file, size_bytes);
}

void TarWriter::add_folder(const std::string& path, std::int64_t epoch) {
  const Entry entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), (path + "/").c_str());
  archive_entry_set_mode(entry.get(), S_IFDIR | 0755);
  archive_entry_set_mtime(entry.get(), epoch, 0);
  write_header(entry.get());
}

void TarWriter::finish() { check(archive_write_close(state_->writer.get()), state_->writer.get(), state_->sink, "an archive"); }

}  // namespace kiln::image
