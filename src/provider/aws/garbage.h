// What launches left in a region that were killed, and clusters that ended by themselves.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "aws/session.h"
#include "provider/provider.h"

namespace kiln::provider::on_aws {

// Clusters whose machines are gone, whose lease has ended, or whose launch was given up (its process of this machine has died, or it takes
// longer than any launch may); volumes of clusters that are no more. Only what carries kiln's tags. Removed unless `dry_run`.
// `living`: the clusters that stay are added to it.
std::vector<Leftover> collect_garbage_in(const kiln::aws::Session& session, bool dry_run, std::set<std::string>& living);

// As above, of one half-made cluster.
bool is_given_up(const std::string& cluster, const std::string& launch, std::int64_t created);

}  // namespace kiln::provider::on_aws
