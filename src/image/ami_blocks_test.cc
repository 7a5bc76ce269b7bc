#include "image/ami_blocks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "aws/ebs.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::image {
namespace {

const std::string kA(64, 'a'), kB(64, 'b');

void append(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

TEST(AmiBlocks, a_list_is_read_as_it_was_written) {
  const TemporaryFolder folder;
  const BlockList blocks = {{0, kA}, {7, kB}, {4000000000u, kA}};
  write_block_list(folder.path() / "more/list", blocks);
  EXPECT_EQ(read_block_list(folder.path() / "more/list"), blocks);
  EXPECT_TRUE(read_block_list(folder.path() / "none").empty());
}

TEST(AmiBlocks, a_log_that_was_cut_goes_on_where_its_last_whole_line_ended) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "done";
  BlockLog(file).add(1, kA);
  append(file, "2 " + kB.substr(0, 60));
  EXPECT_EQ(read_block_list(file), (BlockList{{1, kA}}));
  BlockLog(file).add(3, kB);
  append(file, "4 " + kB);  // whole but for its end: not counted
  EXPECT_EQ(read_block_list(file), (BlockList{{1, kA}, {3, kB}}));
}

TEST(AmiBlocks, lines_that_are_none_are_left_out) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "done";
  append(file, "x " + kA + "\n-1 " + kA + "\n5\n6 " + std::string(64, 'g') + "\n99999999999 " + kA + "\n\n8 " + kA + "\n");
  EXPECT_EQ(read_block_list(file), (BlockList{{8, kA}}));
}

TEST(AmiBlocks, holes_are_left_out_and_blocks_read_whole) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "disk.raw";
  { std::ofstream out(file); }
  fs::resize_file(file, 16 * aws::kEbsBlockBytes);
  std::fstream disk(file, std::ios::in | std::ios::out | std::ios::binary);
  disk.seekp(2 * aws::kEbsBlockBytes + 5);
  disk << "x";
  disk.seekp(5 * aws::kEbsBlockBytes - 1);
  disk << "yz";
  disk.close();
  const DiskBlocks blocks(file);
  const auto found = blocks.outside_holes();
  for (const BlockIndex wanted : {2u, 4u, 5u}) EXPECT_NE(std::find(found.begin(), found.end(), wanted), found.end()) << wanted;
  EXPECT_LT(found.size(), 8u);
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
  std::string block(aws::kEbsBlockBytes, '?');
  blocks.read(5, block);
  EXPECT_EQ(block[0], 'z');
  EXPECT_FALSE(is_zero(block));
  blocks.read(9, block);
  EXPECT_TRUE(is_zero(block));
}

TEST(AmiBlocks, only_zeros_are_zero) {
  EXPECT_TRUE(is_zero(std::string(512, '\0')));
  EXPECT_FALSE(is_zero(std::string(512, 'a')));
  std::string last(512, '\0');
  last.back() = 1;
  EXPECT_FALSE(is_zero(last));
}

TEST(AmiBlocks, a_disk_is_whole_blocks) {
  const TemporaryFolder folder;
  append(folder.path() / "short", "x");
  EXPECT_THROW(DiskBlocks(folder.path() / "short"), Error);
  EXPECT_THROW(DiskBlocks(folder.path() / "none"), Error);
}

// By hand: printf '%s%s' (64 a's) (64 b's) | xxd -r -p | sha256sum.
TEST(AmiBlocks, the_linear_checksum_is_of_binary_digests_in_order) {
  const std::string bytes = std::string(32, '\xaa') + std::string(32, '\xbb');
  const std::string hex = sha256_hex(bytes);
  std::string binary;
  for (std::size_t i = 0; i < hex.size(); i += 2) binary += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  EXPECT_EQ(linear_checksum({{9, kB}, {3, kA}}), to_base64(binary));
}

}  // namespace
}  // namespace kiln::image
