// What this machine keeps of clusters (Account::folder_of()), once they are gone: keys and sockets of SSH, where they were.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "provider/provider.h"

namespace kiln::provider::on_aws {

// Ends SSH's shared sessions and removes the folder, unless a launch of that name goes on here. Never throws. Absent is fine.
void forget_cluster(const std::string& cluster);

// Those of clusters that were launched with `profile` into one of the `regions`, and of which none of the `living` has the name.
std::vector<Leftover> collect_traces(const std::string& profile, const std::set<std::string>& regions, const std::set<std::string>& living,
                                     bool dry_run);

}  // namespace kiln::provider::on_aws
