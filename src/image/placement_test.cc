#include "image/placement.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::image {
namespace {

using Ranges = std::vector<BlockRange>;
using Sizes = std::vector<std::int64_t>;

TEST(BlockSpace, BeginsWithWholeUnitsAndEndsWithWhatIsLeft) {
  const BlockSpace space({{5, 300}, {400, 420}, {512, 640}}, 128);
  EXPECT_EQ(space.blocks(), 295 + 20 + 128);
  EXPECT_EQ(space.at({0, 128}), (Ranges{{128, 256}}));
  EXPECT_EQ(space.at({100, 300}), (Ranges{{228, 256}, {512, 640}, {5, 49}}));
  EXPECT_EQ(space.at({256, 443}), (Ranges{{5, 128}, {256, 300}, {400, 420}}));
  EXPECT_TRUE(space.at({7, 7}).empty());
}

TEST(BlockSpace, NoMoreThanThereIs) {
  const BlockSpace space({{0, 10}}, 128);
  EXPECT_EQ(space.at({0, 10}), (Ranges{{0, 10}}));
  EXPECT_THROW(space.at({5, 11}), Error);
}

TEST(SegmentStarts, ALittleMoreInOneMovesNoOther) {
  const Sizes before = segment_starts({1000, 5000, 300, 70000, 12, 900}, 1 << 20, 128);
  for (std::size_t grown = 0; grown < 6; ++grown) {
    Sizes sizes = {1000, 5000, 300, 70000, 12, 900};
    sizes[grown] += 4;
    EXPECT_EQ(segment_starts(sizes, 1 << 20, 128), before) << grown;
  }
  for (const std::int64_t start : before) EXPECT_EQ(start % 128, 0);
}

TEST(SegmentStarts, WithoutRoomOneAfterTheOther) {
  EXPECT_EQ(segment_starts({1000, 0, 300, 12}, 1312, 128), (Sizes{0, 1000, 1000, 1300}));
  EXPECT_EQ(segment_starts({1000, 0, 300, 12}, 1 << 20, 128), (Sizes{0, 1024, 1024, 1408}));
}

// A tree by hand: two layers.
struct Tree {
  RootTree tree;
  Tree() {
    tree.layers = 2;
    add("", S_IFDIR, 0);
  }
  std::size_t add(const std::string& path, mode_t type, std::int64_t blocks, std::size_t layer = 0) {
    RootFile file;
    file.path = path;
    file.status.st_mode = type | 0644;
    file.status.st_size = blocks * 4096;
    file.layer = layer;
    file.first_name = tree.files.size();
    tree.files.push_back(file);
    return tree.files.size() - 1;
  }
};

std::vector<std::string> told(const RootTree& tree, const Segment& segment) {
  std::vector<std::string> lines;
  for (const auto& piece : segment.pieces)
    lines.push_back(fmt::format("{} {}-{}", tree.files[piece.file].path, piece.blocks.begin, piece.blocks.end));
  return lines;
}

TEST(OrderFiles, WhatIsReadAtStartThenTheRestLayerByLayer) {
  Tree t;
  t.add("a", S_IFREG, 3);
  const auto b = t.add("b", S_IFREG, 10);
  const auto c = t.add("c", S_IFREG, 2, 1);
  const auto d = t.add("d", S_IFDIR, 0, 1);
  t.add("e", S_IFREG, 1, 1);
  t.tree.files[0].rank = 0;
  t.tree.files[c].rank = 1;
  t.tree.files[c].read = {{0, 2}};
  t.tree.files[b].rank = 2;
  t.tree.files[b].read = {{1, 3}, {8, 10}};
  // A second name of c.
  t.tree.files[t.add("f", S_IFREG, 2, 1)].first_name = c;
  std::vector<std::int64_t> folders(t.tree.files.size());
  folders[0] = folders[d] = 1;
  const auto segments = order_files(t.tree, folders);
  using Lines = std::vector<std::string>;
  ASSERT_EQ(segments.size(), 4U);
  EXPECT_EQ(told(t.tree, segments[0]), (Lines{" 0-1", "b 1-3", "b 8-10"}));
  EXPECT_EQ(told(t.tree, segments[1]), (Lines{"c 0-2"}));
  EXPECT_EQ(told(t.tree, segments[2]), (Lines{"b 0-1", "b 3-8", "a 0-3"}));
  EXPECT_EQ(told(t.tree, segments[3]), (Lines{"d 0-1", "e 0-1"}));
  EXPECT_EQ(segments[0].inodes, (std::vector<std::size_t>{0, b}));
  EXPECT_EQ(segments[2].blocks(), 9);
}

}  // namespace
}  // namespace kiln::image
