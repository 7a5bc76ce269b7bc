// What only a cluster on EC2 has: the section `aws:` of a cluster spec, and the options that begin alike.
//
//   aws:
//     region: eu-central-1          # default: as AWS's own tools find it; so the profile
//     profile: analytics
//     zone: eu-central-1b           # default: the first that has room; all: workers are spread over the region's
//     network: shared               # of `kiln network`; or vpc: vpc-…, subnet: subnet-…; default: the account's default VPC
//     instance_type: [m7i.xlarge, m6i.xlarge]   # workers; of several the first that there is room for
//     master_type: m7i.large        # default: as workers
//     authorized: [203.0.113.7/32]  # who may connect by SSH; default: the caller's own address
//     private: true                 # no public addresses: for those who have a way into the network
//     security_groups: [sg-0123…]   # more of them, by id or name
//     spot_price: 0.08              # workers on the spot market for at most so many dollars an hour; max: for the on-demand price
//     spot_fallback: true           # on demand where there is no room on the spot market, or the price is too low
//     spot_masters: true            # masters too
//     volumes: 2                    # EBS volumes of each node, and of what kind
//     volume_size: 100              # GiB
//     volume_type: gp3
//     volume_iops: 4000
//     volume_throughput: 250        # MiB/s
//     root_size: 40                 # GiB; default: the image's
//     user: admin                   # of a stock image: whom it lets in by SSH
//     install: spark                # of a stock image: the image spec whose modules it gets
//     placement_group: fast         # one that there is
//     key_pair: me                  # of EC2, for root beside the cluster's own key
//     instance_profile: reader      # name or ARN of one that there is; auto: one is made, and goes with the cluster
//     s3: [data/in, results]        # what an `auto` one may list, read and write: BUCKET or BUCKET/PREFIX
//     shutdown: stop                # what a machine that is shut down from within does; default: terminate
//     tags: {team: analytics}       # of machines and volumes
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/json_reader.h"
#include "config/yaml.h"

namespace kiln::config {

struct AwsSpec {
  std::string region, profile, zone, network, vpc, subnet;
  std::string instance_type = "m7i.xlarge";  // of several, with commas: types_of()
  std::string master_type;                   // empty: instance_type
  std::string spot_price;                    // dollars an hour, or "max"; empty: on demand
  std::string volume_type = "gp3", placement_group, key_pair, instance_profile, shutdown = "terminate", user, install;
  bool spot_fallback = false, spot_masters = false, is_private = false;
  int volumes = 0;
  int volume_size = 100;                       // GiB
  int volume_iops = 0, volume_throughput = 0;  // 0: the type's own; MiB/s
  int root_size = 0;                           // GiB; 0: the image's
  std::vector<std::string> authorized, security_groups, s3;
  std::map<std::string, std::string> tags;
};

// Of the whole region, not of one zone.
inline constexpr const char* kAllZones = "all";

// Of AwsSpec::instance_profile: made for the cluster.
inline constexpr const char* kMadeProfile = "auto";

AwsSpec read_aws_spec(const Value& value);
Json aws_spec_to_json(const AwsSpec& spec);
AwsSpec aws_spec_from_json(JsonReader reader);
// UsageError for what cannot be: names EC2 does not have, an address range that is none, or the whole world.
void check_aws_spec(const AwsSpec& spec);

// The instance types of a role, in the order in which they are tried; never empty.
std::vector<std::string> types_of(const AwsSpec& spec, const std::string& role);

}  // namespace kiln::config
