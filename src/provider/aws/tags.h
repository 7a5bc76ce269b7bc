// How kiln's things on EC2 are told from others'.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace kiln::provider::on_aws {

using Tags = std::vector<std::pair<std::string, std::string>>;

// Of all that belongs to a cluster; its value is the cluster's name.
inline constexpr const char* kClusterTag = "kiln:cluster";

}  // namespace kiln::provider::on_aws
