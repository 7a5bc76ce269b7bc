// What is asked of RunInstances: its parameters, made of the cluster's spec, and the ways to try in their order: market, type, zone.
//
// Workers that are spread over zones are one request a zone; everything else is one request a role.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "provider/aws/placement.h"
#include "provider/aws/record.h"

namespace kiln::provider::on_aws {

// A launch that nobody sees through ends by itself after so long.
inline constexpr std::chrono::minutes kLaunchLease{20};

struct Batch {
  std::string role;
  int first_number = 1, count = 0;
  std::string private_address = {};  // of the one machine; empty: EC2 chooses
};

// Where, of what type and on which market; what of a request is changed to try again.
struct Way {
  std::string type;
  Place::Subnet subnet;
  std::string spot_price;  // as in AwsSpec; empty: on demand
};

struct RunRequest {
  Batch batch;
  Json parameters;
  std::vector<Way> ways;  // at least one
};

// `known`: what the nodes are told of others. The first way is in the parameters. UsageError for a key pair that is not there, or an image
// larger than the root that is asked for.
std::vector<RunRequest> run_requests(const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request, const Place& place,
                                     const Batch& batch, const std::vector<Node>& known);
// Error when what the machines shall know does not fit into their user data: before anything is asked of EC2.
void check_user_data(const CreateRequest& request);
void apply_way(Json& parameters, const Way& way);
// "m7i.large in eu-central-1b on spot".
std::string describe(const Way& way);
// Another way may have what this one has not.
bool is_no_room(const kiln::aws::ApiError& error);

}  // namespace kiln::provider::on_aws
