#include "provider/aws/network_plan.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "provider/aws/cidr.h"

namespace kiln::provider::on_aws {
namespace {

const Tags kOurs = {{kNetworkTag, "main"}};

WantedNetwork wanted() {
  return {.name = "main", .cidr = "10.42.0.0/16", .zones = {"eu-1a", "eu-1b"}, .zones_tag = "all", .s3_service = "com.amazonaws.eu-1.s3"};
}

Subnet subnet(const std::string& id, const std::string& zone, const std::string& cidr, Tags tags = kOurs) {
  Subnet made;
  made.id = id, made.vpc = "vpc-1", made.zone = zone, made.cidr = cidr, made.tags = std::move(tags), made.free_addresses = 10;
  return made;
}

template <class Kind>
Kind part(const std::string& id, Tags tags = kOurs) {
  Kind made;
  made.id = id, made.vpc = "vpc-1", made.tags = std::move(tags);
  return made;
}

Route way_out(const std::string& target, bool active = true) {
  return {.destination = kEverywhere,
          .destination_kind = "destinationCidrBlock",
          .target = target,
          .target_kind = "gatewayId",
          .active = active,
          .by_create_route = true};
}

NetworkState whole() {
  NetworkState state;
  auto vpc = part<Vpc>("vpc-1", {{kNetworkTag, "main"}, {kZonesTag, "all"}});
  vpc.cidr = "10.42.0.0/16", vpc.dns_support = vpc.dns_hostnames = true;
  state.vpcs = {vpc};
  state.subnets = {subnet("subnet-1", "eu-1a", "10.42.0.0/19"), subnet("subnet-2", "eu-1b", "10.42.32.0/19")};
  state.gateways = {part<Gateway>("igw-1")};
  auto table = part<RouteTable>("rtb-1");
  table.associations = {{"as-1", "subnet-1"}, {"as-2", "subnet-2"}};
  table.routes = {way_out("igw-1")};
  auto main_table = part<RouteTable>("rtb-0", {});
  main_table.main = true;
  state.route_tables = {main_table, table};
  auto endpoint = part<Endpoint>("vpce-1");
  endpoint.kind = "Gateway", endpoint.service = "com.amazonaws.eu-1.s3", endpoint.route_tables = {"rtb-1"};
  state.endpoints = {endpoint};
  auto group = part<SecurityGroup>("sg-1"), own = part<SecurityGroup>("sg-0", {});
  group.name = "kiln-main-nodes", own.name = "default";
  state.groups = {own, group};
  return state;
}

std::vector<std::string> ready(const std::vector<Step>& steps) {
  std::vector<std::string> operations;
  for (const auto& step : steps) {
    if (step.ready) operations.push_back(step.operation);
  }
  return operations;
}
using Operations = std::vector<std::string>;

TEST(NetworkPlan, NothingIsMissingFromAWholeOne) { EXPECT_TRUE(plan_creation(whole(), wanted()).empty()); }

TEST(NetworkPlan, FirstTheVpcThenAllThatItAllows) {
  NetworkState state;
  const auto first = plan_creation(state, wanted());
  EXPECT_EQ(ready(first), Operations{"CreateVpc"});
  EXPECT_EQ(first.size(), 12u);  // each part and each tie between two
  EXPECT_EQ(first[0].params["TagSpecification"][0]["Tag"][1].dump(), R"({"Key":"kiln:network","Value":"main"})");
  auto vpc = whole().vpcs[0];
  vpc.dns_hostnames = false;
  state.vpcs = {vpc};
  EXPECT_EQ(ready(plan_creation(state, wanted())), (Operations{"ModifyVpcAttribute", "CreateSubnet", "CreateSubnet",
                                                               "CreateInternetGateway", "CreateRouteTable", "CreateSecurityGroup"}));
}

TEST(NetworkPlan, TiesAreMadeOnceBothEndsAreThere) {
  auto state = whole();
  state.gateways[0].vpc.clear();
  state.route_tables[1].associations.clear();
  state.route_tables[1].routes.clear();
  state.endpoints.clear();
  const auto steps = plan_creation(state, wanted());
  EXPECT_EQ(ready(steps), (Operations{"AttachInternetGateway", "AssociateRouteTable", "AssociateRouteTable", "CreateVpcEndpoint"}));
  EXPECT_EQ(steps[0].params.dump(), R"({"InternetGatewayId":"igw-1","VpcId":"vpc-1"})");
  EXPECT_EQ(steps.back().params["RouteTableId"].dump(), R"(["rtb-1"])");
}

TEST(NetworkPlan, ARouteWhoseGatewayIsGoneIsMended) {
  auto state = whole();
  state.route_tables[1].routes = {way_out("igw-9", false)};
  EXPECT_EQ(ready(plan_creation(state, wanted())), Operations{"ReplaceRoute"});
}

TEST(NetworkPlan, WhatSomebodyChoseStays) {
  auto state = whole();
  state.route_tables[1].routes = {way_out("nat-1")};
  auto theirs = part<RouteTable>("rtb-2", {});
  theirs.associations = {{"as-9", "subnet-2"}};
  state.route_tables[1].associations = {{"as-1", "subnet-1"}};
  state.route_tables.push_back(theirs);
  EXPECT_TRUE(plan_creation(state, wanted()).empty());
}

TEST(NetworkPlan, OfTwinsTheLowestIdStays) {
  auto state = whole();
  auto twin = part<RouteTable>("rtb-2");
  twin.associations = {{"as-2", "subnet-2"}};
  state.route_tables[1].associations = {{"as-1", "subnet-1"}};
  state.route_tables.push_back(twin);
  auto loose = part<Gateway>("igw-2");
  loose.vpc.clear();
  state.gateways.push_back(loose);
  auto endpoint = state.endpoints[0];
  endpoint.id = "vpce-0", endpoint.route_tables = {"rtb-2"};
  state.endpoints.insert(state.endpoints.begin(), endpoint);
  const auto steps = plan_creation(state, wanted());
  // The twin table goes when it has lost its subnet; of the endpoints the one that is in the table stays, though its id is higher.
  EXPECT_EQ(ready(steps), (Operations{"DeleteInternetGateway", "ReplaceRouteTableAssociation", "DeleteVpcEndpoints"}));
  EXPECT_EQ(steps[0].removes, "igw-2");
  EXPECT_EQ(steps[2].removes, "vpce-0");
  EXPECT_EQ(steps.back().operation, "DeleteRouteTable");
}

TEST(NetworkPlan, NoRoomIsTold) {
  auto state = whole();
  state.subnets[1] = subnet("subnet-9", "eu-1a", "10.42.32.0/19", {});
  state.subnets.push_back(subnet("subnet-10", "eu-1a", "10.42.64.0/18", {}));
  state.subnets.push_back(subnet("subnet-11", "eu-1a", "10.42.128.0/17", {}));
  try {
    plan_creation(state, wanted());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("'eu-1b'"), std::string::npos);
  }
}

TEST(NetworkPlan, RemovalGoesFromTheLeavesToTheVpc) {
  auto state = whole();
  EXPECT_EQ(ready(plan_removal(state, "main")), (Operations{"DeleteVpcEndpoints", "DeleteSubnet", "DeleteSubnet", "DeleteSecurityGroup"}));
  state.endpoints.clear();
  state.subnets.clear();
  state.groups.resize(1);
  state.route_tables[1].associations.clear();
  EXPECT_EQ(ready(plan_removal(state, "main")), (Operations{"DeleteRouteTable", "DetachInternetGateway"}));
  state.route_tables.resize(1);
  state.gateways[0].vpc.clear();
  EXPECT_EQ(ready(plan_removal(state, "main")), Operations{"DeleteInternetGateway"});
  state.gateways.clear();
  EXPECT_EQ(ready(plan_removal(state, "main")), Operations{"DeleteVpc"});
  // A gateway that was left when the VPC had gone.
  state = {};
  state.gateways = {part<Gateway>("igw-1")};
  state.gateways[0].vpc.clear();
  EXPECT_EQ(ready(plan_removal(state, "main")), Operations{"DeleteInternetGateway"});
}

TEST(NetworkPlan, RemovalSparesWhatOthersNeed) {
  auto state = whole();
  state.subnets.push_back(subnet("subnet-9", "eu-1a", "10.42.224.0/20", {{"Name", "kiln-main"}}));
  state.route_tables[1].associations.push_back({"as-9", "subnet-9"});
  std::set<std::string> removed;
  for (const auto& step : plan_removal(state, "main")) removed.insert(step.removes);
  EXPECT_EQ(removed, (std::set<std::string>{"vpce-1", "subnet-1", "subnet-2", "sg-1"}));
  const auto foreign = foreign_things(state, "main");
  ASSERT_EQ(foreign.size(), 1u);
  EXPECT_EQ(foreign[0].id, "subnet-9");
}

TEST(NetworkPlan, UsersAreTold) {
  auto state = whole();
  for (const char* id : {"i-1", "i-2"}) {
    auto instance = part<Instance>(id, {{kClusterTag, "demo"}});
    instance.state = "running";
    state.instances.push_back(instance);
  }
  auto dying = part<Instance>("i-3", {{kClusterTag, "old"}});
  dying.state = "shutting-down";
  state.instances.push_back(dying);
  auto interface = part<Interface>("eni-1", {});
  interface.instance = "i-1";
  auto database = part<Interface>("eni-2", {});
  database.description = "RDSNetworkInterface";
  state.interfaces = {interface, database};
  const auto users = users_of(state);
  EXPECT_EQ(users.words, (std::vector<std::string>{"cluster 'demo' (2 instances)", "network interface eni-2 (RDSNetworkInterface)"}));
  EXPECT_EQ(users.ending, std::vector<std::string>{"i-3"});
}

TEST(NetworkPlan, AnothersVpcIsChecked) {
  auto state = whole();
  EXPECT_TRUE(check_vpc(state).missing.empty() && check_vpc(state).advice.empty());
  state.vpcs[0].dns_support = false;
  state.route_tables[1].routes = {way_out("nat-1")};
  auto findings = check_vpc(state);
  ASSERT_EQ(findings.missing.size(), 1u);
  EXPECT_EQ(findings.missing[0].rfind("DNS support", 0), 0u);
  ASSERT_EQ(findings.advice.size(), 1u);
  EXPECT_NE(findings.advice[0].find("private addresses"), std::string::npos);
  for (auto& each : state.subnets) each.free_addresses = 0;
  EXPECT_EQ(check_vpc(state).missing.size(), 2u);
}

TEST(Cidr, ReadsAndRefuses) {
  EXPECT_EQ(read_cidr("10.42.0.0/16")->to_string(), "10.42.0.0/16");
  EXPECT_EQ(read_cidr("0.0.0.0/0")->size(), std::uint64_t{1} << 32);
  for (const char* bad : {"", "10.42.0.0", "10.42.0/16", "10.42.0.0/33", "256.0.0.0/8", "10.42.0.1/16", "10.42.0.0/16x", "a.b.c.d/8",
                          "-1.0.0.0/8", "10.42.0.0/"}) {
    EXPECT_FALSE(read_cidr(bad)) << bad;
  }
  EXPECT_TRUE(read_cidr("10.42.0.0/16")->overlaps(*read_cidr("10.42.255.0/24")));
  EXPECT_FALSE(read_cidr("10.42.0.0/16")->overlaps(*read_cidr("10.43.0.0/16")));
  for (const char* bad : {"10.0.0.0/15", "10.0.0.0/26", "127.0.0.0/16", "169.254.0.0/16", "230.0.0.0/16", "0.1.0.0/16"}) {
    EXPECT_THROW(parse_vpc_cidr("--cidr", bad), UsageError) << bad;
  }
}

TEST(Cidr, AZonesSubnetIsAlwaysTheSame) {
  const auto vpc = *read_cidr("192.168.0.0/25");
  EXPECT_EQ(subnet_for_zone(vpc, "eu-1a", {})->to_string(), "192.168.0.0/28");
  EXPECT_EQ(subnet_for_zone(vpc, "eu-1h", {})->to_string(), "192.168.0.112/28");
  // Where it is taken, and for letters beyond: the last that is free.
  EXPECT_EQ(subnet_for_zone(vpc, "eu-1a", {*read_cidr("192.168.0.0/26"), *read_cidr("192.168.0.112/28")})->to_string(), "192.168.0.96/28");
  EXPECT_EQ(subnet_for_zone(vpc, "eu-1z", {})->to_string(), "192.168.0.112/28");
  EXPECT_FALSE(subnet_for_zone(vpc, "eu-1a", {vpc}));
}

}  // namespace
}  // namespace kiln::provider::on_aws
