// The scripts of the steps: a module's, with the environment of docs/modules.md, and the package transaction.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bake/plan.h"
#include "bake/sources.h"
#include "bake/steps.h"

namespace kiln::bake {

// `stage`: bake (init.sh) or warm (warm.sh). `sources`: by name, for init.sh.
Script module_script(const PlannedModule& module, const config::Values& builtins, const std::string& stage, const std::string& file,
                     std::int64_t epoch, std::size_t jobs, const std::map<std::string, MountedSource>& sources, bool network);

// One apt-get transaction. Lists and .deb files are on bind mounts: `lists` is thrown away, `cache` stays in the store.
RunStep package_step(const std::vector<std::string>& packages, const std::filesystem::path& lists, const std::filesystem::path& cache,
                     std::int64_t epoch);

}  // namespace kiln::bake
