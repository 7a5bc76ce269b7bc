// The deploy root: a folder of the user's that is copied to every node, with scripts and packages that are run from there at launch.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cluster/session.h"

namespace kiln::cluster {

// Copies `folder` to /opt/kiln/deploy-root on every node, side by side, then runs init.sh and setup.sh of the modules that work from it
// (`packages` and `extra`, where the cluster has them) on every node, and at last extra's run.sh on the first master. Error naming node
// and script, with its last lines; UsageError when there is no such folder.
void apply_deploy_root(Session& session, const std::filesystem::path& folder);

// The same without run.sh for nodes that join later, from the copy that the first master has. Nothing when it has none.
void apply_deploy_root_to(Session& session, const std::vector<std::string>& nodes);

}  // namespace kiln::cluster
