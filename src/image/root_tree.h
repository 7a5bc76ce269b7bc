// The files of a root file system, and what is known of them when they are laid out on a disk: which layer they come from, and what of
// them a machine reads while it starts.
//
// That stands in lists which modules bring (modules/NAME/boot-files; docs/modules.md), in the image at
// /usr/lib/kiln/modules/NAME/boot-files. A line is a path in which `*`, `?` and `[…]` stand for what differs between versions (fnmatch(3),
// by component), or `PATH/` for a folder, and may be followed by the ranges that are read, "FROM-TO" in KiB; without one the whole file is.
// `#` begins a comment. What a list names and the image lacks is passed over: other versions, other choices of modules.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kiln::image {

// Of the root's file system.
constexpr std::int64_t kExt4BlockBytes = 4096;

// Of a file, in blocks of 4 KiB; `end` is the first that is not in it.
struct BlockRange {
  std::int64_t begin = 0, end = 0;
  bool operator==(const BlockRange&) const = default;
};

struct RootFile {
  std::string path;  // below the root; the root's own is empty
  std::string name;
  struct stat status = {};
  std::size_t layer = 0;                                    // of a file: the one that it is seen from; of a folder: the lowest that has it
  std::size_t first_name = 0;                               // of several hard links: the index of the one that stands for all; else its own
  std::size_t parent = 0;                                   // index; the root is its own
  std::vector<std::size_t> children = {};                   // of a folder: indexes, sorted by name
  static constexpr std::size_t kNotRead = ~std::size_t{0};  // at start
  std::size_t rank = kNotRead;                              // place among what is read at start
  std::vector<BlockRange> read = {};                        // what of it, sorted and apart; only where `rank` is set
  std::int64_t blocks() const;                              // that its content takes, without holes
};

struct RootTree {
  std::filesystem::path root;  // where it is mounted
  std::size_t layers = 0;
  std::vector<RootFile> files;  // a folder before what is in it; the root first
};

// Reads the tree at `root`, an overlay mount of `layers` (lowest first), and the lists in it. Not in it: lost+found, which a file system
// has of its own. Errors: what cannot be read; a list's line that is wrong, with its place.
RootTree read_root(const std::filesystem::path& root, const std::vector<std::filesystem::path>& layers);

}  // namespace kiln::image
