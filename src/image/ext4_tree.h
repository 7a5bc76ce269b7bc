// Fills an empty ext4 with the files of a root, each where it shall lie (placement.h).
//
// mke2fs can do that too (-d), but knows only one order, that of the paths. Here libext2fs keeps the bitmaps, inodes, extents, checksums
// and extended attributes; files' contents go straight to the disk, in large pieces. Folders are written in one go, linear as mke2fs writes
// them: the kernel indexes those that grow.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "image/root_tree.h"

namespace kiln::image {

struct Ext4Place {
  std::filesystem::path disk;
  std::int64_t offset = 0;             // of the file system in it, in bytes
  std::filesystem::path earlier = {};  // a disk of the same layout, or empty: see SharingWriter in ext4_tree.cc
};

// How many blocks each folder's names take, by index; 0 for what is no folder.
std::vector<std::int64_t> folder_blocks(const RootTree& tree);

// The file system gets the UUID `uuid` (its checksums are seeded by another, so that a new one changes the superblock and nothing else),
// and `epoch` as the time when it was written. Gives the bytes that are free for everybody. Errors: what cannot be read, or written; "No
// space left on device" as well when the file system is too small.
std::int64_t fill_ext4(const Ext4Place& place, const RootTree& tree, const std::string& uuid, std::int64_t epoch);

}  // namespace kiln::image
