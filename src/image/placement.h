// The order in which the files of a root go onto a disk, and where each part of it begins.
//
// Two things are wanted of it. A machine shall touch few parts of its disk until it is up, because a cloud's volume that was made from a
// snapshot loads each block (512 KiB of Amazon's) when it is first read. And the disk of the next version of an image shall be the same
// bytes at the same place wherever their content is, because only blocks that differ are uploaded, or stored twice.
//
// So there are two segments for each layer: all that is read at start, lowest layer first, then all else, lowest layer first. Within a
// segment come folders, then files: in the order of the lists (root_tree.h), or by path. Of a file of which only ranges are read at start,
// those lie in the first segment, the rest in the second. Inodes are numbered in the same order. Each segment has room to grow, so that a
// layer that gets a little larger does not move those above it.
//
// Rejected: placing what did not change where the last disk has it. The same layers would not give the same bytes any more.
#pragma once

#include <cstdint>
#include <vector>

#include "image/root_tree.h"

namespace kiln::image {

// A part of a file's or a folder's blocks.
struct Piece {
  std::size_t file = 0;  // index into RootTree::files
  BlockRange blocks;
};

struct Segment {
  std::vector<std::size_t> inodes;  // indexes of files
  std::vector<Piece> pieces;
  std::int64_t blocks() const;
};

// Every file once (of hard links, the one that stands for all); `folder_blocks`: for each folder's index how many blocks it takes.
std::vector<Segment> order_files(const RootTree& tree, const std::vector<std::int64_t>& folder_blocks);

// Where segments of these sizes begin in a space of `capacity`: at multiples of `unit` (a power of two), with room to grow by an eighth at
// most, and as much between the first half of them and the second; one right after the other when there is no space for that.
std::vector<std::int64_t> segment_starts(const std::vector<std::int64_t>& sizes, std::int64_t capacity, std::int64_t unit);

// The free blocks of a file system as one space: whole units of `unit` blocks first, so that what begins at a multiple of it does so on
// the disk, then the left-overs.
class BlockSpace {
 public:
  // `free`: sorted and apart.
  BlockSpace(const std::vector<BlockRange>& free, std::int64_t unit);
  std::int64_t blocks() const { return blocks_; }
  // The blocks of the disk that [begin, end) of the space stands for, in its order. Error when that is more than there is.
  std::vector<BlockRange> at(BlockRange range) const;

 private:
  struct Run {
    std::int64_t begin = 0;  // in the space
    BlockRange blocks;       // on the disk
  };
  void add(BlockRange blocks);
  std::vector<Run> runs_;
  std::int64_t blocks_ = 0;
};

}  // namespace kiln::image
