// EC2's answers into plain structs. Element names: Amazon EC2 API Reference, version 2016-11-15.
#include "provider/aws/network_state.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/parallel.h"

namespace kiln::provider::on_aws {

namespace {

using kiln::aws::at;
using kiln::aws::Ec2;
using kiln::aws::flag;
using kiln::aws::list;
using kiln::aws::text;

using Filter = std::pair<std::string, std::vector<std::string>>;

// One kind of thing: how it is asked for, and how an answer's item becomes ours.
template <class Kind>
std::vector<Kind> ask(const Ec2& ec2, const std::string& operation, const std::string& items, int page, const std::vector<Filter>& wanted,
                      const std::function<std::optional<Kind>(const Json&)>& read) {
  Json params = kiln::aws::filters(wanted);
  params["MaxResults"] = page;
  std::vector<Kind> found;
  for (const Json& item : ec2.call_all(operation, params, items)) {
    auto thing = read(item);
    if (!thing) continue;
    for (const Json& tag : list(item, "tagSet")) thing->tags.emplace_back(text(tag, "key"), text(tag, "value"));
    found.push_back(std::move(*thing));
  }
  // EC2 promises no order.
  std::sort(found.begin(), found.end(), [](const Kind& left, const Kind& right) { return left.id < right.id; });
  return found;
}

std::optional<Vpc> read_vpc(const Json& item) {
  Vpc vpc;
  vpc.id = vpc.vpc = text(item, "vpcId");
  vpc.cidr = text(item, "cidrBlock");
  vpc.tenancy = text(item, "instanceTenancy");
  return vpc;
}

std::optional<Subnet> read_subnet(const Json& item) {
  Subnet subnet;
  subnet.id = text(item, "subnetId");
  subnet.vpc = text(item, "vpcId");
  subnet.zone = text(item, "availabilityZone");
  subnet.cidr = text(item, "cidrBlock");
  subnet.free_addresses = kiln::aws::integer(item, "availableIpAddressCount").value_or(0);
  subnet.public_on_launch = flag(item, "mapPublicIpOnLaunch");
  return subnet;
}

std::optional<Gateway> read_gateway(const Json& item) {
  Gateway gateway;
  gateway.id = text(item, "internetGatewayId");
  for (const Json& attachment : list(item, "attachmentSet")) {
    if (const auto state = text(attachment, "state"); state != "detached" && state != "detaching") gateway.vpc = text(attachment, "vpcId");
  }
  return gateway;
}

Route read_route(const Json& item) {
  Route route;
  for (const char* kind : {"destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId"}) {
    if (const auto value = text(item, kind); !value.empty()) route.destination = value, route.destination_kind = kind;
  }
  // An instance's route also names its interface, which is what counts.
  for (const char* kind : {"instanceId", "gatewayId", "natGatewayId", "networkInterfaceId", "transitGatewayId", "vpcPeeringConnectionId",
                           "egressOnlyInternetGatewayId", "carrierGatewayId", "localGatewayId", "coreNetworkArn"}) {
    if (const auto value = text(item, kind); !value.empty()) route.target = value, route.target_kind = kind;
  }
  route.active = text(item, "state") != "blackhole";
  // A gateway endpoint's route is to a prefix list, and comes with the endpoint; one to a firewall's endpoint is somebody's.
  const bool of_endpoint = route.target.starts_with("vpce-");
  if (of_endpoint) route.target_kind = "vpcEndpointId";
  route.by_create_route = text(item, "origin") == "CreateRoute" && !(of_endpoint && route.destination_kind == "destinationPrefixListId");
  return route;
}

std::optional<RouteTable> read_route_table(const Json& item) {
  RouteTable table;
  table.id = text(item, "routeTableId");
  table.vpc = text(item, "vpcId");
  for (const Json& association : list(item, "associationSet")) {
    if (flag(association, "main")) table.main = true;
    const auto subnet = text(association, "subnetId");
    const auto state = text(association, "associationState/state");
    if (subnet.empty() || state == "disassociated" || state == "disassociating") continue;
    table.associations.push_back({text(association, "routeTableAssociationId"), subnet});
  }
  for (const Json& route : list(item, "routeSet")) table.routes.push_back(read_route(route));
  return table;
}

std::optional<Endpoint> read_endpoint(const Json& item) {
  Endpoint endpoint;
  endpoint.id = text(item, "vpcEndpointId");
  endpoint.vpc = text(item, "vpcId");
  endpoint.service = text(item, "serviceName");
  endpoint.kind = text(item, "vpcEndpointType");
  for (const Json& table : list(item, "routeTableIdSet")) endpoint.route_tables.push_back(table.get<std::string>());
  // "Available" and "available" are both seen.
  std::string state = text(item, "state");
  std::transform(state.begin(), state.end(), state.begin(), [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (state == "deleting" || state == "deleted") return std::nullopt;
  return endpoint;
}

std::optional<SecurityGroup> read_group(const Json& item) {
  SecurityGroup group;
  group.id = text(item, "groupId");
  group.vpc = text(item, "vpcId");
  group.name = text(item, "groupName");
  group.description = text(item, "groupDescription");
  group.ingress = list(item, "ipPermissions");
  group.egress = list(item, "ipPermissionsEgress");
  return group;
}

std::optional<Interface> read_interface(const Json& item) {
  Interface interface;
  interface.id = text(item, "networkInterfaceId");
  interface.vpc = text(item, "vpcId");
  interface.subnet = text(item, "subnetId");
  interface.description = text(item, "description");
  interface.instance = text(item, "attachment/instanceId");
  return interface;
}

std::vector<Instance> ask_instances(const Ec2& ec2, const std::vector<Filter>& wanted) {
  Json params = kiln::aws::filters(wanted);
  params["MaxResults"] = 1000;
  std::vector<Instance> found;
  for (const Json& reservation : ec2.call_all("DescribeInstances", params, "reservationSet")) {
    for (const Json& item : list(reservation, "instancesSet")) {
      Instance instance;
      instance.id = text(item, "instanceId");
      instance.vpc = text(item, "vpcId");
      instance.subnet = text(item, "subnetId");
      instance.state = text(item, "instanceState/name");
      for (const Json& tag : list(item, "tagSet")) instance.tags.emplace_back(text(tag, "key"), text(tag, "value"));
      if (instance.state != "terminated") found.push_back(std::move(instance));
    }
  }
  return found;
}

std::vector<std::string> ask_zones(const Ec2& ec2) {
  const Json answer = ec2.call("DescribeAvailabilityZones", kiln::aws::filters({{"zone-type", {"availability-zone"}}}));
  std::vector<std::string> zones;
  for (const Json& zone : list(answer, "availabilityZoneInfo")) {
    // Zones that are out of order come back; a network may well have a subnet there.
    if (text(zone, "optInStatus") != "not-opted-in") zones.push_back(text(zone, "zoneName"));
  }
  std::sort(zones.begin(), zones.end());
  return zones;
}

// Sets `value`; a VPC that went away since it was seen (a rival's that gave way) loses its id.
void ask_vpc_attribute(const Ec2& ec2, Vpc& vpc, const std::string& id, const std::string& attribute, bool& value) {
  try {
    value = flag(ec2.call("DescribeVpcAttribute", {{"VpcId", id}, {"Attribute", attribute}}), attribute + "/value");
  } catch (const kiln::aws::ApiError& failure) {
    if (!failure.is_not_found()) throw;
    vpc.id.clear();
  }
}

void all_at_once(const std::vector<std::function<void()>>& calls) {
  // All of them: each waits for an answer, none computes.
  parallel_for(calls.size(), calls.size(), [&](std::size_t index) { calls[index](); });
}

// All that is in the state's VPCs.
void look_inside(const Ec2& ec2, NetworkState& state, Look what) {
  std::vector<std::string> ids;
  for (const auto& vpc : state.vpcs) ids.push_back(vpc.id);
  const std::vector<Filter> inside = {{"vpc-id", ids}};
  std::vector<Gateway> attached;
  std::vector<std::function<void()>> calls = {
      [&] { state.subnets = ask<Subnet>(ec2, "DescribeSubnets", "subnetSet", 1000, inside, read_subnet); },
      [&] {
        attached = ask<Gateway>(ec2, "DescribeInternetGateways", "internetGatewaySet", 1000, {{"attachment.vpc-id", ids}}, read_gateway);
      },
      [&] { state.route_tables = ask<RouteTable>(ec2, "DescribeRouteTables", "routeTableSet", 100, inside, read_route_table); },
      [&] { state.endpoints = ask<Endpoint>(ec2, "DescribeVpcEndpoints", "vpcEndpointSet", 1000, inside, read_endpoint); },
      [&] { state.groups = ask<SecurityGroup>(ec2, "DescribeSecurityGroups", "securityGroupInfo", 1000, inside, read_group); },
  };
  // By number: two calls for each VPC, which may both find it gone.
  std::vector<Vpc> copies = state.vpcs;
  for (std::size_t index = 0; index < state.vpcs.size(); ++index) {
    calls.push_back(
        [&, index] { ask_vpc_attribute(ec2, state.vpcs[index], ids[index], "enableDnsSupport", state.vpcs[index].dns_support); });
    calls.push_back([&, index] { ask_vpc_attribute(ec2, copies[index], ids[index], "enableDnsHostnames", copies[index].dns_hostnames); });
  }
  if (what == Look::kWithUsers) {
    calls.push_back(
        [&] { state.interfaces = ask<Interface>(ec2, "DescribeNetworkInterfaces", "networkInterfaceSet", 1000, inside, read_interface); });
    calls.push_back([&] { state.instances = ask_instances(ec2, inside); });
  }
  all_at_once(calls);
  for (auto& gateway : attached) {
    if (!state.has(gateway.id)) state.gateways.push_back(std::move(gateway));
  }
  for (std::size_t index = state.vpcs.size(); index-- > 0;) {
    state.vpcs[index].dns_hostnames = copies[index].dns_hostnames;
    if (state.vpcs[index].id.empty() || copies[index].id.empty()) state.vpcs.erase(state.vpcs.begin() + static_cast<std::ptrdiff_t>(index));
  }
}

template <class Kind>
std::vector<Kind> of_vpc(const std::vector<Kind>& things, const std::string& vpc, bool also_of_none = false) {
  std::vector<Kind> kept;
  for (const auto& thing : things) {
    if (thing.vpc == vpc || (also_of_none && thing.vpc.empty())) kept.push_back(thing);
  }
  return kept;
}

}  // namespace

std::string Thing::tag(const std::string& key) const {
  for (const auto& [name, value] : tags) {
    if (name == key) return value;
  }
  return {};
}

const Route* RouteTable::route_to(const std::string& destination) const {
  for (const auto& route : routes) {
    if (route.destination == destination) return &route;
  }
  return nullptr;
}

bool NetworkState::has(const std::string& id) const {
  const auto in = [&](const auto& things) {
    return std::any_of(things.begin(), things.end(), [&](const Thing& thing) { return thing.id == id; });
  };
  return in(vpcs) || in(subnets) || in(gateways) || in(route_tables) || in(endpoints) || in(groups);
}

NetworkState NetworkState::only(const std::string& vpc_id) const {
  NetworkState state;
  state.region = region;
  state.zones = zones;
  state.vpcs = of_vpc(vpcs, vpc_id);
  state.subnets = of_vpc(subnets, vpc_id);
  state.gateways = of_vpc(gateways, vpc_id, true);
  state.route_tables = of_vpc(route_tables, vpc_id);
  state.endpoints = of_vpc(endpoints, vpc_id);
  state.groups = of_vpc(groups, vpc_id);
  state.interfaces = of_vpc(interfaces, vpc_id);
  state.instances = of_vpc(instances, vpc_id);
  return state;
}

const RouteTable* NetworkState::table_of(const Subnet& subnet) const {
  const RouteTable* main = nullptr;
  for (const auto& table : route_tables) {
    if (table.vpc != subnet.vpc) continue;
    if (table.main) main = &table;
    for (const auto& association : table.associations) {
      if (association.subnet == subnet.id) return &table;
    }
  }
  return main;
}

NetworkState look_for(const Ec2& ec2, const std::string& name, Look what) {
  NetworkState state;
  state.region = ec2.region();
  const std::vector<Filter> tagged = {{std::string("tag:") + kNetworkTag, {name}}};
  all_at_once({
      [&] { state.zones = ask_zones(ec2); },
      [&] { state.vpcs = ask<Vpc>(ec2, "DescribeVpcs", "vpcSet", 1000, tagged, read_vpc); },
      [&] { state.gateways = ask<Gateway>(ec2, "DescribeInternetGateways", "internetGatewaySet", 1000, tagged, read_gateway); },
  });
  if (!state.vpcs.empty()) look_inside(ec2, state, what);
  return state;
}

NetworkState look_at(const Ec2& ec2, const std::string& vpc_id, Look what) {
  NetworkState state;
  state.region = ec2.region();
  // A filter, not a parameter: an id that is not there gives no error then, but nothing.
  state.vpcs = ask<Vpc>(ec2, "DescribeVpcs", "vpcSet", 1000, {{"vpc-id", {vpc_id}}}, read_vpc);
  if (state.vpcs.empty()) {
    UsageError error(fmt::format("there is no VPC '{}' in {}", vpc_id, ec2.region()));
    error.set_hint("--region says where to look");
    throw error;
  }
  look_inside(ec2, state, what);
  return state;
}

}  // namespace kiln::provider::on_aws
