#include "provider/aws/garbage.h"

#include <set>

#include "base/activity.h"
#include "base/error.h"
#include "provider/aws/launch_mark.h"
#include "provider/aws/machines.h"
#include "provider/aws/record.h"
#include "provider/aws/removal.h"
#include "provider/aws/traces.h"

namespace kiln::provider::on_aws {

namespace {

// Why it shall go; empty: it shall not.
std::string reason_to_end(const Record& record) {
  const Cluster& cluster = record.cluster;
  const auto now = static_cast<std::int64_t>(now_in_seconds());
  if (cluster.lease_until && *cluster.lease_until <= now) return "its lease has ended";
  if (cluster.state == State::kCreating)
    return is_given_up(cluster.name, record.launch, cluster.created) ? "its launch was interrupted" : "";
  return record.instances.empty() ? "its machines are gone" : "";
}

}  // namespace

bool is_given_up(const std::string& cluster, const std::string& launch, std::int64_t created) {
  // Machines end themselves after kLaunchLease; clocks may differ by some minutes.
  const auto longest = std::chrono::seconds(kLaunchLease + std::chrono::minutes(5)).count();
  return LaunchMark::is_abandoned(cluster, launch) || created + longest < static_cast<std::int64_t>(now_in_seconds());
}

std::vector<Leftover> collect_garbage_in(const kiln::aws::Session& session, bool dry_run, std::set<std::string>& living) {
  const kiln::aws::Ec2 ec2(session);
  std::vector<Leftover> leftovers;
  for (const auto& record : find_records(ec2)) {
    const std::string why = reason_to_end(record);
    if (why.empty()) {
      living.insert(record.cluster.name);
      continue;
    }
    if (dry_run) living.insert(record.cluster.name);  // it is still here, and so is what this machine keeps of it
    Leftover leftover{fmt::format("cluster {} in {}: {}", record.cluster.name, session.region(), why), false};
    if (!dry_run) {
      remove_cluster(session, ec2, record.cluster.name);
      forget_cluster(record.cluster.name);
      leftover.removed = true;
    }
    leftovers.push_back(std::move(leftover));
  }
  for (const auto& [cluster, volumes] : idle_volumes(ec2)) {
    if (living.count(cluster) != 0) continue;
    if (!dry_run) delete_volumes(ec2, volumes);
    for (const auto& volume : volumes)
      leftovers.push_back({fmt::format("volume {} in {}: there is no cluster {}", volume, session.region(), cluster), !dry_run});
  }
  return leftovers;
}

}  // namespace kiln::provider::on_aws
