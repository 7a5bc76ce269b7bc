// The blocks of a disk, as snapshots count them: 512 KiB each, told apart by their SHA-256, those that hold nothing left out.
//
// Two files hold such lists, in one format, a line a block: "INDEX SHA256\n", the digest in 64 hex digits. A last line that was cut counts
// for nothing, so that one can be added to while blocks are being sent.
//
//   HOME/aws/blocks/SNAPSHOT                what a snapshot holds that was sent from this store: the next version sends what differs
//   HOME/aws/builds/BUILD/REGION/done       what of an upload has arrived: it goes on from there when it was cut
//
// Rejected: reading an earlier version's digests back from AWS. The EBS direct API tells which blocks a snapshot has, but no digests of
// them: one would have to load every block, and that is as much as to send them all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"

namespace kiln::image {

using BlockIndex = std::uint32_t;
// Hex digests by index.
using BlockList = std::map<BlockIndex, std::string>;

// Empty when there is no such file.
BlockList read_block_list(const std::filesystem::path& file);
void write_block_list(const std::filesystem::path& file, const BlockList& blocks);

// Adds blocks to such a file, from any thread. What a killed process has added is there; what a power cut takes is sent again.
class BlockLog {
 public:
  explicit BlockLog(const std::filesystem::path& file);
  void add(BlockIndex index, const std::string& sha256_hex);

 private:
  std::filesystem::path path_;
  Fd fd_;
  std::mutex lock_;
};

// A disk's file, read block by block from any thread.
class DiskBlocks {
 public:
  // Error when it is no file of whole blocks.
  explicit DiskBlocks(const std::filesystem::path& file);
  std::int64_t size_bytes() const { return size_bytes_; }
  // Those that are not in a hole of the file (lseek(2), SEEK_DATA), in order; some may be all zero nonetheless.
  std::vector<BlockIndex> outside_holes() const;
  // Fills `block`, which has a block's size.
  void read(BlockIndex index, std::string& block) const;

 private:
  std::filesystem::path path_;
  Fd fd_;
  std::int64_t size_bytes_ = 0;
};

bool is_zero(const std::string& block);

// The checksum of a whole snapshot as CompleteSnapshot takes it (API reference: LINEAR aggregation, the blocks' binary digests in the
// order of their indices, one after the other): base64.
std::string linear_checksum(const BlockList& blocks);

}  // namespace kiln::image
