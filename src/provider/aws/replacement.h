// A machine in the place of a master that was lost. It gets the same name and the same private address, by which all nodes know their
// master: their agents and services find it again by themselves, and nobody has to be told anything.
#pragma once

#include <string>

#include "aws/session.h"
#include "provider/aws/record.h"

namespace kiln::provider::on_aws {

// `address`: what it had. What is left of the old machine is ended first. Error when the address is in none of the cluster's subnets.
Machine replace_master(const kiln::aws::Session& session, const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request,
                       const std::string& name, const std::string& address);

}  // namespace kiln::provider::on_aws
