#include "provider/aws/removal.h"

#include <algorithm>
#include <set>

#include "aws/wait.h"
#include "base/error.h"
#include "provider/aws/instance_profile.h"

namespace kiln::provider::on_aws {

namespace {

// As EC2 takes them in one call.
constexpr std::size_t kMostInstances = 1000;

// Some 0.7 s, by the waiter's pauses.
constexpr int kTimesUnknown = 3;

// False when EC2 does not know them all yet.
bool terminate(const kiln::aws::Ec2& ec2, const std::vector<std::string>& instances) {
  for (std::size_t first = 0; first < instances.size(); first += kMostInstances) {
    const auto begin = instances.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = instances.begin() + static_cast<std::ptrdiff_t>(std::min(instances.size(), first + kMostInstances));
    try {
      ec2.call("TerminateInstances", {{"InstanceId", std::vector<std::string>(begin, end)}});
    } catch (const kiln::aws::ApiError& error) {
      if (!error.is_not_found()) throw;
      return false;
    }
  }
  return true;
}

enum class Deleted { kYes, kNotYet, kUnknown };

Deleted delete_group(const kiln::aws::Ec2& ec2, const std::string& group) {
  try {
    ec2.call("DeleteSecurityGroup", {{"GroupId", group}});
    return Deleted::kYes;
  } catch (const kiln::aws::ApiError& error) {
    if (error.is_not_found()) return Deleted::kUnknown;
    // A machine that EC2 does not tell of yet, or its network interface.
    if (error.code() == "DependencyViolation") return Deleted::kNotYet;
    throw;
  }
}

}  // namespace

std::map<std::string, std::vector<std::string>> idle_volumes(const kiln::aws::Ec2& ec2, const std::string& cluster) {
  std::vector<std::pair<std::string, std::vector<std::string>>> wanted = {{"status", {"available"}}, {"tag-key", {"kiln:launch"}}};
  if (!cluster.empty()) wanted.push_back({"tag:kiln:cluster", {cluster}});
  Json parameters = kiln::aws::filters(wanted);
  parameters["MaxResults"] = 500;
  std::map<std::string, std::vector<std::string>> volumes;
  for (const auto& volume : ec2.call_all("DescribeVolumes", parameters, "volumeSet"))
    volumes[kiln::aws::tag(volume, "kiln:cluster").value_or("")].push_back(kiln::aws::required_text(volume, "volumeId"));
  return volumes;
}

void delete_volumes(const kiln::aws::Ec2& ec2, const std::vector<std::string>& volumes) {
  for (const auto& volume : volumes) {
    try {
      ec2.call("DeleteVolume", {{"VolumeId", volume}});
    } catch (const kiln::aws::ApiError& error) {
      if (!error.is_not_found()) throw;
    }
  }
}

void remove_cluster(const kiln::aws::Session& session, const kiln::aws::Ec2& ec2, const std::string& name, const std::string& group,
                    const std::string& profile) {
  std::set<std::string> ended;
  int unknown = 0;
  bool profile_is_gone = false;
  kiln::aws::wait_until(session.surroundings(), fmt::format("the machines of cluster '{}' to end", name), kTerminationTime, [&] {
    auto records = find_records(ec2, name);
    const Record record = records.empty() ? Record{} : std::move(records.front());
    const std::string& its_group = group.empty() ? record.group_id : group;
    std::vector<std::string> living;
    for (const auto& instance : record.instances) {
      if (ended.count(instance.id) == 0) living.push_back(instance.id);
    }
    if (terminate(ec2, living)) ended.insert(living.begin(), living.end());
    const bool waits = std::any_of(record.gone.begin(), record.gone.end(), [](const Machine& one) { return one.state != "terminated"; });
    if (!record.instances.empty() || waits) return false;
    delete_volumes(ec2, idle_volumes(ec2, name)[name]);
    // A tag that somebody else wrote names nothing that goes.
    const bool is_ours = !record.made_profile.empty() && record.made_profile == profile_name(record);
    const std::string made = !profile.empty() ? profile : is_ours ? record.made_profile : "";
    if (!made.empty() && !std::exchange(profile_is_gone, true)) delete_profile(session, made);
    if (its_group.empty()) return true;
    const Deleted deleted = delete_group(ec2, its_group);
    // That EC2 does not know it may be said of one that was made a moment ago: once may be a lie, again and again is none.
    return deleted == Deleted::kYes || (deleted == Deleted::kUnknown && ++unknown == kTimesUnknown);
  });
}

}  // namespace kiln::provider::on_aws
