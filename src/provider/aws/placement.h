// Where the machines of a cluster go, and who may come in: found before anything is made.
#pragma once

#include <string>
#include <vector>

#include "aws/session.h"
#include "config/aws_spec.h"

namespace kiln::provider::on_aws {

struct Place {
  struct Subnet {
    std::string id, zone;
  };
  std::string vpc_id;
  std::vector<Subnet> subnets;          // in the order in which they are tried; one a zone
  bool is_spread = false;               // workers go to all of them
  std::vector<std::string> groups;      // security groups beside the cluster's own, by id
  std::vector<std::string> authorized;  // address ranges
};

// UsageError, with what there is, for a network, subnet, zone or security group that is not there.
Place find_place(const kiln::aws::Session& session, const config::AwsSpec& wish);

// "203.0.113.7/32": this machine as the cloud sees it, asked of a service of AWS's ($KILN_CHECKIP names another). Error, with what to give
// instead, when it does not answer.
std::string own_address_range();

}  // namespace kiln::provider::on_aws
