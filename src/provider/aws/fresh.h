// Calls about what was made a moment ago: EC2 may say for some seconds that there is no such thing ("Eventual consistency" in its API
// reference), and an answer that was lost says nothing of what was done.
#pragma once

#include <string>

#include "aws/ec2.h"

namespace kiln::provider::on_aws {

// EC2 shows what was just made within seconds, rarely more.
inline constexpr std::chrono::seconds kShowTime{120};

// As ec2.call(), for as long as EC2 does not know the group or the machines that it is about; then its ApiError. `kShowTime` at most.
Json call_about_new(const kiln::aws::Ec2& ec2, const std::string& operation, const Json& parameters);

// Makes the security group, once, and gives its id. The name is what only one launch gets: when it is taken, the group's tag kiln:launch
// tells whether it was an attempt of this very launch that nobody heard the answer of. ApiError (is_duplicate()) when it is another's.
std::string make_group_once(const kiln::aws::Ec2& ec2, const Json& parameters, const std::string& launch);

}  // namespace kiln::provider::on_aws
