// What EC2 itself knows of a cluster, as tags: the only truth about what exists. A cluster's record is its security group (there is
// always one, it has a name that nobody can take twice, and it outlives every machine); its nodes are the instances with its tag.
//
//   security group  kiln:cluster=NAME  kiln:launch=HEX  kiln:created=UNIX  kiln:state=creating|running  kiln:image=NAME  kiln:digest=HEX
//                   kiln:lease=UNIX  kiln:masters=N  kiln:workers=N  kiln:user=NAME (of a stock image: whom it lets in)
//                   kiln:profile=NAME
//   instance        kiln:cluster=NAME  kiln:launch=HEX  kiln:role=master|worker  kiln:first=N
//
// kiln:masters and kiln:workers say how many there shall be: what of them is missing was lost, and is shown as a node that is down.
//
// kiln:profile names the instance profile and role that were made for it (instance_profile.h): it is there before they are, and they go
// before the group.
//
// One request to EC2 starts any number of nodes, all with the same tags: a node's number is kiln:first plus its place in its request
// (amiLaunchIndex), as its agent says it too (config/node_document.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "aws/ec2.h"
#include "provider/aws/tags.h"
#include "provider/provider.h"

namespace kiln::provider::on_aws {

struct Machine {
  std::string id, name, role, state, private_address, public_address, type, launch, image;
  std::string reason;  // why it is gone, in EC2's words
  bool is_gone() const { return state == "terminated" || state == "shutting-down"; }
  bool is_running() const { return state == "running" || state == "pending"; }
};

struct Record {
  Cluster cluster;  // without secret and notes
  std::string group_id, vpc_id, launch;
  std::string user = "root";       // whom the machines let in by SSH
  std::string made_profile;        // empty: none was made
  int masters = 0, workers = 0;    // as many as there shall be
  std::vector<Machine> instances;  // in the order of roles and numbers
  std::vector<Machine> gone;       // what EC2 still tells of, for an hour
  // The node's machine: the present one, else one that is gone. Null when EC2 tells of none.
  const Machine* find(const std::string& node) const;
  // The machines that hold copies of the launch's notes, for the day when the master is lost: the first two workers that run.
  std::vector<const Machine*> copy_holders() const;
};

Tags group_tags(const Record& record);
// CreateSecurityGroup's parameters.
Json group_parameters(const Record& record);
Tags node_tags(const Cluster& cluster, const std::string& launch, const std::string& role, int first_number);

// Those of the region, by cluster's name; with `name` only that one. Half-made ones too. With `role` no other machines are asked for: of
// a thousand workers it takes EC2 a while to tell.
std::vector<Record> find_records(const kiln::aws::Ec2& ec2, const std::string& name = {}, const std::string& role = {});

// An answer's instance; for RunInstances' and DescribeInstances'.
Machine read_machine(const Json& instance);
// By their numbers: worker-10 after worker-9.
void sort_by_number(std::vector<Machine>& instances);
Node to_node(const Machine& instance);

}  // namespace kiln::provider::on_aws
