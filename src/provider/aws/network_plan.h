// What to do next, from what EC2 says there is: pure functions, so that every state that a crash can leave is a case of the same rule.
//
// A plan is a list of calls. Those that can be made now are `ready`; the others wait for what these make (an association for its route
// table), and are only told (`--dry-run`, what a network lacks). The driver (network.cc) makes all that are ready side by side, looks
// again, and plans again, until there is nothing left to do. Nothing is remembered between two looks, so it is all one whether a step was
// done by this process, by one that was killed, or by one that runs beside it.
//
// A whole network:
//   VPC (DNS support and host names on) ─┬─ subnet in each zone ── associated with ─┐
//                                        ├─ internet gateway ── route 0.0.0.0/0 ── route table
//                                        ├─ S3 gateway endpoint ── in ──────────────┘
//                                        └─ security group kiln-NAME-nodes: nothing comes in by it
// A table of its own, not the VPC's main one: so a subnet that somebody adds has no way from outside until they say so (Amazon VPC User
// Guide, "Subnet route tables"). Instances get a public address only where the launch asks for one (MapPublicIpOnLaunch stays off).
// Every node of every cluster is in the group, whose id outlives them: what else is in the VPC (a database, a file system) lets "the
// nodes of this network" in by it. What nodes may say to each other is a matter of each cluster's own group.
//
// Twins: two that create one network at once, or a call that acted and was not heard, may make a gateway, table or endpoint too many.
// All agree which one stays (the lowest id) and remove the others.
#pragma once

#include <string>
#include <vector>

#include "provider/aws/network_state.h"

namespace kiln::provider::on_aws {

struct WantedNetwork {
  std::string name;
  std::string cidr;                // of a VPC that is to be made
  std::vector<std::string> zones;  // zones to have a subnet in
  std::string zones_tag;           // what kiln:zones shall say
  std::string s3_service;          // "com.amazonaws.eu-central-1.s3"
};

struct Step {
  std::string what;       // in words: "subnet 10.42.0.0/19 in us-east-1a"
  std::string operation;  // "CreateSubnet"
  Json params;
  bool ready = true;
  std::string made = {};     // where the answer has the id of what was made: "subnet/subnetId"; empty: nothing is
  std::string removes = {};  // the id of what is removed
};

// `state` has at most one VPC. Error when it cannot be made whole (no room for a subnet).
std::vector<Step> plan_creation(const NetworkState& state, const WantedNetwork& wanted);
// Everything that is the network's, the VPC last; not what others need (a VPC with their subnets in it …).
std::vector<Step> plan_removal(const NetworkState& state, const std::string& name);

struct Holding {
  std::string id;
  std::string what;  // "subnet subnet-1 (10.42.224.0/19)"
};
// What others put into the network's VPCs, but for what EC2 itself puts into each.
std::vector<Holding> foreign_things(const NetworkState& state, const std::string& name);

// Who lives there: "cluster 'demo' (3 instances)", "instance i-1", "network interface eni-1 (RDSNetworkInterface)". State with users.
// Instances that are shutting down count only where `ending` does not hold them.
struct Users {
  std::vector<std::string> words;
  std::vector<std::string> clusters;
  std::vector<std::string> ending;  // instances that will be gone soon
};
Users users_of(const NetworkState& state);

// What clusters need of a VPC that kiln did not make, in words; empty: all is well. `advice`: what they can do without.
struct Findings {
  std::vector<std::string> missing, advice;
};
Findings check_vpc(const NetworkState& state);
// A subnet's default route goes to an internet gateway.
bool is_public(const NetworkState& state, const Subnet& subnet);

}  // namespace kiln::provider::on_aws
