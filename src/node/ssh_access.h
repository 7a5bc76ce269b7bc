// Who reaches this machine by SSH, and by which key it is known: from the node document, for machines that have an SSH server. Written
// before anything of the cluster is set up, and told to a server that runs already.
#pragma once

#include "config/node_document.h"
#include "node/paths.h"

namespace kiln::node {

// Host key, and root's authorized keys (those that the image has stay). Nothing on a machine without an SSH server's settings.
void apply_ssh(const Paths& paths, const config::NodeDocument::Ssh& ssh);

}  // namespace kiln::node
