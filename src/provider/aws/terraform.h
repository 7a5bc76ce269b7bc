// A network in Terraform's language: a resource for each part, and for each an `import` block (Terraform 1.5 and later), so that
// `terraform apply` takes over what is there instead of making it again.
//
// Arguments and import ids: the AWS provider's documentation of each resource (version 5 and later). Written as `terraform fmt` would.
#pragma once

#include <string>

#include "provider/aws/network_state.h"

namespace kiln::provider::on_aws {

// The parts of network `name`; with an empty name all that kiln knows of the state's VPC, whosever it is.
std::string write_terraform(const NetworkState& state, const std::string& name);

// Text in quotes, as the language has it.
std::string hcl_string(const std::string& text);

}  // namespace kiln::provider::on_aws
