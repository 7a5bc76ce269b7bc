// ami-list/: which AMI is the image's in each region, for programs and for people.
//
//   ami-list/REGION/hvm, ami-list/REGION/pvm   one id and a newline: what older launchers read; of several boot modes, the spec's first.
//                                              Those launchers know x86_64 alone: hvm names an AMI for arm64 only in a list in which no
//                                              other architecture is, nor is being made
//   ami-list/REGION/hvm-arm64                  the same for arm64, always
//   ami-list/index.json                        all that there is, one object an AMI, sorted:
//     {"image": "spark", "region": "eu-central-1", "virtualization": "hvm", "boot_mode": "uefi-preferred", "architecture": "x86_64",
//      "digest": "…" (the image's), "id": "ami-…", "name": "kiln/spark/…"}
//
// Each file is replaced in one step, and only where something succeeded: a region that failed keeps its lines.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "image/ami_region.h"

namespace kiln::image {

// UsageError when the folder is another image's list.
void check_ami_list(const std::filesystem::path& folder, const std::string& image);
// Puts these in the place of what their regions, architectures, virtualizations and boot modes had; `kinds`: in the spec's order;
// `is_beside_amd64`: AMIs for x86_64 belong into the list too, whether they are there yet or not. One writer at a time. Nothing is written
// where nothing changes.
void update_ami_list(const std::filesystem::path& folder, const std::vector<AmiKind>& kinds, const std::vector<Ami>& amis,
                     bool is_beside_amd64 = false);
// Takes out those with the ids.
void remove_from_ami_list(const std::filesystem::path& folder, const std::vector<std::string>& ids);

}  // namespace kiln::image
