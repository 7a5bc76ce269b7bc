// Where a node finds its document: in a file that it was given, or, on a machine of a cloud, in the first of
//   1. /etc/kiln/node.json, which an administrator wrote
//   2. the metadata service (metadata.h)
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "config/node_document.h"
#include "node/metadata.h"
#include "node/paths.h"

namespace kiln::node {

// From one file. Error with the file's name.
config::NodeDocument read_document(const std::filesystem::path& file);

struct MetadataSearch {
  std::string service = kMetadataService;
  // A machine's network is up some seconds after the agent has started, on slow clouds a minute; twice that, and whoever waits
  // for the node has given up.
  std::chrono::milliseconds limit{120000};
  // Told in plain words what is waited for and what was found.
  std::function<void(const std::string&)> tell;
};
// Waits until the network and the service are there. Error when they are not within the limit, or when what is there is no document.
config::NodeDocument find_document(const Paths& paths, const MetadataSearch& search);

}  // namespace kiln::node
