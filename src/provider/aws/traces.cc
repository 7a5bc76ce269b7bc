#include "provider/aws/traces.h"

#include "base/error.h"
#include "base/files.h"
#include "provider/aws/account.h"
#include "provider/aws/launch_mark.h"
#include "provider/ssh_door.h"

namespace kiln::provider::on_aws {

void forget_cluster(const std::string& cluster) {
  const fs::path folder = Account::folder_of(cluster);
  std::error_code ignored;
  try {
    const auto lock = LaunchMark::hold_off(cluster);
    if (!lock) return;
    if (fs::exists(folder / "key", ignored)) SshDoor::close(folder);
    fs::remove_all(folder, ignored);
  } catch (const std::exception&) {
    // All of it may stay.
  }
}

std::vector<Leftover> collect_traces(const std::string& profile, const std::set<std::string>& regions, const std::set<std::string>& living,
                                     bool dry_run) {
  std::vector<Leftover> leftovers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(Account::folder_of(""), ignored)) {
    const std::string cluster = entry.path().filename().native();
    if (living.count(cluster) != 0 || !LaunchMark::hold_off(cluster)) continue;
    const auto place = Account::place_of(cluster);
    if (!place || place->profile != profile || regions.count(place->region) == 0) continue;
    if (!dry_run) forget_cluster(cluster);
    leftovers.push_back({fmt::format("what is kept here of cluster {}, which is gone", cluster), !dry_run});
  }
  return leftovers;
}

}  // namespace kiln::provider::on_aws
