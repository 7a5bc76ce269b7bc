// A disk in the formats that hypervisors and clouds read, by qemu-img.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "image/disk.h"
#include "image/programs.h"

namespace kiln::image {

// "raw", "qcow2", "vmdk", "vhd", "vhdx".
std::vector<const char*> disk_formats();
std::vector<Program> disk_format_programs(const std::string& format);

// The disk in a new file, which takes the place of `file` in one step. UsageError for an unknown format.
// The same disk gives the same bytes, but for vhdx: qemu-img writes random identifiers into its headers.
void write_disk(const Disk& disk, const std::string& format, const std::filesystem::path& file);

// A copy that keeps holes and shares blocks where the file systems can; takes the place of `to` in one step.
void copy_file_in_one_step(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace kiln::image
