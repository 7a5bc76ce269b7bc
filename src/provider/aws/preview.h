// What a launch would ask of EC2.
#pragma once

#include "provider/aws/placement.h"
#include "provider/aws/record.h"

namespace kiln::provider::on_aws {

// AuthorizeSecurityGroupIngress' parameters: everything between the cluster's own nodes; from outside SSH only, from those addresses only.
Json group_rules(const Record& record, const Place& place);

// The calls that change something, in their order, as {"operation", "parameters"}; of user data only how large it is. Each is what is tried
// first. Asks EC2 only for what is there.
Json preview_of(const kiln::aws::Ec2& ec2, Record record, const CreateRequest& request, const Place& place);

}  // namespace kiln::provider::on_aws
