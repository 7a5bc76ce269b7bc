// Launch and what changes a cluster later: resize, stop, start, destroy. Knows no provider by name.
#pragma once

#include <string>
#include <vector>

#include "bake/bake.h"
#include "cluster/session.h"
#include "cluster/timeline.h"
#include "config/cluster_spec.h"

namespace kiln::cluster {

struct LaunchOptions {
  config::ClusterSpec spec;
  bake::BakeOptions bake;
  bool keep_failed = false;  // leave what was started when the launch fails, to look at it
  bool resume = false;       // go on with a launch of that name whose process died
};

struct LaunchResult {
  provider::Cluster cluster;
  Timeline timeline;
};

// Bakes the image if it is not there, creates the machines, waits until every service is ready and every worker has registered.
// On failure or Ctrl-C everything is removed again (unless kept); the error names node and service and has its last log lines.
LaunchResult launch(const LaunchOptions& options);

// What launch() would make, and makes nothing: {"cluster", "provider", "image", "masters", "workers", "calls": provider.h's preview()}.
Json preview(const LaunchOptions& options);

// More or fewer workers; new ones are waited for, the highest numbers go first. Returns the timeline of the change.
Timeline resize(Session& session, int workers, std::chrono::seconds drain_time = std::chrono::seconds(0));

// Services stopped in order, then machines; disks are kept. A stopped cluster: nothing to do.
void stop(Session& session);
// A stopped or lost cluster again: the same nodes, names and disks.
Timeline start(Session& session);
// Everything of the cluster; a cluster that is not there: nothing to do. True when there was one.
bool destroy(const std::string& name);

}  // namespace kiln::cluster
