// Removing a cluster, whatever there is of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "aws/session.h"
#include "provider/aws/record.h"

namespace kiln::provider::on_aws {

// EC2 shuts machines down within a minute, more often than not; a group can be removed only then.
inline constexpr std::chrono::seconds kTerminationTime{600};

// All that carries the cluster's tag: instances, volumes that stayed, the profile that was made for it, the group last, since it is the
// cluster's record. Looks again and again, since EC2 may not tell yet of what was made a moment ago: it is over when the group is gone.
// `group`: one that was made, though EC2 may not show it; so `profile`. Absent is fine. WaitTimeout after kTerminationTime.
void remove_cluster(const kiln::aws::Session& session, const kiln::aws::Ec2& ec2, const std::string& name, const std::string& group = {},
                    const std::string& profile = {});

// Volumes of kiln's clusters that no machine has, by cluster; with `cluster` only its.
std::map<std::string, std::vector<std::string>> idle_volumes(const kiln::aws::Ec2& ec2, const std::string& cluster = {});
// Absent ones are fine.
void delete_volumes(const kiln::aws::Ec2& ec2, const std::vector<std::string>& volumes);

}  // namespace kiln::provider::on_aws
