#include "provider/aws/replacement.h"

#include <arpa/inet.h>

#include <algorithm>

#include "aws/wait.h"
#include "base/error.h"
#include "base/hash.h"
#include "provider/aws/cidr.h"
#include "provider/aws/machines.h"
#include "provider/aws/removal.h"

namespace kiln::provider::on_aws {

namespace {

// EC2 shows a new machine, and frees the address of one that has ended, within seconds ("Eventual consistency", EC2 API reference).
constexpr std::chrono::seconds kShowTime{120};

bool contains(const Cidr& block, const std::string& address) {
  const auto one = read_cidr(address + "/32");
  return one && block.overlaps(*one);
}

// An address is of one subnet only, whichever the launch took.
Place::Subnet subnet_of(const kiln::aws::Ec2& ec2, const std::string& vpc, const std::string& address) {
  Json parameters = kiln::aws::filters({{"vpc-id", {vpc}}});
  parameters["MaxResults"] = 1000;
  for (const auto& subnet : ec2.call_all("DescribeSubnets", parameters, "subnetSet")) {
    const auto block = read_cidr(kiln::aws::text(subnet, "cidrBlock"));
    if (block && contains(*block, address))
      return {kiln::aws::required_text(subnet, "subnetId"), kiln::aws::text(subnet, "availabilityZone")};
  }
  fail("no subnet of {} has the address {}", vpc, address);
}

// Its address is free when it is terminated, not before.
void end_machine(const kiln::aws::Session& session, const kiln::aws::Ec2& ec2, const std::string& cluster, const std::string& name) {
  std::string asked;
  kiln::aws::wait_until(session.surroundings(), fmt::format("what is left of '{}' to end", name), kTerminationTime, [&] {
    const auto records = find_records(ec2, cluster);
    if (records.empty()) return true;
    for (const auto& machine : records.front().instances) {
      if (machine.name != name) continue;
      if (machine.id != std::exchange(asked, machine.id)) ec2.call("TerminateInstances", {{"InstanceId", Json::array({machine.id})}});
      return false;
    }
    const auto& gone = records.front().gone;
    return std::none_of(gone.begin(), gone.end(), [&](const Machine& one) { return one.name == name && one.state != "terminated"; });
  });
}

}  // namespace

Machine replace_master(const kiln::aws::Session& session, const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request,
                       const std::string& name, const std::string& address) {
  const std::string& cluster = record.cluster.name;
  Place place = find_place(session, request.spec.aws);
  place.subnets = {subnet_of(ec2, record.vpc_id, address)};
  end_machine(session, ec2, cluster, name);
  Record others = record;
  std::erase_if(others.instances, [&](const Machine& machine) { return machine.name == name; });
  const Batch batch{"master", std::stoi(name.substr(name.rfind('-') + 1)), 1, address};
  std::vector<Machine> made;
  kiln::aws::wait_until(session.surroundings(), fmt::format("the address {} to be free", address), kShowTime, [&] {
    try {
      run_instances(ec2, record, request, place, batch, masters_to_tell(others, "master"), made, random_hex(8));
      return true;
    } catch (const kiln::aws::ApiError& error) {
      if (error.code() != "InvalidIPAddress.InUse") throw;
      return false;
    }
  });
  kiln::aws::wait_until(session.surroundings(), fmt::format("EC2 to show the new machine of '{}'", name), kShowTime, [&] {
    const auto records = find_records(ec2, cluster);
    if (records.empty()) return false;
    const auto& now = records.front().instances;
    return std::any_of(now.begin(), now.end(), [&](const Machine& one) { return one.id == made.at(0).id; });
  });
  return made.at(0);
}

}  // namespace kiln::provider::on_aws
