#include "image/gzip_writer.h"

#include <libdeflate.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/parallel.h"

namespace kiln::image {

namespace {

constexpr std::size_t kStretchBytes = 256 << 10;
constexpr std::size_t kBatch = 16;  // stretches
constexpr std::size_t kSampleBytes = 16 << 10;
// Of programs and libraries makes as much as zlib's 4, in half its time; 6 takes a third longer for a thirtieth of the size.
constexpr int kLevel = 4, kStore = 0, kFastest = 1;

struct FreeCompressor {
  void operator()(libdeflate_compressor* compressor) const { libdeflate_free_compressor(compressor); }
};

// A thread's own, made once.
libdeflate_compressor* compressor(int level) {
  thread_local std::unique_ptr<libdeflate_compressor, FreeCompressor> made[kLevel + 1];
  auto& found = made[level];
  if (!found) found.reset(libdeflate_alloc_compressor(level));
  if (!found) fail("cannot compress: no memory");
  return found.get();
}

// By a sample from the middle: its beginning may be a file's header in the archive.
bool shrinks(const std::string& stretch) {
  if (stretch.size() < kSampleBytes) return true;
  char out[kSampleBytes];
  // 0: it did not fit.
  const std::size_t size = libdeflate_deflate_compress(compressor(kFastest), stretch.data() + (stretch.size() - kSampleBytes) / 2,
                                                       kSampleBytes, out, kSampleBytes - kSampleBytes / 32);
  return size != 0;
}

std::string member_of(const std::string& stretch) {
  libdeflate_compressor* const packer = compressor(shrinks(stretch) ? kLevel : kStore);
  std::string member(libdeflate_gzip_compress_bound(packer, stretch.size()), '\0');
  const std::size_t size = libdeflate_gzip_compress(packer, stretch.data(), stretch.size(), member.data(), member.size());
  if (size == 0) fail("cannot compress: a gzip member does not fit its bound");
  member.resize(size);
  return member;
}

}  // namespace

GzipWriter::GzipWriter(std::function<void(std::string_view)> sink) : sink_(std::move(sink)), jobs_(processor_count()) {}

GzipWriter::~GzipWriter() {
  if (running_.valid()) running_.wait();
}

void GzipWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (gathered_.empty() || gathered_.back().size() == kStretchBytes) {
      if (gathered_.size() == kBatch) start_batch();
      gathered_.emplace_back();
      gathered_.back().reserve(kStretchBytes);
    }
    std::string& stretch = gathered_.back();
    const std::size_t count = std::min(bytes.size(), kStretchBytes - stretch.size());
    stretch.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
  }
}

void GzipWriter::finish() {
  // Of nothing, a member with nothing in it.
  if (gathered_.empty() && empty_) gathered_.emplace_back();
  start_batch();
  end_batch();
}

void GzipWriter::start_batch() {
  end_batch();
  if (gathered_.empty()) return;
  empty_ = false;
  batch_ = std::move(gathered_);
  gathered_.clear();
  members_.assign(batch_.size(), {});
  running_ = std::async(std::launch::async,
                        [this] { parallel_for(batch_.size(), jobs_, [this](std::size_t i) { members_[i] = member_of(batch_[i]); }); });
}

void GzipWriter::end_batch() {
  if (!running_.valid()) return;
  running_.get();
  for (const auto& member : members_) sink_(member);
}

}  // namespace kiln::image
