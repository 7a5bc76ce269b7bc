// What EC2 says of a network: one look, a constant number of calls, whatever the network's size (but for EC2's pages of 100 to 1000).
//
// The tags are the only truth. Everything that kiln makes for the network NAME is born with
//   kiln:network = NAME
// and the VPC also with
//   kiln:zones   = "all", or the zones that were asked for, with blanks between
// so that whoever finds half of it knows what the rest shall be. kiln's clusters tag what is theirs with kiln:cluster = CLUSTER.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aws/ec2.h"
#include "base/json.h"
#include "provider/aws/tags.h"

namespace kiln::provider::on_aws {

inline constexpr const char* kNetworkTag = "kiln:network";
inline constexpr const char* kZonesTag = "kiln:zones";
inline constexpr const char* kEverywhere = "0.0.0.0/0";

// What all of EC2's things have.
struct Thing {
  std::string id;
  std::string vpc;
  Tags tags;
  std::string tag(const std::string& key) const;  // "" when absent
  // It carries kiln:network = name.
  bool is_of(const std::string& network) const { return tag(kNetworkTag) == network; }
};

struct Vpc : Thing {
  std::string cidr;
  std::string tenancy;  // "default", "dedicated"
  bool dns_support = false, dns_hostnames = false;
};

struct Subnet : Thing {
  std::string zone, cidr;
  std::int64_t free_addresses = 0;
  bool public_on_launch = false;
};

struct Gateway : Thing {};  // `vpc`: what it is attached to, or empty

struct Route {
  std::string destination;       // a CIDR, IPv6 CIDR or prefix list
  std::string destination_kind;  // EC2's name of it: "destinationCidrBlock" …
  std::string target;            // "igw-…", "local", "nat-…"
  std::string target_kind;       // "gatewayId", "natGatewayId", "vpcEndpointId" …
  bool active = false;           // no: its target is gone ("blackhole")
  bool by_create_route = false;  // no: the VPC's own, propagated, or an endpoint's
};

struct Association {
  std::string id, subnet;
};

struct RouteTable : Thing {
  bool main = false;
  std::vector<Association> associations;  // those with subnets
  std::vector<Route> routes;
  const Route* route_to(const std::string& destination) const;
};

struct Endpoint : Thing {
  std::string service, kind;  // "Gateway", "Interface" …
  std::vector<std::string> route_tables;
  bool is_s3_gateway() const { return kind == "Gateway" && service.ends_with(".s3"); }
};

struct SecurityGroup : Thing {
  std::string name, description;
  Json ingress, egress;  // as EC2 gives them (ipPermissions)
};

// What lives in a VPC: a network interface, and the instance that it belongs to, if any.
struct Interface : Thing {
  std::string subnet, description, instance;
};
struct Instance : Thing {
  std::string state, subnet;
};

struct NetworkState {
  std::string region;
  std::vector<std::string> zones;  // the region's that this account may use: zones proper, no Local or Wavelength ones
  std::vector<Vpc> vpcs;           // of this network: one, unless two were made at once
  // In these VPCs, whosever they are; gateways also where they are attached to none but carry the tag.
  std::vector<Subnet> subnets;
  std::vector<Gateway> gateways;
  std::vector<RouteTable> route_tables;
  std::vector<Endpoint> endpoints;  // but for those that are being deleted
  std::vector<SecurityGroup> groups;
  // Filled in when asked for.
  std::vector<Interface> interfaces;
  std::vector<Instance> instances;  // but for those that are terminated

  const Vpc* vpc() const { return vpcs.empty() ? nullptr : &vpcs.front(); }
  bool has(const std::string& id) const;
  // The same as if there were this VPC alone (and gateways that hang nowhere).
  NetworkState only(const std::string& vpc_id) const;
  // The table that rules a subnet: its own, else the VPC's main one.
  const RouteTable* table_of(const Subnet& subnet) const;
};

enum class Look {
  kNetwork,    // 10 calls
  kWithUsers,  // 2 more: interfaces, instances
};

// The network NAME. ApiError.
NetworkState look_for(const kiln::aws::Ec2& ec2, const std::string& name, Look what);
// The VPC, whosever it is. UsageError when there is none.
NetworkState look_at(const kiln::aws::Ec2& ec2, const std::string& vpc_id, Look what);

}  // namespace kiln::provider::on_aws
