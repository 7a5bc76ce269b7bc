#include "image/ami_blocks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "aws/ebs.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::image {

namespace {

constexpr std::size_t kDigestDigits = 64;
constexpr std::int64_t kBlockBytes = aws::kEbsBlockBytes;

std::string line_of(BlockIndex index, const std::string& sha256_hex) { return fmt::format("{} {}\n", index, sha256_hex); }

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

unsigned nibble(char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); }

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(nibble(hex[i]) << 4 | nibble(hex[i + 1]));
  return bytes;
}

}  // namespace

BlockList read_block_list(const fs::path& file) {
  BlockList blocks;
  const std::string text = read_file_if_there(file).value_or("");
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    if (end == std::string::npos) break;  // cut
    const std::string_view line(text.data() + start, end - start);
    start = end + 1;
    BlockIndex index = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), index);
    const std::string_view digest = line.substr(std::min(line.size(), static_cast<std::size_t>(rest - line.data()) + 1));
    if (error == std::errc() && digest.size() == kDigestDigits && is_hex(digest)) blocks[index] = digest;
  }
  return blocks;
}

void write_block_list(const fs::path& file, const BlockList& blocks) {
  std::string text;
  for (const auto& [index, digest] : blocks) text += line_of(index, digest);
  make_folder(file.parent_path());
  write_file_atomically(file, text);
}

BlockLog::BlockLog(const fs::path& file) : path_(file), fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (!fd_) fail("cannot write '{}': {}", path_.native(), errno_text(errno));
  // What was cut in the middle of a line must not grow into another.
  char last = '\n';
  const off_t size = ::lseek(fd_.get(), 0, SEEK_END);
  if (size > 0 && ::pread(fd_.get(), &last, 1, size - 1) == 1 && last != '\n' && ::write(fd_.get(), "\n", 1) != 1)
    fail("cannot write '{}': {}", path_.native(), errno_text(errno));
}

void BlockLog::add(BlockIndex index, const std::string& sha256_hex) {
  const std::string line = line_of(index, sha256_hex);
  const std::lock_guard guard(lock_);
  if (::write(fd_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    fail("cannot write '{}': {}", path_.native(), errno_text(errno));
}

DiskBlocks::DiskBlocks(const fs::path& file) : path_(file), fd_(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (!fd_ || ::fstat(fd_.get(), &status) != 0) fail("cannot read '{}': {}", path_.native(), errno_text(errno));
  size_bytes_ = status.st_size;
  if (size_bytes_ == 0 || size_bytes_ % kBlockBytes != 0) fail("'{}' is no disk of whole blocks of {} bytes", path_.native(), kBlockBytes);
}

std::vector<BlockIndex> DiskBlocks::outside_holes() const {
  std::vector<BlockIndex> blocks;
  for (off_t at = 0; at < size_bytes_;) {
    const off_t data = ::lseek(fd_.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // only a hole follows
    if (data < 0) fail("cannot read '{}': {}", path_.native(), errno_text(errno));
    const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
    if (hole < 0) fail("cannot read '{}': {}", path_.native(), errno_text(errno));
    const auto first = static_cast<BlockIndex>(data / kBlockBytes), last = static_cast<BlockIndex>((hole - 1) / kBlockBytes);
    for (BlockIndex index = first; index <= last; ++index) {
      if (blocks.empty() || blocks.back() < index) blocks.push_back(index);
    }
    at = hole;
  }
  return blocks;
}

void DiskBlocks::read(BlockIndex index, std::string& block) const {
  std::size_t done = 0;
  while (done < block.size()) {
    const ssize_t got =
        ::pread(fd_.get(), block.data() + done, block.size() - done, static_cast<off_t>(index) * kBlockBytes + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("cannot read '{}': {}", path_.native(), got < 0 ? errno_text(errno) : "it has become shorter");
    done += static_cast<std::size_t>(got);
  }
}

bool is_zero(const std::string& block) {
  // Each byte is the one before it, and the first is zero.
  return block.empty() || (block[0] == '\0' && std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0);
}

std::string linear_checksum(const BlockList& blocks) {
  Sha256 sum;
  for (const auto& [index, digest] : blocks) sum.update(from_hex(digest));
  return to_base64(from_hex(sum.hex()));
}

}  // namespace kiln::image
