// The parts of a disk image, written straight into it. All of it runs in a cell, where the layers' files can be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "image/root_tree.h"

namespace kiln::image {

inline constexpr std::int64_t kMiB = 1 << 20;
inline constexpr std::int64_t kSectorBytes = 512;

// Where partitions lie (disk.h).
struct DiskLayout {
  static constexpr std::int64_t kBiosStart = 1 * kMiB, kBiosBytes = 1 * kMiB;
  static constexpr std::int64_t kEfiStart = 2 * kMiB, kEfiBytes = 34 * kMiB;
  static constexpr std::int64_t kRootStart = 36 * kMiB;
  static constexpr std::int64_t kEndBytes = 1 * kMiB;  // the backup of the table
  std::int64_t size_bytes = 0;
  std::int64_t root_bytes() const { return size_bytes - kRootStart - kEndBytes; }
};

// How firmware starts the machines of an architecture.
struct BootWay {
  const char* architecture;  // Debian's name
  bool has_bios;             // then there is a BIOS boot partition, with GRUB for it
  const char* efi_file;      // what UEFI starts from a disk that it knows nothing of (UEFI specification 2.10, 3.5.1.1)
  const char* root_type;     // the root's partition type (discoverable partitions specification)
};
// Null for an architecture whose boot loader kiln does not know.
const BootWay* find_boot_way(const std::string& architecture);

// An UUID that is the same for the same seed and purpose (RFC 9562, version 8: own content).
std::string stable_uuid(const std::string& seed, const std::string& purpose);

// The partition table, by sfdisk.
void write_table(const std::filesystem::path& disk, const DiskLayout& layout, const BootWay& way, const std::string& seed);

// GRUB's images for BIOS, as grub-install would place them: the files boot.img and core.img of `folder`.
void write_bios_loader(const std::filesystem::path& disk, const std::filesystem::path& folder);

// The EFI system partition with the way's file of `folder`; made in `work` by mkfs.vfat and mtools. `epoch`: the time of what is in it.
void write_efi_partition(const std::filesystem::path& disk, const BootWay& way, const std::filesystem::path& folder,
                         const std::filesystem::path& work, const std::string& seed, std::int64_t epoch);

// What the files of a root need.
struct RootNeeds {
  std::int64_t blocks = 0;  // of 4 KiB
  std::int64_t inodes = 0;
};
RootNeeds measure_root(const RootTree& tree);
// The size of a root partition that holds them with `free_bytes` for more.
std::int64_t root_bytes_for(const RootNeeds& needs, std::int64_t free_bytes);

// The root file system: an ext4 that mke2fs makes empty, with the files of the tree (ext4_tree.h); its UUID is that of the seed. What
// `earlier`, a disk of the same layout or an empty path, has at the same place need not be written again. Gives the bytes that are free.
// `checksum_seed`: whether the image's GRUB reads a file system with the feature metadata_csum_seed.
std::int64_t write_root(const std::filesystem::path& disk, const DiskLayout& layout, const RootTree& tree, const RootNeeds& needs,
                        const std::filesystem::path& earlier, const std::filesystem::path& work, const std::string& seed,
                        std::int64_t epoch, bool checksum_seed);

}  // namespace kiln::image
