// The target `gce`: the disk as Compute Engine imports it ("Manually import boot disks": a tar of GNU's old format with sparse files,
// compressed by gzip, in which there is one file, disk.raw, whose size is a whole number of GiB).
// What the guest must have is module `machine`'s: virtio-scsi and NVMe for the disk, gVNIC and virtio for the network, console at ttyS0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "image/disk.h"
#include "image/programs.h"

namespace kiln::image {

struct GceArchive {
  std::filesystem::path file;
  std::int64_t size_bytes = 0;
  bool reused = false;
};

// Beside the disk: disks/KEY/gce.tar.gz. The same disk gives the same bytes.
GceArchive make_gce_archive(const bake::Store& store, const Disk& disk, const bake::Image& image);

std::vector<Program> gce_programs();

}  // namespace kiln::image
