#include "bake/untar.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "base/error.h"

namespace kiln::bake {

namespace {

struct ReadFree {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
struct WriteFree {
  void operator()(archive* writer) const { archive_write_free(writer); }
};

std::string words(archive* which) {
  const char* text = archive_error_string(which);
  return text == nullptr ? "unknown error" : text;
}

// "./usr/bin" and "/usr/bin" → "usr/bin"; nothing for what is the folder itself.
std::string inside(const std::string& path) {
  const std::filesystem::path normal = std::filesystem::path(path).relative_path().lexically_normal();
  for (const auto& part : normal) {
    if (part == "..") fail("the entry '{}' leads out of the archive", path);
  }
  return normal == "." ? std::string() : normal.native();
}

}  // namespace

void untar(const std::filesystem::path& tarball, const std::filesystem::path& folder) {
  const std::unique_ptr<archive, ReadFree> reader(archive_read_new());
  archive_read_support_filter_all(reader.get());
  archive_read_support_format_all(reader.get());
  constexpr std::size_t kBlockBytes = 1 << 20;
  if (archive_read_open_filename(reader.get(), tarball.c_str(), kBlockBytes) != ARCHIVE_OK)
    fail("cannot read '{}': {}", tarball.native(), words(reader.get()));

  const std::unique_ptr<archive, WriteFree> writer(archive_write_disk_new());
  archive_write_disk_set_options(writer.get(), ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
                                                   ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT);
  // Relative paths: SECURE_SYMLINKS refuses any link on the way, and those above the store are none of its business.
  if (::chdir(folder.c_str()) != 0) fail("cannot go to '{}': {}", folder.native(), errno_text(errno));
  for (archive_entry* entry = nullptr;;) {
    const int next = archive_read_next_header(reader.get(), &entry);
    if (next == ARCHIVE_EOF) return;
    if (next < ARCHIVE_WARN) fail("cannot read '{}': {}", tarball.native(), words(reader.get()));
    const std::string path = inside(archive_entry_pathname(entry));
    const auto type = archive_entry_filetype(entry);
    if (path.empty() || type == AE_IFCHR || type == AE_IFBLK) continue;
    archive_entry_set_pathname(entry, path.c_str());
    if (const char* target = archive_entry_hardlink(entry)) archive_entry_set_hardlink(entry, inside(target).c_str());
    if (archive_write_header(writer.get(), entry) < ARCHIVE_WARN)
      fail("cannot unpack '{}' of '{}': {}", path, tarball.native(), words(writer.get()));
    const void* bytes = nullptr;
    std::size_t count = 0;
    la_int64_t offset = 0;
    for (;;) {
      const int block = archive_read_data_block(reader.get(), &bytes, &count, &offset);
      if (block == ARCHIVE_EOF) break;
      if (block < ARCHIVE_WARN) fail("cannot read '{}' of '{}': {}", path, tarball.native(), words(reader.get()));
      if (archive_write_data_block(writer.get(), bytes, count, offset) < ARCHIVE_WARN)
        fail("cannot unpack '{}': {}", path, words(writer.get()));
    }
    if (archive_write_finish_entry(writer.get()) < ARCHIVE_WARN) fail("cannot unpack '{}': {}", path, words(writer.get()));
  }
}

}  // namespace kiln::bake
