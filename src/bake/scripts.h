// The scripts of the steps: a module's, with the environment of docs/modules.md.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bake/plan.h"
#include "bake/sources.h"
#include "bake/steps.h"

namespace kiln::bake {

// `stage`: bake (init.sh) or warm (warm.sh). `sources`: for init.sh.
Script module_script(const PlannedModule& module, const config::Values& builtins, const std::string& stage, const std::string& file,
                     std::int64_t epoch, std::size_t jobs, const SourceFolders& sources, bool network);

// The same whoever bakes, wherever: nothing of the host's environment but, with `network`, the way to its network.
std::map<std::string, std::string> plain_environment(std::int64_t epoch, bool network);

// The package step then prefers the versions that the file says (apt_preferences(5)), and leaves nothing of it in the layer.
void prefer_versions(RunStep& step, const std::filesystem::path& preferences);

}  // namespace kiln::bake
