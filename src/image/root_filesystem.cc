// The root file system of a disk image: how large it is, and how mke2fs makes it, empty.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "image/disk_parts.h"
#include "image/ext4_tree.h"

namespace kiln::image {

namespace {

constexpr std::int64_t kInodeBytes = 256;
constexpr std::int64_t kBlocksPerGroup = 32768;
// mke2fs's own rule for usual sizes; a file system that grows gets more in the same proportion.
constexpr std::int64_t kBytesPerInode = 16384;
// What mke2fs gives a file system of this size. A larger one would be read in whole at a recovery.
constexpr std::int64_t kJournalBytes = 64 * kMiB;
// Of the root's blocks, for root alone: logs can be written when users have filled the rest.
constexpr std::int64_t kReservedPercent = 1;
// Those that Linux 5.10 and Debian's GRUB 2.06 know: mke2fs's own list grows with its version. With a seed of its own for checksums the
// UUID is in the superblock only: else another one changes every block of metadata.
constexpr const char* kFeatures =
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,"
    "extra_isize,metadata_csum";

std::int64_t divide_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

std::int64_t inodes_for(const RootNeeds& needs, std::int64_t root_bytes) {
  // A tenth more than there are files, where those are many and small.
  return std::max(root_bytes / kBytesPerInode, needs.inodes + needs.inodes / 10 + 1024);
}

// What mke2fs says of a full disk.
[[noreturn]] void fail_mke2fs(const ProcessResult& result) {
  if (result.error.find(errno_text(ENOSPC)) != std::string::npos) fail("{}", errno_text(ENOSPC));
  fail("mke2fs failed: {}", trim(result.error));
}

}  // namespace

RootNeeds measure_root(const RootTree& tree) {
  RootNeeds needs;
  for (const std::int64_t blocks : folder_blocks(tree)) needs.blocks += blocks;
  for (std::size_t i = 0; i < tree.files.size(); ++i) {
    if (tree.files[i].first_name != i) continue;
    ++needs.inodes;
    needs.blocks += tree.files[i].blocks();
  }
  return needs;
}

std::int64_t root_bytes_for(const RootNeeds& needs, std::int64_t free_bytes) {
  // The inode tables take a share of the size itself: found by growing until it fits.
  std::int64_t blocks = needs.blocks + divide_up(kJournalBytes + free_bytes, kExt4BlockBytes);
  for (;;) {
    const std::int64_t groups = divide_up(blocks, kBlocksPerGroup);
    const std::int64_t tables = divide_up(inodes_for(needs, blocks * kExt4BlockBytes) * kInodeBytes, kExt4BlockBytes) + groups;
    // Copies of superblock and group descriptors, with room for descriptors to grow into, at most 256 blocks: in groups 1, 3^n, 5^n, 7^n.
    std::int64_t copies = 2;
    for (const std::int64_t base : {3, 5, 7}) {
      for (std::int64_t group = base; group < groups; group *= base) ++copies;
    }
    const std::int64_t descriptors = 1 + divide_up(groups * 64, kExt4BlockBytes) + 512;
    // One in 500: extents of files in many pieces, extended attributes that an inode does not hold.
    const std::int64_t needed = needs.blocks + needs.blocks / 500 + divide_up(kJournalBytes + free_bytes, kExt4BlockBytes) + tables +
                                2 * groups + copies * descriptors + blocks * kReservedPercent / 100 + 64;
    if (needed <= blocks) return blocks * kExt4BlockBytes;
    blocks = needed;
  }
}

std::int64_t write_root(const fs::path& disk, const DiskLayout& layout, const RootTree& tree, const RootNeeds& needs,
                        const fs::path& earlier, const fs::path& work, const std::string& seed, std::int64_t epoch, bool checksum_seed) {
  // The host's own settings would make another file system on each.
  const fs::path settings = work / "mke2fs.conf";
  write_file_atomically(settings, "[defaults]\n\tbase_features = none\n[fs_types]\n\text4 = {\n\t\tfeatures = none\n\t}\n");
  const std::string extended =
      fmt::format("hash_seed={},lazy_itable_init=0,lazy_journal_init=0,assume_storage_prezeroed=1,nodiscard,root_owner=0:0,offset={}",
                  stable_uuid(seed, "hash seed"), DiskLayout::kRootStart);
  ProcessOptions options;
  options.extra_environment = {{"MKE2FS_CONFIG", settings.native()},
                               {"E2FSPROGS_FAKE_TIME", std::to_string(epoch)},
                               {"E2FSPROGS_LIBMAGIC_SUPPRESS", "1"},
                               {"LC_ALL", "C"}};
  const ProcessResult made = run({"mke2fs",
                                  "-q",
                                  "-F",
                                  "-t",
                                  "ext4",
                                  "-O",
                                  std::string(kFeatures) + (checksum_seed ? ",metadata_csum_seed" : ""),
                                  "-b",
                                  std::to_string(kExt4BlockBytes),
                                  "-I",
                                  std::to_string(kInodeBytes),
                                  "-N",
                                  std::to_string(inodes_for(needs, layout.root_bytes())),
                                  "-m",
                                  std::to_string(kReservedPercent),
                                  "-J",
                                  fmt::format("size={}", kJournalBytes / kMiB),
                                  "-L",
                                  "kiln-root",
                                  "-U",
                                  checksum_seed ? stable_uuid("", "checksums") : stable_uuid(seed, "root"),
                                  "-E",
                                  extended,
                                  disk.native(),
                                  std::to_string(layout.root_bytes() / kExt4BlockBytes)},
                                 options);
  if (!made.ok()) fail_mke2fs(made);

  return fill_ext4({disk, DiskLayout::kRootStart, earlier}, tree, stable_uuid(seed, "root"), epoch);
}

}  // namespace kiln::image
