// What a network lacks. The order of the steps is the one that people read; what can be done at the same time is done so.
#include "provider/aws/network_plan.h"

#include <algorithm>
#include <set>

#include "aws/client.h"
#include "base/error.h"
#include "provider/aws/cidr.h"

namespace kiln::provider::on_aws {

namespace {

// The network's own of a kind, lowest id first (states are sorted).
template <class Kind>
std::vector<const Kind*> own(const std::vector<Kind>& things, const std::string& name) {
  std::vector<const Kind*> found;
  for (const auto& thing : things) {
    if (thing.is_of(name)) found.push_back(&thing);
  }
  return found;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> ids_of(const std::vector<const Subnet*>& subnets) {
  std::vector<std::string> ids;
  for (const auto* subnet : subnets) ids.push_back(subnet->id);
  return ids;
}

class Creation {
 public:
  Creation(const NetworkState& state, const WantedNetwork& wanted)
      : state_(state), wanted_(wanted), tables_(own(state.route_tables, wanted.name)) {
    if (state.vpc()) vpc_ = state.vpc()->id;
    if (!tables_.empty()) table_ = tables_.front();
  }

  std::vector<Step> plan() {
    plan_vpc();
    plan_subnets();
    plan_gateway();
    plan_table();
    plan_associations();
    plan_endpoint();
    plan_group();
    plan_twin_tables();
    return std::move(steps_);
  }

 private:
  Json tags(const std::string& type, const std::string& name, const Tags& more = {}) const {
    Tags all = {{"Name", name}, {kNetworkTag, wanted_.name}};
    all.insert(all.end(), more.begin(), more.end());
    return Json::array({kiln::aws::tag_specification(type, all)});
  }
  std::string label() const { return "kiln-" + wanted_.name; }
  void add(Step step) { steps_.push_back(std::move(step)); }

  void plan_vpc() {
    const Vpc* vpc = state_.vpc();
    if (!vpc) {
      add({.what = "VPC " + wanted_.cidr,
           .operation = "CreateVpc",
           .params = {{"CidrBlock", wanted_.cidr}, {"TagSpecification", tags("vpc", label(), {{kZonesTag, wanted_.zones_tag}})}},
           .made = "vpc/vpcId"});
    } else if (vpc->tag(kZonesTag) != wanted_.zones_tag) {
      add({.what = "note of the zones: " + wanted_.zones_tag,
           .operation = "CreateTags",
           .params = {{"ResourceId", Json::array({vpc_})},
                      {"Tag", Json::array({Json::object({{"Key", kZonesTag}, {"Value", wanted_.zones_tag}})})}}});
    }
    // A new VPC resolves names (EnableDnsSupport), but gives its instances none.
    const auto attribute = [&](bool is_on, const char* name, const char* words) {
      if (is_on) return;
      add({.what = words,
           .operation = "ModifyVpcAttribute",
           .params = {{"VpcId", vpc_}, {name, {{"Value", true}}}},
           .ready = vpc != nullptr});
    };
    attribute(!vpc || vpc->dns_support, "EnableDnsSupport", "the VPC's name server");
    attribute(vpc && vpc->dns_hostnames, "EnableDnsHostnames", "DNS host names");
  }

  void plan_subnets() {
    const auto vpc_cidr = read_cidr(state_.vpc() ? state_.vpc()->cidr : wanted_.cidr);
    std::set<std::string> served;
    std::vector<Cidr> taken;
    for (const auto& subnet : state_.subnets) {
      if (const auto cidr = read_cidr(subnet.cidr)) taken.push_back(*cidr);
      if (subnet.is_of(wanted_.name)) served.insert(subnet.zone);
    }
    for (const auto& zone : wanted_.zones) {
      if (served.count(zone)) continue;
      const auto cidr = vpc_cidr ? subnet_for_zone(*vpc_cidr, zone, taken) : std::nullopt;
      if (!cidr) {
        Error error(fmt::format("there is no room for a subnet in '{}': the network's {} addresses are all taken by other subnets", zone,
                                state_.vpc() ? state_.vpc()->cidr : wanted_.cidr));
        error.set_hint("`kiln network show` lists them");
        throw error;
      }
      taken.push_back(*cidr);
      add({.what = fmt::format("subnet {} in {}", cidr->to_string(), zone),
           .operation = "CreateSubnet",
           .params = {{"VpcId", vpc_},
                      {"AvailabilityZone", zone},
                      {"CidrBlock", cidr->to_string()},
                      {"TagSpecification", tags("subnet", label() + "-" + zone)}},
           .ready = !vpc_.empty(),
           .made = "subnet/subnetId"});
    }
  }

  void plan_gateway() {
    const Gateway* attached = nullptr;
    std::vector<const Gateway*> loose;
    for (const auto& gateway : state_.gateways) {
      if (!gateway.vpc.empty()) {
        if (gateway.vpc == vpc_) attached = &gateway;
      } else if (gateway.is_of(wanted_.name)) {
        loose.push_back(&gateway);
      }
    }
    if (!attached && loose.empty()) {
      // Before the VPC is there it would be a leftover, should this one be killed.
      add({.what = "internet gateway",
           .operation = "CreateInternetGateway",
           .params = {{"TagSpecification", tags("internet-gateway", label())}},
           .ready = !vpc_.empty(),
           .made = "internetGateway/internetGatewayId"});
    }
    if (!attached) {
      add({.what = "attachment of the internet gateway",
           .operation = "AttachInternetGateway",
           .params = {{"VpcId", vpc_}, {"InternetGatewayId", loose.empty() ? "" : loose.front()->id}},
           .ready = !vpc_.empty() && !loose.empty()});
    } else {
      gateway_ = attached->id;
    }
    for (const Gateway* extra : loose) {
      if (!attached && extra == loose.front()) continue;
      add({.what = "removal of internet gateway " + extra->id + ", one too many",
           .operation = "DeleteInternetGateway",
           .params = {{"InternetGatewayId", extra->id}},
           .removes = extra->id});
    }
  }

  void plan_table() {
    if (!table_) {
      add({.what = "route table",
           .operation = "CreateRouteTable",
           .params = {{"VpcId", vpc_}, {"ClientToken", kiln::aws::client_token()}, {"TagSpecification", tags("route-table", label())}},
           .ready = !vpc_.empty(),
           .made = "routeTable/routeTableId"});
    }
    // A default route that somebody turned elsewhere (to a NAT gateway, a firewall) stays as it is.
    const Route* way_out = table_ ? table_->route_to(kEverywhere) : nullptr;
    if (way_out && way_out->active) return;
    add({.what = way_out ? "repair of the route to the internet" : "route to the internet",
         .operation = way_out ? "ReplaceRoute" : "CreateRoute",
         .params = {{"RouteTableId", table_ ? table_->id : ""}, {"DestinationCidrBlock", kEverywhere}, {"GatewayId", gateway_}},
         .ready = table_ && !gateway_.empty()});
  }

  void plan_associations() {
    std::size_t waiting = 0;
    for (const auto& zone : wanted_.zones) {
      const bool there = std::any_of(state_.subnets.begin(), state_.subnets.end(),
                                     [&](const Subnet& subnet) { return subnet.zone == zone && subnet.is_of(wanted_.name); });
      waiting += !there;
    }
    for (const auto* subnet : own(state_.subnets, wanted_.name)) plan_association(*subnet);
    for (; waiting > 0; --waiting) {
      add({.what = "association of a subnet with the route table", .operation = "AssociateRouteTable", .params = {}, .ready = false});
    }
  }

  void plan_association(const Subnet& subnet) {
    const RouteTable* current = state_.table_of(subnet);
    const std::string what = "association of " + subnet.id + " with the route table";
    std::string association;
    for (const auto& table : state_.route_tables) {
      for (const auto& each : table.associations) {
        if (each.subnet == subnet.id) association = each.id;
      }
    }
    if (association.empty()) {
      add({.what = what,
           .operation = "AssociateRouteTable",
           .params = {{"SubnetId", subnet.id}, {"RouteTableId", table_ ? table_->id : ""}},
           .ready = table_ != nullptr});
    } else if (table_ && current && current != table_ && current->is_of(wanted_.name)) {
      // With a twin of ours; one that somebody else chose stays.
      add({.what = what,
           .operation = "ReplaceRouteTableAssociation",
           .params = {{"AssociationId", association}, {"RouteTableId", table_->id}}});
    }
  }

  void plan_endpoint() {
    std::vector<const Endpoint*> ours;
    bool covered = false;
    for (const auto& endpoint : state_.endpoints) {
      if (!endpoint.is_s3_gateway()) continue;
      const bool covers = table_ && contains(endpoint.route_tables, table_->id);
      if (endpoint.is_of(wanted_.name)) {
        ours.push_back(&endpoint);
      } else {
        covered = covered || covers;
      }
    }
    // One that does its work stays before one that does not: a table has room for one endpoint of a service.
    std::stable_partition(ours.begin(), ours.end(),
                          [&](const Endpoint* endpoint) { return table_ && contains(endpoint->route_tables, table_->id); });
    const bool done = covered || (!ours.empty() && table_ && contains(ours.front()->route_tables, table_->id));
    for (std::size_t index = covered ? 0 : 1; index < ours.size(); ++index) {
      add({.what = "removal of S3 endpoint " + ours[index]->id + ", one too many",
           .operation = "DeleteVpcEndpoints",
           .params = {{"VpcEndpointId", Json::array({ours[index]->id})}},
           .removes = ours[index]->id});
    }
    if (done) return;
    if (!ours.empty()) {
      add({.what = "S3 endpoint's place in the route table",
           .operation = "ModifyVpcEndpoint",
           .params = {{"VpcEndpointId", ours.front()->id}, {"AddRouteTableId", Json::array({table_ ? table_->id : ""})}},
           .ready = table_ != nullptr});
      return;
    }
    add({.what = "S3 gateway endpoint",
         .operation = "CreateVpcEndpoint",
         .params = {{"VpcId", vpc_},
                    {"VpcEndpointType", "Gateway"},
                    {"ServiceName", wanted_.s3_service},
                    {"RouteTableId", Json::array({table_ ? table_->id : ""})},
                    {"ClientToken", kiln::aws::client_token()},
                    {"TagSpecification", tags("vpc-endpoint", label() + "-s3")}},
         .ready = table_ != nullptr,
         .made = "vpcEndpoint/vpcEndpointId"});
  }

  void plan_group() {
    if (!own(state_.groups, wanted_.name).empty()) return;
    // A name is there once in a VPC, so there are no twins.
    const std::string name = label() + "-nodes";
    add({.what = "security group " + name,
         .operation = "CreateSecurityGroup",
         .params = {{"VpcId", vpc_},
                    {"GroupName", name},
                    {"GroupDescription", "every node of the kiln network " + wanted_.name},
                    {"TagSpecification", tags("security-group", name)}},
         .ready = !vpc_.empty(),
         .made = "groupId"});
  }

  void plan_twin_tables() {
    for (std::size_t index = 1; index < tables_.size(); ++index) {
      const bool used = !tables_[index]->associations.empty();
      add({.what = "removal of route table " + tables_[index]->id + ", one too many",
           .operation = "DeleteRouteTable",
           .params = {{"RouteTableId", tables_[index]->id}},
           .ready = !used,
           .removes = tables_[index]->id});
    }
  }

  const NetworkState& state_;
  const WantedNetwork& wanted_;
  std::vector<const RouteTable*> tables_;
  const RouteTable* table_ = nullptr;
  std::string vpc_, gateway_;
  std::vector<Step> steps_;
};

// Nobody but the VPC itself would miss it.
bool is_vpcs_own(const SecurityGroup& group) { return group.name == "default"; }

}  // namespace

std::vector<Step> plan_creation(const NetworkState& state, const WantedNetwork& wanted) { return Creation(state, wanted).plan(); }

std::vector<Holding> foreign_things(const NetworkState& state, const std::string& name) {
  std::vector<Holding> found;
  const auto add = [&](const Thing& thing, const std::string& words) { found.push_back({thing.id, words}); };
  for (const auto& subnet : state.subnets) {
    if (!subnet.is_of(name)) add(subnet, fmt::format("subnet {} ({}, {})", subnet.id, subnet.cidr, subnet.zone));
  }
  for (const auto& gateway : state.gateways) {
    if (!gateway.is_of(name)) add(gateway, "internet gateway " + gateway.id);
  }
  for (const auto& table : state.route_tables) {
    if (!table.is_of(name) && !table.main) add(table, "route table " + table.id);
  }
  for (const auto& endpoint : state.endpoints) {
    if (!endpoint.is_of(name)) add(endpoint, fmt::format("endpoint {} ({})", endpoint.id, endpoint.service));
  }
  for (const auto& group : state.groups) {
    if (!group.is_of(name) && !is_vpcs_own(group)) add(group, fmt::format("security group {} ({})", group.id, group.name));
  }
  return found;
}

std::vector<Step> plan_removal(const NetworkState& state, const std::string& name) {
  std::vector<Step> steps;
  const auto add = [&](const std::string& what, const std::string& operation, Json params, bool ready, const std::string& id) {
    steps.push_back({.what = what, .operation = operation, .params = std::move(params), .ready = ready, .removes = id});
  };
  const auto subnets = own(state.subnets, name);
  const auto foreign = foreign_things(state, name);
  bool all_ours_go = true;

  for (const auto* endpoint : own(state.endpoints, name)) {
    add("S3 endpoint " + endpoint->id, "DeleteVpcEndpoints", {{"VpcEndpointId", Json::array({endpoint->id})}}, true, endpoint->id);
  }
  for (const auto* subnet : subnets) add("subnet " + subnet->id, "DeleteSubnet", {{"SubnetId", subnet->id}}, true, subnet->id);
  for (const auto* group : own(state.groups, name)) {
    add(fmt::format("security group {} ({})", group->id, group->name), "DeleteSecurityGroup", {{"GroupId", group->id}}, true, group->id);
  }
  // A table goes when its subnets have gone; others' subnets may have been put into it.
  bool endpoints_gone = own(state.endpoints, name).empty();
  for (const auto* table : own(state.route_tables, name)) {
    bool others = false;
    for (const auto& association : table->associations) {
      const auto subnet =
          std::find_if(state.subnets.begin(), state.subnets.end(), [&](const Subnet& each) { return each.id == association.subnet; });
      others = others || (subnet != state.subnets.end() && !subnet->is_of(name));
    }
    if (others) {
      all_ours_go = false;
      continue;
    }
    // A subnet takes its tie along; one that was left behind is cut.
    for (const auto& association : table->associations) {
      if (contains(ids_of(subnets), association.subnet)) continue;
      add("association " + association.id, "DisassociateRouteTable", {{"AssociationId", association.id}}, true, association.id);
    }
    add("route table " + table->id, "DeleteRouteTable", {{"RouteTableId", table->id}}, table->associations.empty() && endpoints_gone,
        table->id);
  }
  // Others' route tables may lead to the gateway.
  for (const auto* gateway : own(state.gateways, name)) {
    const bool used_by_others = std::any_of(state.route_tables.begin(), state.route_tables.end(), [&](const RouteTable& table) {
      return !table.is_of(name) &&
             std::any_of(table.routes.begin(), table.routes.end(), [&](const Route& route) { return route.target == gateway->id; });
    });
    if (used_by_others || (!all_ours_go && !gateway->vpc.empty())) {
      all_ours_go = false;
      continue;
    }
    if (!gateway->vpc.empty()) {
      add("internet gateway " + gateway->id + " from the VPC", "DetachInternetGateway",
          {{"InternetGatewayId", gateway->id}, {"VpcId", gateway->vpc}}, subnets.empty(), {});
    }
    add("internet gateway " + gateway->id, "DeleteInternetGateway", {{"InternetGatewayId", gateway->id}}, gateway->vpc.empty(),
        gateway->id);
  }
  if (all_ours_go && foreign.empty()) {
    const bool empty = steps.empty();
    for (const auto& vpc : state.vpcs) add("VPC " + vpc.id, "DeleteVpc", {{"VpcId", vpc.id}}, empty, vpc.id);
  }
  return steps;
}

Users users_of(const NetworkState& state) {
  Users users;
  std::vector<std::pair<std::string, int>> clusters;
  std::set<std::string> instances;
  const auto cluster_of = [&](const Thing& thing, bool is_instance) {
    const auto name = thing.tag(kClusterTag);
    if (name.empty()) return false;
    auto found = std::find_if(clusters.begin(), clusters.end(), [&](const auto& each) { return each.first == name; });
    if (found == clusters.end()) found = clusters.insert(clusters.end(), {name, 0});
    found->second += is_instance;
    return true;
  };
  std::vector<std::string> others;
  for (const auto& instance : state.instances) {
    instances.insert(instance.id);
    if (instance.state == "shutting-down") {
      users.ending.push_back(instance.id);
    } else if (!cluster_of(instance, true)) {
      others.push_back(fmt::format("instance {} ({})", instance.id, instance.state));
    }
  }
  for (const auto& interface : state.interfaces) {
    if (instances.count(interface.instance) || cluster_of(interface, false)) continue;
    const std::string of = interface.description.empty() ? interface.instance : interface.description;
    others.push_back(fmt::format("network interface {}{}", interface.id, of.empty() ? "" : " (" + of + ")"));
  }
  // A cluster that has lost its machines still has a group of its own here.
  for (const auto& group : state.groups) cluster_of(group, false);
  for (const auto& [name, count] : clusters) {
    users.clusters.push_back(name);
    users.words.push_back(fmt::format("cluster '{}' ({} instance{})", name, count, count == 1 ? "" : "s"));
  }
  users.words.insert(users.words.end(), others.begin(), others.end());
  return users;
}

bool is_public(const NetworkState& state, const Subnet& subnet) {
  const RouteTable* table = state.table_of(subnet);
  const Route* way_out = table ? table->route_to(kEverywhere) : nullptr;
  return way_out && way_out->active && way_out->target.starts_with("igw-");
}

Findings check_vpc(const NetworkState& state) {
  Findings findings;
  const auto miss = [&](std::string words) { findings.missing.push_back(std::move(words)); };
  if (!state.vpc()->dns_support) miss("DNS support is off: nodes could resolve no names (ModifyVpcAttribute EnableDnsSupport)");
  if (!state.vpc()->dns_hostnames)
    findings.advice.push_back("DNS host names are off: nodes have addresses only (ModifyVpcAttribute EnableDnsHostnames)");
  if (state.subnets.empty()) miss("there is no subnet");
  bool way_out = false, way_in = false, free = false;
  std::vector<std::string> without_s3;
  for (const auto& subnet : state.subnets) {
    // EC2 keeps five addresses of each subnet for itself and does not count them as free.
    free = free || subnet.free_addresses > 0;
    const RouteTable* table = state.table_of(subnet);
    const Route* route = table ? table->route_to(kEverywhere) : nullptr;
    way_out = way_out || (route && route->active);
    way_in = way_in || is_public(state, subnet);
    const bool has_s3 = table && std::any_of(state.endpoints.begin(), state.endpoints.end(), [&](const Endpoint& endpoint) {
                          return endpoint.is_s3_gateway() && contains(endpoint.route_tables, table->id);
                        });
    if (!has_s3) without_s3.push_back(subnet.id);
  }
  if (!state.subnets.empty() && !free) miss("no subnet has a free address");
  if (!state.subnets.empty() && !way_out)
    miss("no subnet has a way out: no default route to an internet gateway, a NAT gateway or anything else");
  if (way_out && !way_in) {
    findings.advice.push_back(
        "no subnet's default route goes to an internet gateway: clusters there have private addresses only, and kiln must run where it "
        "reaches those");
  }
  for (const auto& subnet : without_s3) {
    findings.advice.push_back(
        fmt::format("{} has no S3 gateway endpoint: what is read from S3 and written there goes through its default route, and costs where "
                    "that is a NAT gateway",
                    subnet));
  }
  return findings;
}

}  // namespace kiln::provider::on_aws
