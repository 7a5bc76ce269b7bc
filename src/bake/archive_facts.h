// What apt's package lists said when a layer's packages were installed: layers/KEY/archive.json, for lock files.
//   {"releases": [{"file", "date", "sha256"}…], "packages": {"NAME VERSION ARCH": SHA-256 of the .deb}}
// Absent: the layer installed no packages, or was made before kiln wrote it.
#pragma once

#include <filesystem>
#include <vector>

#include "bake/bill.h"

namespace kiln::bake {

inline constexpr const char* kArchiveFile = "archive.json";

// From a folder such as /var/lib/apt/lists, as far as it concerns `installed`.
Json archive_facts(const std::filesystem::path& lists, const std::vector<DistributionPackage>& installed);
// Of the packages lists in WORK/lists, for what WORK/fs has installed, to WORK/archive.json; nothing where there are no lists. In a cell.
void write_archive_facts(const std::filesystem::path& work);
// FOLDER/archive.json; an empty object where there is none.
Json archive_facts_in(const std::filesystem::path& folder);
// The layer's; an empty object where there are none.
Json stored_archive_facts(const Store& store, const std::string& key);
// "NAME VERSION ARCH" → SHA-256
std::map<std::string, std::string> package_digests(const Json& archive);

}  // namespace kiln::bake
