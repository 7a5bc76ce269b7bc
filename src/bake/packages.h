// Distribution packages: which package manager a base has, and the one transaction in which it installs what an image asks for.
//
// Debian's family ("debian") has apt-get; rpm's ("rpm") has dnf, microdnf or yum, the base's own, with the repositories that the base
// names. What a transaction downloads stays in the store's cache, which is bind-mounted for the time of the step, and what the managers
// note about the run itself (logs, histories, caches) is no part of the layer. One thing is: rpm's database holds the time at which each
// package was installed, which an rpm that knows SOURCE_DATE_EPOCH takes from there; with an older one two bakes differ in that file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bake/steps.h"

namespace kiln::bake {

// Whether a layer with this list of files has the program in /bin or /usr/bin.
bool has_program(const std::string& file_list, const char* program);
// "debian", "rpm", or "" for a base with neither; from the list of its files (layer_files.h). With both it is Debian's.
std::string find_package_family(const std::string& file_list);

// Lists of archives, as apt keeps them, from an earlier bake: apt asks whether they are still true, and fetches only what is not.
// Copies those of `cache` into the folder `lists`, which is made.
void bring_lists(const std::filesystem::path& cache, const std::filesystem::path& lists);
// Those of `lists` are the cache's from now on.
void keep_lists(const std::filesystem::path& lists, const std::filesystem::path& cache);

struct PackageFolders {
  std::filesystem::path work;   // thrown away after the step
  std::filesystem::path cache;  // stays in the store
};
// `family`: of those above, never "".
RunStep package_step(const std::string& family, const std::vector<std::string>& packages, const PackageFolders& folders,
                     std::int64_t epoch);

}  // namespace kiln::bake
