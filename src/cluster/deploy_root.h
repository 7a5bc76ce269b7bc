// The deploy root: a folder of the user's that is copied to every node, with scripts and packages that are run from there at launch.
#pragma once

#include <filesystem>

#include "cluster/session.h"

namespace kiln::cluster {

// Copies `folder` to /opt/kiln/deploy-root on every node, side by side, then runs init.sh and setup.sh of the modules that work from it
// (those named `packages` and `extra` that are on the image) on every node, and at last extra's run.sh on the first master. Error naming
// node and script, with its last lines.
void apply_deploy_root(Session& session, const std::filesystem::path& folder);

}  // namespace kiln::cluster
