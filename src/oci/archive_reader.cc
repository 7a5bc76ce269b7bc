#include "oci/archive_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

namespace kiln::oci {

namespace {

constexpr std::size_t kBlockBytes = 1 << 18;

struct ReadFree {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

// libarchive reads the names of pax archives, which are UTF-8, into those of the locale; in the plain one they would become "???".
class Utf8 {
 public:
  Utf8() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)), before_(locale_ != nullptr ? ::uselocale(locale_) : nullptr) {}
  ~Utf8() {
    if (locale_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(locale_);
  }
  Utf8(const Utf8&) = delete;
  Utf8& operator=(const Utf8&) = delete;

 private:
  locale_t locale_, before_;
};

}  // namespace

struct ArchiveReader::State {
  Fd file;
  std::string name;
  ArchiveOptions options;
  Utf8 names;
  std::vector<char> buffer = std::vector<char>(kBlockBytes);
  std::int64_t size_bytes = 0;
  Sha256 hash;
  int read_error = 0;
  std::unique_ptr<archive, ReadFree> reader;

  ssize_t fill() {
    ssize_t count = 0;
    while ((count = ::read(file.get(), buffer.data(), buffer.size())) < 0 && errno == EINTR) {
    }
    if (count < 0) read_error = errno;
    if (count > 0) {
      if (options.digest) hash.update({buffer.data(), static_cast<std::size_t>(count)});
      size_bytes += count;
    }
    return count;
  }
  [[noreturn]] void fail_read() const {
    const char* words = archive_error_string(reader.get());
    fail("cannot read '{}': {}", name, read_error != 0 ? errno_text(read_error) : words == nullptr ? "it is damaged" : words);
  }
  void check_size() const {
    const std::int64_t unpacked = archive_filter_bytes(reader.get(), 0);
    if (unpacked <= options.most_bytes) return;
    Error error(fmt::format("'{}' unpacks to more than {}: refused", name, human_size(static_cast<std::uintmax_t>(options.most_bytes))));
    error.set_hint("it is much larger than its compressed size allows for; a base that is meant to be so can be given as a tarball");
    throw error;
  }
  static la_ssize_t on_read(archive*, void* data, const void** bytes) {
    auto& state = *static_cast<State*>(data);
    *bytes = state.buffer.data();
    const ssize_t count = state.fill();
    if (count < 0) return ARCHIVE_FATAL;
    return count;
  }
  static la_int64_t on_skip(archive*, void* data, la_int64_t count) {
    auto& state = *static_cast<State*>(data);
    if (state.options.digest || count <= 0) return 0;  // what is to be hashed has to be read
    return ::lseek(state.file.get(), count, SEEK_CUR) < 0 ? 0 : count;
  }
};

Fd ArchiveReader::open(const std::filesystem::path& file) {
  Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail("cannot open '{}': {}", file.native(), errno_text(errno));
  return fd;
}

ArchiveReader::ArchiveReader(Fd file, std::string name, const ArchiveOptions& options) : state_(std::make_unique<State>()) {
  state_->file = std::move(file);
  state_->name = std::move(name);
  state_->options = options;
  state_->reader.reset(archive_read_new());
  archive* reader = state_->reader.get();
  if (options.any_format) {
    archive_read_support_filter_all(reader);
    archive_read_support_format_all(reader);
  } else {
    archive_read_support_filter_gzip(reader);
    archive_read_support_filter_zstd(reader);
    archive_read_support_format_tar(reader);
  }
  // A layer that changes nothing may have no bytes at all.
  archive_read_support_format_empty(reader);
  archive_read_set_skip_callback(reader, State::on_skip);
  archive_read_set_read_callback(reader, State::on_read);
  archive_read_set_callback_data(reader, state_.get());
  if (archive_read_open1(reader) != ARCHIVE_OK) state_->fail_read();
}

ArchiveReader::~ArchiveReader() = default;

archive_entry* ArchiveReader::next() {
  archive_entry* entry = nullptr;
  const int result = archive_read_next_header(state_->reader.get(), &entry);
  if (result == ARCHIVE_EOF) return nullptr;
  if (result < ARCHIVE_WARN) state_->fail_read();
  state_->check_size();
  return entry;
}

std::string ArchiveReader::path_of(archive_entry* entry) const {
  const char* path = archive_entry_pathname(entry);
  if (path == nullptr) fail("'{}' has an entry whose name cannot be read", state_->name);
  return path;
}

bool ArchiveReader::read_block(const void*& bytes, std::size_t& count, std::int64_t& offset) {
  la_int64_t position = 0;
  const int result = archive_read_data_block(state_->reader.get(), &bytes, &count, &position);
  if (result == ARCHIVE_EOF) return false;
  if (result < ARCHIVE_WARN) state_->fail_read();
  state_->check_size();
  offset = position;
  return true;
}

ArchiveReader::Whole ArchiveReader::finish() {
  while (state_->fill() > 0) {
  }
  if (state_->read_error != 0) state_->fail_read();
  return {state_->size_bytes, state_->options.digest ? "sha256:" + state_->hash.hex() : std::string()};
}

}  // namespace kiln::oci
