// Whether the process that launches a cluster still lives: known on the machine that it runs on.
//
//   KILN_HOME/aws/CLUSTER/launching    the id (the tag kiln:launch) of the last launch from here
//   KILN_HOME/aws/CLUSTER/lock         held for as long as it goes on
#pragma once

#include <optional>
#include <string>

#include "base/files.h"

namespace kiln::provider::on_aws {

class LaunchMark {
 public:
  // UsageError when another process of this machine launches a cluster of that name just now.
  LaunchMark(const std::string& cluster, const std::string& launch);
  // That launch was of this machine, and its process is gone.
  static bool is_abandoned(const std::string& cluster, const std::string& launch);
  // Held, nobody of this machine launches the cluster; nothing when somebody does, or has never done.
  static std::optional<FileLock> hold_off(const std::string& cluster);

 private:
  FileLock lock_;
};

}  // namespace kiln::provider::on_aws
