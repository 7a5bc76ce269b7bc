#include "image/ext4_tree.h"

#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "image/placement.h"

namespace kiln::image {

namespace {

// What Amazon's volumes load, and its snapshots hold: 512 KiB.
constexpr std::int64_t kUnitBlocks = 128;
constexpr std::int64_t kMostExtentBlocks = EXT_INIT_MAX_LEN;
constexpr std::int64_t kInodesPerBlock = 16;
constexpr std::int64_t kChunkBlocks = 256;
// Shorter runs of zeros are written: a hole is one extent more, and four are what an inode holds.
constexpr std::int64_t kHoleBlocks = 32;
constexpr std::size_t kTailBytes = sizeof(ext2_dir_entry_tail);
constexpr std::size_t kEntryHead = 8;

// --- folders ---

std::size_t entry_bytes(std::size_t name_bytes) { return kEntryHead + (name_bytes + 3) / 4 * 4; }

struct Name {
  std::string text;
  std::size_t file = 0;
  ext2_ino_t inode = 0;
  int type = EXT2_FT_DIR;
};

// Where each block of a folder ends in the list of its names.
std::vector<std::size_t> block_ends(const std::vector<Name>& names) {
  std::vector<std::size_t> ends;
  std::size_t used = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::size_t bytes = entry_bytes(names[i].text.size());
    if (used + bytes > kExt4BlockBytes - kTailBytes) {
      ends.push_back(i);
      used = 0;
    }
    used += bytes;
  }
  ends.push_back(names.size());
  return ends;
}

int type_of(mode_t mode) {
  if (S_ISDIR(mode)) return EXT2_FT_DIR;
  if (S_ISLNK(mode)) return EXT2_FT_SYMLINK;
  if (S_ISCHR(mode)) return EXT2_FT_CHRDEV;
  if (S_ISBLK(mode)) return EXT2_FT_BLKDEV;
  if (S_ISFIFO(mode)) return EXT2_FT_FIFO;
  if (S_ISSOCK(mode)) return EXT2_FT_SOCK;
  return EXT2_FT_REG_FILE;
}

// Without the inodes' numbers.
std::vector<Name> names_in(const RootTree& tree, std::size_t folder) {
  std::vector<Name> names = {{".", folder}, {"..", tree.files[folder].parent}};
  if (folder == 0) names.push_back({"lost+found", 0, EXT2_GOOD_OLD_FIRST_INO});
  for (const std::size_t child : tree.files[folder].children) {
    const RootFile& file = tree.files[child];
    names.push_back({file.name, file.first_name, 0, type_of(file.status.st_mode)});
  }
  return names;
}

std::string folder_block(ext2_filsys fs, const std::vector<Name>& names, std::size_t begin, std::size_t end) {
  std::string block(kExt4BlockBytes, '\0');
  std::size_t at = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const std::string& text = names[i].text;
    const std::size_t bytes = i + 1 == end ? kExt4BlockBytes - kTailBytes - at : entry_bytes(text.size());
    ext2_dir_entry_2 head{};
    head.inode = names[i].inode;
    head.rec_len = static_cast<__u16>(bytes);
    head.name_len = static_cast<__u8>(text.size());
    head.file_type = static_cast<__u8>(names[i].type);
    std::memcpy(block.data() + at, &head, kEntryHead);
    std::memcpy(block.data() + at + kEntryHead, text.data(), text.size());
    at += bytes;
  }
  ext2fs_initialize_dirent_tail(fs, EXT2_DIRENT_TAIL(block.data(), kExt4BlockBytes));
  return block;
}

// --- the disk ---

bool is_zero(const char* bytes, std::size_t count) {
  return count == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0);
}

// Writes to the disk. What an earlier disk has at the same place is shared with it where the file system can do that (FICLONERANGE,
// ioctl_ficlonerange(2): XFS, Btrfs), and not written again; elsewhere the earlier disk is not looked at, as all has to be written anyway.
class SharingWriter {
 public:
  explicit SharingWriter(const Ext4Place& place) : name_(place.disk.native()), disk_(::open(place.disk.c_str(), O_RDWR | O_CLOEXEC)) {
    if (!disk_) fail("cannot open '{}': {}", name_, errno_text(errno));
    if (!place.earlier.empty()) earlier_ = Fd(::open(place.earlier.c_str(), O_RDONLY | O_CLOEXEC));
  }

  // Whole blocks.
  void write(const char* bytes, std::int64_t count, std::int64_t offset) {
    if (is_shared(bytes, count, offset)) return;
    while (count > 0) {
      const ssize_t done = ::pwrite(disk_.get(), bytes, static_cast<std::size_t>(count), offset);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail("cannot write '{}': {}", name_, errno_text(errno));
      bytes += done;
      offset += done;
      count -= done;
    }
  }

 private:
  bool share(std::int64_t offset, std::int64_t count) {
    file_clone_range range{};
    range.src_fd = earlier_.get();
    range.src_offset = range.dest_offset = static_cast<__u64>(offset);
    range.src_length = static_cast<__u64>(count);
    return ::ioctl(disk_.get(), FICLONERANGE, &range) == 0;
  }
  bool is_shared(const char* bytes, std::int64_t count, std::int64_t offset) {
    if (!earlier_) return false;
    // Tells whether the two can share at all; what the first piece gets by that is written over where it differs.
    if (!tried_ && !share(offset, count)) {
      earlier_ = Fd();
      return false;
    }
    tried_ = true;
    before_.resize(static_cast<std::size_t>(count));
    return ::pread(earlier_.get(), before_.data(), before_.size(), offset) == count &&
           std::memcmp(before_.data(), bytes, before_.size()) == 0 && share(offset, count);
  }

  std::string name_;
  Fd disk_, earlier_;
  bool tried_ = false;
  std::string before_;
};

// --- the file system ---

class Ext4 {
 public:
  Ext4(const Ext4Place& place, std::int64_t epoch) : name_(place.disk.native()) {
    initialize_ext2_error_table();
    check(ext2fs_open2(name_.c_str(), fmt::format("offset={}", place.offset).c_str(), EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0,
                       unix_io_manager, &fs_));
    fs_->now = epoch;
    check(ext2fs_read_bitmaps(fs_));
  }
  Ext4(const Ext4&) = delete;
  Ext4& operator=(const Ext4&) = delete;
  ~Ext4() {
    if (fs_ != nullptr) ext2fs_free(fs_);
  }
  ext2_filsys get() const { return fs_; }
  void close() { check(ext2fs_close_free(&fs_)); }
  void check(errcode_t code) const {
    if (code == 0) return;
    if (code == ENOSPC || code == EXT2_ET_BLOCK_ALLOC_FAIL || code == EXT2_ET_INODE_ALLOC_FAIL) fail("{}", errno_text(ENOSPC));
    fail("cannot write the file system in '{}': {}", name_, error_message(code));
  }

  std::vector<BlockRange> free_blocks() const {
    std::vector<BlockRange> runs;
    const blk64_t last = ext2fs_blocks_count(fs_->super) - 1;
    for (blk64_t begin = fs_->super->s_first_data_block; begin <= last;) {
      if (ext2fs_find_first_zero_block_bitmap2(fs_->block_map, begin, last, &begin) != 0) break;
      blk64_t end = 0;
      if (ext2fs_find_first_set_block_bitmap2(fs_->block_map, begin, last, &end) != 0) end = last + 1;
      runs.push_back({static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)});
      begin = end;
    }
    return runs;
  }
  void take(const BlockRange& blocks) {
    ext2fs_block_alloc_stats_range(fs_, static_cast<blk64_t>(blocks.begin), static_cast<blk_t>(blocks.end - blocks.begin), +1);
  }

 private:
  std::string name_;
  ext2_filsys fs_ = nullptr;
};

// Blocks of a file from `first` on, and where on the disk they are.
struct Extent {
  std::int64_t first = 0;
  BlockRange blocks;
};

class Filler {
 public:
  Filler(const Ext4Place& place, const RootTree& tree, std::int64_t epoch)
      : place_(place),
        tree_(tree),
        fs_(place, epoch),
        writer_(place),
        inodes_(tree.files.size()),
        links_(tree.files.size()),
        extents_(tree.files.size()) {}

  std::int64_t fill(const std::string& uuid) {
    release_root_block();
    const std::vector<Segment> segments = order_files(tree_, folder_blocks(tree_));
    number_inodes(segments);
    place_contents(segments);
    for (std::size_t i = 0; i < tree_.files.size(); ++i) {
      if (tree_.files[i].first_name == i) with_context("writing '/" + tree_.files[i].path + "'", [&] { write_inode(i); });
    }
    return finish(uuid);
  }

 private:
  // The root's folder is written anew like any other.
  void release_root_block() {
    blk64_t block = 0;
    fs_.check(ext2fs_bmap2(fs_.get(), EXT2_ROOT_INO, nullptr, nullptr, 0, 0, nullptr, &block));
    ext2fs_block_alloc_stats2(fs_.get(), block, -1);
  }

  void number_inodes(const std::vector<Segment>& segments) {
    const ext2_super_block* super = fs_.get()->super;
    // The first block of the table is kept for the file system's own; the tables follow each other in a group of groups.
    const std::int64_t first = kInodesPerBlock + 1;
    std::vector<std::int64_t> sizes;
    for (const auto& segment : segments) sizes.push_back(static_cast<std::int64_t>(segment.inodes.size()));
    const std::int64_t capacity = super->s_inodes_count - first + 1;
    const std::vector<std::int64_t> starts = segment_starts(sizes, capacity, kInodesPerBlock);
    for (std::size_t s = 0; s < segments.size(); ++s) {
      std::int64_t number = first + starts[s];
      for (const std::size_t file : segments[s].inodes) {
        if (number > super->s_inodes_count) fail("{}", errno_text(ENOSPC));
        inodes_[file] = file == 0 ? EXT2_ROOT_INO : static_cast<ext2_ino_t>(number++);
        if (file != 0) ext2fs_inode_alloc_stats2(fs_.get(), inodes_[file], +1, S_ISDIR(tree_.files[file].status.st_mode) ? 1 : 0);
      }
    }
    for (const auto& file : tree_.files) ++links_[file.first_name];
  }

  // Contents first, so that what libext2fs finds free afterwards, for extents and attributes that an inode does not hold, is free.
  void place_contents(const std::vector<Segment>& segments) {
    const BlockSpace space(fs_.free_blocks(), kUnitBlocks);
    std::vector<std::int64_t> sizes;
    for (const auto& segment : segments) sizes.push_back(segment.blocks());
    const std::vector<std::int64_t> starts = segment_starts(sizes, space.blocks() - space.blocks() / 500, kUnitBlocks);
    for (std::size_t s = 0; s < segments.size(); ++s) {
      std::int64_t at = starts[s];
      for (const auto& piece : segments[s].pieces) {
        const RootFile& file = tree_.files[piece.file];
        with_context("writing '/" + file.path + "'", [&] {
          if (S_ISREG(file.status.st_mode)) {
            copy(piece, space, at);
          } else {
            add_extents(piece.file, piece.blocks.begin, space.at({at, at + piece.blocks.end - piece.blocks.begin}));
            at += piece.blocks.end - piece.blocks.begin;
          }
        });
      }
    }
  }

  void add_extents(std::size_t file, std::int64_t first, const std::vector<BlockRange>& ranges) {
    for (const auto& range : ranges) {
      fs_.take(range);
      extents_[file].push_back({first, range});
      first += range.end - range.begin;
    }
  }

  // The piece's blocks go to `at` of the space, which is moved on; long runs of zeros are left out.
  void copy(const Piece& piece, const BlockSpace& space, std::int64_t& at) {
    const fs::path path = tree_.root / tree_.files[piece.file].path;
    const Fd source(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!source) fail("cannot open '{}': {}", path.native(), errno_text(errno));
    for (std::int64_t first = piece.blocks.begin; first < piece.blocks.end; first += kChunkBlocks) {
      const std::int64_t blocks = std::min(kChunkBlocks, piece.blocks.end - first);
      read_chunk(source, path, first, blocks, tree_.files[piece.file].status.st_size);
      for (const auto& data : data_in_chunk(blocks)) {
        const std::vector<BlockRange> ranges = space.at({at, at + data.end - data.begin});
        add_extents(piece.file, first + data.begin, ranges);
        const char* bytes = chunk_.data() + data.begin * kExt4BlockBytes;
        for (const auto& range : ranges) {
          const std::int64_t count = (range.end - range.begin) * kExt4BlockBytes;
          writer_.write(bytes, count, place_.offset + range.begin * kExt4BlockBytes);
          bytes += count;
        }
        at += data.end - data.begin;
      }
    }
  }

  void read_chunk(const Fd& source, const fs::path& path, std::int64_t first, std::int64_t blocks, std::int64_t size_bytes) {
    chunk_.assign(static_cast<std::size_t>(blocks * kExt4BlockBytes), '\0');
    const std::int64_t offset = first * kExt4BlockBytes;
    const auto wanted = static_cast<std::size_t>(std::min(size_bytes - offset, blocks * kExt4BlockBytes));
    for (std::size_t got = 0; got < wanted;) {
      const ssize_t count = ::pread(source.get(), chunk_.data() + got, wanted - got, offset + static_cast<std::int64_t>(got));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("cannot read '{}': {}", path.native(), errno_text(errno));
      if (count == 0) fail("'{}' got shorter while it was read", path.native());
      got += static_cast<std::size_t>(count);
    }
  }

  // The blocks of the chunk but for long runs of zeros.
  std::vector<BlockRange> data_in_chunk(std::int64_t blocks) const {
    std::vector<BlockRange> data;
    std::int64_t begin = 0, zeros = 0;
    const auto end_data = [&](std::int64_t end) {
      if (end > begin) data.push_back({begin, end});
    };
    for (std::int64_t i = 0; i < blocks; ++i) {
      if (is_zero(chunk_.data() + i * kExt4BlockBytes, kExt4BlockBytes)) {
        ++zeros;
        continue;
      }
      if (zeros >= kHoleBlocks) {
        end_data(i - zeros);
        begin = i;
      }
      zeros = 0;
    }
    end_data(zeros >= kHoleBlocks ? blocks - zeros : blocks);
    return data;
  }

  static ext2_inode_large new_inode(const struct stat& status) {
    ext2_inode_large inode{};
    inode.i_mode = static_cast<__u16>(status.st_mode);
    inode.i_uid = static_cast<__u16>(status.st_uid);
    inode.osd2.linux2.l_i_uid_high = static_cast<__u16>(status.st_uid >> 16);
    inode.i_gid = static_cast<__u16>(status.st_gid);
    inode.osd2.linux2.l_i_gid_high = static_cast<__u16>(status.st_gid >> 16);
    inode.i_extra_isize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    // No time but the content's own: when it was copied is nobody's affair. Seconds have 32 bits and two more (ext4_encode_extra_time() in
    // Linux's fs/ext4/ext4.h), nanoseconds the other thirty.
    const std::int64_t seconds = status.st_mtim.tv_sec;
    const auto low = static_cast<std::int32_t>(seconds);
    const auto more = static_cast<__u32>((seconds - low) >> 32) & 3U;
    inode.i_atime = inode.i_ctime = inode.i_mtime = inode.i_crtime = static_cast<__u32>(low);
    inode.i_atime_extra = inode.i_ctime_extra = inode.i_mtime_extra = inode.i_crtime_extra =
        more | static_cast<__u32>(status.st_mtim.tv_nsec) << 2;
    return inode;
  }

  void write_inode(std::size_t index) {
    const RootFile& file = tree_.files[index];
    const mode_t mode = file.status.st_mode;
    struct stat status = file.status;
    // The mount's own folder, made just now.
    if (index == 0) status.st_mtim = {fs_.get()->now, 0};
    ext2_inode_large inode = new_inode(status);
    auto* small = reinterpret_cast<ext2_inode*>(&inode);
    inode.i_links_count = static_cast<__u16>(links_[index]);
    if (S_ISDIR(mode)) inode.i_links_count = folder_links(index);
    if (S_ISREG(mode)) fs_.check(ext2fs_inode_size_set(fs_.get(), small, static_cast<ext2_off64_t>(file.status.st_size)));
    if (S_ISCHR(mode) || S_ISBLK(mode)) set_device(inode, file.status.st_rdev);
    if (S_ISDIR(mode)) inode.i_size = static_cast<__u32>(count_blocks(index) * kExt4BlockBytes);
    const std::string target = S_ISLNK(mode) ? fs::read_symlink(tree_.root / file.path).native() : "";
    if (S_ISLNK(mode)) inode.i_size = static_cast<__u32>(target.size());
    if (S_ISLNK(mode) && file.blocks() == 0) std::memcpy(inode.i_block, target.data(), target.size());
    fs_.check(ext2fs_write_inode_full(fs_.get(), inodes_[index], small, sizeof inode));
    if (S_ISREG(mode) || S_ISDIR(mode) || file.blocks() != 0) {
      set_extents(index, inode);
      fs_.check(ext2fs_write_inode_full(fs_.get(), inodes_[index], small, sizeof inode));
    }
    if (S_ISDIR(mode)) write_folder(index);
    if (S_ISLNK(mode) && file.blocks() != 0) {
      std::string block = target;
      block.resize(kExt4BlockBytes);
      fs_.check(io_channel_write_blk64(fs_.get()->io, static_cast<unsigned long long>(extents_[index][0].blocks.begin), 1, block.data()));
    }
    copy_attributes(index);
  }

  __u16 folder_links(std::size_t index) const {
    std::int64_t links = index == 0 ? 3 : 2;  // "." and its name; lost+found
    for (const std::size_t child : tree_.files[index].children) links += S_ISDIR(tree_.files[child].status.st_mode) ? 1 : 0;
    // More are not counted (feature dir_nlink).
    return static_cast<__u16>(links >= EXT2_LINK_MAX ? 1 : links);
  }

  std::int64_t count_blocks(std::size_t index) const {
    std::int64_t blocks = 0;
    for (const auto& extent : extents_[index]) blocks += extent.blocks.end - extent.blocks.begin;
    return blocks;
  }

  // As the kernel writes them (new_encode_dev() and old_encode_dev() in Linux's include/linux/kdev_t.h).
  static void set_device(ext2_inode_large& inode, dev_t device) {
    const __u32 major = gnu_dev_major(device), minor = gnu_dev_minor(device);
    if (major < 256 && minor < 256) {
      inode.i_block[0] = major << 8 | minor;
    } else {
      inode.i_block[1] = (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
    }
  }

  void set_extents(std::size_t index, ext2_inode_large& inode) {
    auto* small = reinterpret_cast<ext2_inode*>(&inode);
    std::vector<Extent>& extents = extents_[index];
    std::sort(extents.begin(), extents.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    ext2_extent_handle_t handle = nullptr;
    fs_.check(ext2fs_extent_open2(fs_.get(), inodes_[index], small, &handle));
    const std::unique_ptr<struct ext2_extent_handle, decltype(&ext2fs_extent_free)> closer(handle, &ext2fs_extent_free);
    // Blocks that libext2fs takes for the tree itself it counts in the inode.
    fs_.check(ext2fs_iblk_add_blocks(fs_.get(), small, static_cast<blk64_t>(count_blocks(index))));
    for (const auto& extent : joined(extents)) {
      ext2fs_extent entry{};
      entry.e_lblk = static_cast<blk64_t>(extent.first);
      entry.e_pblk = static_cast<blk64_t>(extent.blocks.begin);
      entry.e_len = static_cast<__u32>(extent.blocks.end - extent.blocks.begin);
      fs_.check(ext2fs_extent_insert(handle, EXT2_EXTENT_INSERT_AFTER, &entry));
      fs_.check(ext2fs_extent_fix_parents(handle));
    }
  }

  // What follows each other in the file and on the disk is one, as far as an extent goes.
  static std::vector<Extent> joined(const std::vector<Extent>& extents) {
    std::vector<Extent> result;
    for (Extent extent : extents) {
      if (!result.empty()) {
        Extent& last = result.back();
        if (last.first + last.blocks.end - last.blocks.begin == extent.first && last.blocks.end == extent.blocks.begin) {
          extent = {last.first, {last.blocks.begin, extent.blocks.end}};
          result.pop_back();
        }
      }
      while (extent.blocks.end - extent.blocks.begin > kMostExtentBlocks) {
        result.push_back({extent.first, {extent.blocks.begin, extent.blocks.begin + kMostExtentBlocks}});
        extent.first += kMostExtentBlocks;
        extent.blocks.begin += kMostExtentBlocks;
      }
      result.push_back(extent);
    }
    return result;
  }

  void write_folder(std::size_t index) {
    std::vector<Name> names = names_in(tree_, index);
    for (auto& name : names) {
      if (name.inode == 0) name.inode = inodes_[name.file];
    }
    std::size_t begin = 0;
    auto extent = extents_[index].begin();
    std::int64_t block = extent->blocks.begin;
    for (const std::size_t end : block_ends(names)) {
      if (block == extent->blocks.end) block = (++extent)->blocks.begin;
      std::string bytes = folder_block(fs_.get(), names, begin, end);
      fs_.check(ext2fs_write_dir_block4(fs_.get(), static_cast<blk64_t>(block++), bytes.data(), 0, inodes_[index]));
      begin = end;
    }
  }

  // File capabilities, access lists, and what users set: not what overlayfs notes for itself, nor this machine's labels.
  static bool is_kept(std::string_view name) {
    if (name.starts_with("user.")) return !name.starts_with("user.overlay.");
    return name == "security.capability" || name.starts_with("system.posix_acl_");
  }

  // Sorted: the kernel's order is its own affair.
  std::set<std::string> kept_attributes(const fs::path& path) {
    attribute_names_.resize(XATTR_LIST_MAX);
    const ssize_t bytes = ::llistxattr(path.c_str(), attribute_names_.data(), attribute_names_.size());
    if (bytes < 0 && errno != ENOTSUP) fail("cannot list the extended attributes of '{}': {}", path.native(), errno_text(errno));
    std::set<std::string> kept;
    for (const char* name = attribute_names_.data(); name < attribute_names_.data() + bytes; name += std::strlen(name) + 1) {
      if (is_kept(name)) kept.insert(name);
    }
    return kept;
  }

  void copy_attributes(std::size_t index) {
    const fs::path path = tree_.root / tree_.files[index].path;
    const std::set<std::string> names = kept_attributes(path);
    if (names.empty()) return;
    ext2_xattr_handle* handle = nullptr;
    fs_.check(ext2fs_xattrs_open(fs_.get(), inodes_[index], &handle));
    const auto close = [](ext2_xattr_handle* open) { ext2fs_xattrs_close(&open); };
    const std::unique_ptr<ext2_xattr_handle, decltype(close)> closer(handle, close);
    for (const auto& name : names) {
      std::string value(XATTR_SIZE_MAX, '\0');
      const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
      if (size < 0) fail("cannot read the extended attribute '{}' of '{}': {}", name, path.native(), errno_text(errno));
      fs_.check(ext2fs_xattr_set(handle, name.c_str(), value.data(), static_cast<std::size_t>(size)));
    }
  }

  std::int64_t finish(const std::string& uuid) {
    ext2_super_block* super = fs_.get()->super;
    unsigned at = 0;
    for (std::size_t i = 0; i + 1 < uuid.size() && at < sizeof super->s_uuid; i += 2) {
      if (uuid[i] == '-') ++i;
      super->s_uuid[at++] = static_cast<__u8>(std::stoi(uuid.substr(i, 2), nullptr, 16));
    }
    const auto free_blocks =
        static_cast<std::int64_t>(ext2fs_free_blocks_count(super)) - static_cast<std::int64_t>(ext2fs_r_blocks_count(super));
    // The superblock's copies have the UUID too: where they differ from it, e2fsck takes the file system for a doubtful one.
    fs_.get()->flags &= ~EXT2_FLAG_MASTER_SB_ONLY;
    ext2fs_mark_super_dirty(fs_.get());
    fs_.close();
    return free_blocks * kExt4BlockBytes;
  }

  const Ext4Place& place_;
  const RootTree& tree_;
  Ext4 fs_;
  SharingWriter writer_;
  std::vector<ext2_ino_t> inodes_;
  std::vector<std::int64_t> links_;  // names of each, where it is no folder
  std::vector<std::vector<Extent>> extents_;
  std::string chunk_, attribute_names_;
};

}  // namespace

std::vector<std::int64_t> folder_blocks(const RootTree& tree) {
  std::vector<std::int64_t> blocks(tree.files.size());
  for (std::size_t i = 0; i < tree.files.size(); ++i) {
    if (S_ISDIR(tree.files[i].status.st_mode)) blocks[i] = static_cast<std::int64_t>(block_ends(names_in(tree, i)).size());
  }
  return blocks;
}

std::int64_t fill_ext4(const Ext4Place& place, const RootTree& tree, const std::string& uuid, std::int64_t epoch) {
  return Filler(place, tree, epoch).fill(uuid);
}

}  // namespace kiln::image
