#include "image/placement.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/error.h"

namespace kiln::image {

namespace {

// What of a file is not in `ranges`.
std::vector<BlockRange> others(const std::vector<BlockRange>& ranges, std::int64_t blocks) {
  std::vector<BlockRange> result;
  std::int64_t at = 0;
  for (const auto& range : ranges) {
    if (range.begin > at) result.push_back({at, range.begin});
    at = range.end;
  }
  if (at < blocks) result.push_back({at, blocks});
  return result;
}

// In steps of a power of two, so that a size must change by much before the step does.
std::int64_t with_room(std::int64_t size, std::int64_t unit) {
  const std::int64_t step = std::max(unit, static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(size) / 8)));
  return (size + step - 1) / step * step;
}

}  // namespace

std::int64_t Segment::blocks() const {
  std::int64_t sum = 0;
  for (const auto& piece : pieces) sum += piece.blocks.end - piece.blocks.begin;
  return sum;
}

std::vector<Segment> order_files(const RootTree& tree, const std::vector<std::int64_t>& folder_blocks) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < tree.files.size(); ++i) {
    if (tree.files[i].first_name == i) order.push_back(i);
  }
  const auto is_folder = [&](std::size_t i) { return S_ISDIR(tree.files[i].status.st_mode); };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (is_folder(a) != is_folder(b)) return is_folder(a);
    return tree.files[a].rank < tree.files[b].rank;
  });
  std::vector<Segment> segments(2 * tree.layers);
  for (const std::size_t i : order) {
    const RootFile& file = tree.files[i];
    Segment& at_start = segments[file.layer];
    Segment& later = segments[tree.layers + file.layer];
    const bool is_read = file.rank != RootFile::kNotRead;
    // What is nothing but an inode (a link, an empty file) is read without a trace: no list has it.
    (is_read || (!is_folder(i) && file.blocks() == 0) ? at_start : later).inodes.push_back(i);
    if (is_folder(i)) {
      (is_read ? at_start : later).pieces.push_back({i, {0, folder_blocks[i]}});
      continue;
    }
    for (const auto& range : file.read) at_start.pieces.push_back({i, range});
    for (const auto& range : others(file.read, file.blocks())) later.pieces.push_back({i, range});
  }
  return segments;
}

std::vector<std::int64_t> segment_starts(const std::vector<std::int64_t>& sizes, std::int64_t capacity, std::int64_t unit) {
  for (const bool roomy : {true, false}) {
    std::vector<std::int64_t> starts;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      // What comes later stays where it is when what is read at start gets larger.
      if (roomy && i == sizes.size() / 2) at = with_room(at, unit);
      starts.push_back(at);
      at += roomy ? with_room(sizes[i], unit) : sizes[i];
    }
    if (at <= capacity || !roomy) return starts;
  }
  return {};
}

BlockSpace::BlockSpace(const std::vector<BlockRange>& free, std::int64_t unit) {
  const auto whole = [&](const BlockRange& run) {
    const std::int64_t begin = (run.begin + unit - 1) / unit * unit;
    return BlockRange{begin, std::max(begin, run.end / unit * unit)};
  };
  for (const auto& run : free) add(whole(run));
  for (const auto& run : free) {
    const BlockRange middle = whole(run);
    add({run.begin, std::min(middle.begin, run.end)});
    add({std::max(middle.end, run.begin), run.end});
  }
}

void BlockSpace::add(BlockRange blocks) {
  if (blocks.begin >= blocks.end) return;
  runs_.push_back({blocks_, blocks});
  blocks_ += blocks.end - blocks.begin;
}

std::vector<BlockRange> BlockSpace::at(BlockRange range) const {
  if (range.end > blocks_) fail("{}", errno_text(ENOSPC));
  std::vector<BlockRange> result;
  auto run = std::upper_bound(runs_.begin(), runs_.end(), range.begin, [](std::int64_t at, const Run& r) { return at < r.begin; });
  if (run != runs_.begin()) --run;
  for (; range.begin < range.end; ++run) {
    const std::int64_t first = run->blocks.begin + (range.begin - run->begin);
    const std::int64_t count = std::min(range.end - range.begin, run->blocks.end - first);
    result.push_back({first, first + count});
    range.begin += count;
  }
  return result;
}

}  // namespace kiln::image
