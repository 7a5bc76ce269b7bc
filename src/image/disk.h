// The target `disk`: an image as a raw disk that boots by BIOS and by UEFI; for arm64, whose machines know no BIOS, by UEFI.
//
// What is on it, by 512-byte sectors (GPT, UEFI specification 2.10 chapter 5):
//   0          boot sector: GRUB's boot.img, which loads core.img; beside it the protective table
//   2048       BIOS boot partition, 1 MiB: GRUB's core.img
//   4096       EFI system partition, 34 MiB of FAT32 (the smallest there is): EFI/BOOT/BOOTX64.EFI (BOOTAA64.EFI), GRUB again
//   73728      the root, ext4, to 1 MiB before the end; the last, so that it can grow with the disk
// On a disk for arm64 the first two are left empty, and the root is partition 2 instead of 3; all else lies where it does on the others.
// Kernel, GRUB's images and the init system come with module `machine` (modules/machine), which is laid over the image's layers here:
// the image itself, as containers see it, stays as it was.
//
// It is made by an ordinary user, without loop devices: the layers are merged by an overlay mount in a cell, and their files laid out in
// the order of placement.h (ext4_tree.h). Where the file system can share extents, what the disk made last has at the same place is not
// written again. The same layers give the same bytes: UUIDs and the hash seed are made of the image's digest, every time is the files' own.
//
//   HOME/disks/KEY/disk.raw        sparse
//   HOME/disks/KEY/disk.json       {image, disk, layers, size_bytes}: what it was made of, for gc (bake/store.h)
//   HOME/disks/KEY/…               what is made of the disk (gce.h)
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "image/programs.h"

namespace kiln::image {

// What is laid over an image that lacks it.
inline constexpr const char* kMachineModule = "machine";

struct Disk {
  std::string key;
  std::filesystem::path file;
  std::int64_t size_bytes = 0;
  bool reused = false;
  bake::Image machine = {};  // the image with what was laid over it
};

// Makes it when it is not there (by one maker at a time), with the layers that make a machine of the image. UsageError for an
// architecture whose boot loader kiln does not know, or a size in the spec that what is in it does not fit in.
Disk make_disk(bake::Store& store, const bake::Image& image, const bake::BakeOptions& options);

// Makes the lowest of those layers, the packages of a machine, from as much of the image as stands below them (BakeOptions::on_ground): the
// same that make_disk() makes of the whole image, unless the image's modules turn out to be in their way.
void add_machine_packages(bake::Store& store, const bake::Image& ground, const bake::BakeOptions& options);

// What must be installed for that.
std::vector<Program> disk_programs();

}  // namespace kiln::image
