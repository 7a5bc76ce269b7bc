// Networks on EC2: made, shown, removed and written down by network_plan.h's rules. What people type: docs/networks.md.
//
// Clusters look theirs up by find_network(): a VPC of kiln's by name, or anybody's by id.
#pragma once

#include <memory>
#include <string>

#include "aws/session.h"
#include "provider/aws/network_plan.h"
#include "provider/networks.h"

namespace kiln::provider::on_aws {

class Rounds;

class AwsNetworks : public Networks {
 public:
  explicit AwsNetworks(const NetworkPlace& place);
  // For tests and for whoever has a session already.
  explicit AwsNetworks(kiln::aws::Session session);

  NetworkChange create(const NetworkRequest& request) override;
  std::optional<Network> find(const std::string& name) override;
  Network find_by_id(const std::string& id) override;
  std::vector<NetworkSummary> list() override;
  NetworkRemoval destroy(const std::string& name, bool dry_run) override;
  std::string to_terraform(const std::string& name, const std::string& id) override;

 private:
  void claim(Rounds& rounds, const WantedNetwork& wanted, std::vector<std::string>& done);
  NetworkState one_vpc(Rounds& rounds, const std::string& name, NetworkState state, std::vector<std::string>& done);
  std::vector<std::string> remove(Rounds& rounds, const std::string& name, const std::string& only_vpc, std::vector<std::string>& done);

  kiln::aws::Session session_;
  kiln::aws::Ec2 ec2_;
};

// The network NAME's state, whole or not; Error when there is none, saying how to make one.
NetworkState find_network(const kiln::aws::Ec2& ec2, const std::string& name);

}  // namespace kiln::provider::on_aws
