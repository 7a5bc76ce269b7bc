// The drivers: look, plan, act, look again (network_plan.h says why).
//
// One VPC to a name, although EC2 has no token for CreateVpc and several may create at once. Who has made one looks whether another is
// there as well, and if so takes its own away again and waits for a moment. Of two that both made one, at most one can have seen
// nobody else (it looked before the other's was there, so the other's look sees it); when both see each other, both give way and chance
// decides the next time. Killed in between it may leave two: whoever finds them waits for the rival to give way, then keeps the fuller one.
#include "provider/aws/network.h"

#include <algorithm>
#include <map>

#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"
#include "config/names.h"
#include "provider/aws/cidr.h"
#include "provider/aws/network_rounds.h"
#include "provider/aws/terraform.h"

namespace kiln::provider::on_aws {

namespace {

using kiln::aws::Ec2;
using kiln::aws::Session;

constexpr const char* kDefaultCidr = "10.42.0.0/16";
constexpr const char* kAllZones = "all";
// A rival gives way within two calls; each may be tried again for some seconds.
constexpr std::chrono::seconds kForRivals{15};
// An instance that was told to terminate is gone in about a minute.
constexpr std::chrono::minutes kForInstances{5};

const RegisterNetworks registration{"aws", [](const NetworkPlace& place) { return std::make_unique<AwsNetworks>(place); }};

std::string zone_name(const std::string& text, const NetworkState& state) {
  const std::string name = text.size() == 1 ? state.region + text : text;
  if (std::find(state.zones.begin(), state.zones.end(), name) != state.zones.end()) return name;
  UsageError error(fmt::format("--zones: {} has no zone '{}'", state.region, text));
  error.set_hint("it has: " + join(state.zones, ", "));
  throw error;
}

// What the network shall be: what is asked for now, over what its tags say.
WantedNetwork wanted_network(const NetworkRequest& request, const NetworkState& state) {
  WantedNetwork wanted;
  wanted.name = request.name;
  wanted.cidr = request.cidr.empty() ? kDefaultCidr : request.cidr;
  const Vpc* vpc = state.vpc();
  if (vpc && !request.cidr.empty() && request.cidr != vpc->cidr) {
    UsageError error(fmt::format("network '{}' has the addresses {}: they cannot become {}", request.name, vpc->cidr, request.cidr));
    error.set_hint("a network of another name can have them");
    throw error;
  }
  const std::string noted = vpc ? vpc->tag(kZonesTag) : "";
  std::vector<std::string> zones;
  for (const auto& zone : request.zones) zones.push_back(zone_name(zone, state));
  if (noted == kAllZones || (noted.empty() && zones.empty())) {
    wanted.zones_tag = kAllZones;
    wanted.zones = state.zones;
    return wanted;
  }
  for (const auto& zone : split(noted, ' ')) {
    if (!zone.empty()) zones.push_back(zone);
  }
  std::sort(zones.begin(), zones.end());
  zones.erase(std::unique(zones.begin(), zones.end()), zones.end());
  wanted.zones = zones;
  wanted.zones_tag = join(zones, " ");
  return wanted;
}

// Partitions name their services differently, so EC2 is asked.
std::string s3_service(const Ec2& ec2) {
  for (const Json& service :
       kiln::aws::list(ec2.call("DescribeVpcEndpointServices", kiln::aws::filters({{"service-type", {"Gateway"}}})), "serviceNameSet")) {
    if (service.is_string() && service.get<std::string>().ends_with(".s3")) return service.get<std::string>();
  }
  fail("{} offers no gateway endpoint for S3", ec2.region());
}

bool needs(const std::vector<Step>& steps, const std::string& operation) {
  return std::any_of(steps.begin(), steps.end(), [&](const Step& step) { return step.ready && step.operation == operation; });
}

bool is_gone(const NetworkState& state, const std::string& name) {
  return state.vpcs.empty() &&
         std::none_of(state.gateways.begin(), state.gateways.end(), [&](const Gateway& each) { return each.is_of(name); });
}

std::size_t parts_in(const NetworkState& state, const std::string& vpc) {
  const auto alone = state.only(vpc);
  return alone.subnets.size() + alone.route_tables.size() + alone.endpoints.size() + alone.groups.size();
}

void add_parts(const NetworkState& state, const std::function<bool(const Thing&)>& wanted, std::vector<NetworkPart>& parts) {
  for (const auto& vpc : state.vpcs) {
    if (wanted(vpc)) parts.push_back({"VPC", vpc.id, "", vpc.cidr, vpc.dns_hostnames ? "DNS host names" : ""});
  }
  for (const auto& subnet : state.subnets) {
    if (!wanted(subnet)) continue;
    parts.push_back({"subnet", subnet.id, subnet.zone, subnet.cidr,
                     fmt::format("{}, {} addresses free", is_public(state, subnet) ? "public" : "private", subnet.free_addresses)});
  }
  for (const auto& gateway : state.gateways) {
    if (wanted(gateway)) parts.push_back({"internet gateway", gateway.id, "", "", gateway.vpc.empty() ? "not attached" : ""});
  }
  for (const auto& table : state.route_tables) {
    if (!wanted(table)) continue;
    const Route* way_out = table.route_to(kEverywhere);
    parts.push_back({"route table", table.id, "", "", way_out ? fmt::format("{} to {}", kEverywhere, way_out->target) : "no way out"});
  }
  for (const auto& endpoint : state.endpoints) {
    if (wanted(endpoint)) parts.push_back({"endpoint", endpoint.id, "", "", endpoint.service});
  }
  for (const auto& group : state.groups) {
    if (wanted(group)) parts.push_back({"security group", group.id, "", "", group.name});
  }
}

Network describe(const NetworkState& state, const std::string& name) {
  Network network;
  network.name = name;
  network.region = state.region;
  if (const Vpc* vpc = state.vpc()) network.id = vpc->id, network.cidr = vpc->cidr;
  add_parts(
      state, [&](const Thing& thing) { return thing.is_of(name); }, network.parts);
  for (const auto& other : foreign_things(state, name)) network.others.push_back({"", other.id, "", "", other.what});
  network.users = users_of(state).words;
  for (std::size_t index = 1; index < state.vpcs.size(); ++index)
    network.missing.push_back("removal of VPC " + state.vpcs[index].id + ", one too many");
  try {
    const auto state_of_one = state.vpcs.empty() ? state : state.only(state.vpcs.front().id);
    for (const auto& step : plan_creation(state_of_one, wanted_network({.name = name}, state))) network.missing.push_back(step.what);
  } catch (const Error& error) {
    network.missing.push_back(error.message());
  }
  return network;
}

[[noreturn]] void refuse_used(const std::string& name, const Users& users) {
  Error error(fmt::format("network '{}' is in use: {}", name, join(users.words, ", ")));
  error.set_hint(users.clusters.empty() ? "what is in it must go first" : fmt::format("`kiln destroy {}` first", users.clusters.front()));
  throw error;
}

void wait_for_the_dying(const Session& session, const Ec2& ec2, const std::string& name, const NetworkState& state) {
  const auto ending = users_of(state).ending;
  if (ending.empty()) return;
  Activity activity(fmt::format("{} instance{} to be gone", ending.size(), ending.size() == 1 ? "" : "s"));
  kiln::aws::wait_until(session.surroundings(), fmt::format("instances {} to be gone", join(ending, ", ")), kForInstances, [&] {
    const auto users = users_of(look_for(ec2, name, Look::kWithUsers));
    if (!users.words.empty()) refuse_used(name, users);
    return users.ending.empty();
  });
  activity.finish();
}

}  // namespace

AwsNetworks::AwsNetworks(const NetworkPlace& place) : AwsNetworks(Session({.profile = place.profile, .region = place.region})) {}
AwsNetworks::AwsNetworks(Session session) : session_(std::move(session)), ec2_(session_) {}

// Returns with one VPC of the network there, made by us or by somebody else.
void AwsNetworks::claim(Rounds& rounds, const WantedNetwork& wanted, std::vector<std::string>& done) {
  for (int attempt = 0;; ++attempt) {
    const auto before = rounds.look();
    if (before.vpc()) return;
    auto steps = plan_creation(before, wanted);
    steps.resize(1);
    std::vector<std::string> made;
    rounds.run(steps, made);
    const std::string id = rounds.made();
    if (id.empty()) {
      // It may have been made all the same: a moment to be seen, before another one is.
      try {
        kiln::aws::wait_until(session_.surroundings(), "the VPC", std::chrono::seconds(5), [&] { return rounds.look().vpc() != nullptr; });
      } catch (const kiln::aws::WaitTimeout&) {
      }
      continue;
    }
    if (rounds.look().vpcs.size() == 1) {
      done.insert(done.end(), made.begin(), made.end());
      return;
    }
    std::vector<std::string> given_way;
    const Step give_way{
        .what = "VPC " + id + ", since another is there", .operation = "DeleteVpc", .params = Json::object({{"VpcId", id}}), .removes = id};
    rounds.run({give_way}, given_way);
    const int most = 500 << std::min(attempt, 3);
    session_.surroundings().sleep(std::chrono::milliseconds(static_cast<int>(session_.surroundings().random() * most)));
  }
}

// The state with one VPC: the others were a rival's that gave way, or are removed.
NetworkState AwsNetworks::one_vpc(Rounds& rounds, const std::string& name, NetworkState state, std::vector<std::string>& done) {
  if (state.vpcs.size() < 2) return state;
  try {
    kiln::aws::wait_until(session_.surroundings(), "one VPC to be left", kForRivals, [&] {
      state = rounds.look();
      return state.vpcs.size() < 2;
    });
    return state;
  } catch (const kiln::aws::WaitTimeout&) {
    state = rounds.look(Look::kWithUsers);
  }
  auto vpcs = state.vpcs;
  std::stable_sort(vpcs.begin(), vpcs.end(), [&](const Vpc& left, const Vpc& right) {
    const auto living = [&](const Vpc& vpc) { return !users_of(state.only(vpc.id)).words.empty(); };
    return std::pair(living(left), parts_in(state, left.id)) > std::pair(living(right), parts_in(state, right.id));
  });
  for (std::size_t index = 1; index < vpcs.size(); ++index) {
    if (const auto users = users_of(state.only(vpcs[index].id)); !users.words.empty()) {
      Error error(fmt::format("network '{}' has two VPCs, and both are in use: {} by {}", name, vpcs[index].id, join(users.words, ", ")));
      error.set_hint("when one is empty, `kiln network create` removes it");
      throw error;
    }
    remove(rounds, name, vpcs[index].id, done);
  }
  return rounds.look();
}

// Removes what is the network's, in all its VPCs or one; gives what stays.
std::vector<std::string> AwsNetworks::remove(Rounds& rounds, const std::string& name, const std::string& only_vpc,
                                             std::vector<std::string>& done) {
  for (;;) {
    auto state = rounds.look();
    if (!only_vpc.empty()) {
      state = state.only(only_vpc);
      // Gateways that hang nowhere may be the other VPC's to be.
      const auto loose = [](const Gateway& gateway) { return gateway.vpc.empty(); };
      state.gateways.erase(std::remove_if(state.gateways.begin(), state.gateways.end(), loose), state.gateways.end());
    }
    const auto steps = plan_removal(state, name);
    std::vector<std::string> left;
    if (!steps.empty()) {
      try {
        rounds.run(steps, done);
        continue;
      } catch (const kiln::aws::ApiError& failure) {
        if (failure.code() != "DependencyViolation") throw;
        // Something that kiln does not look at: a network ACL, a peering connection, a VPN gateway …
        left.push_back(failure.api_message());
      }
    }
    for (const auto& other : foreign_things(state, name)) left.push_back(other.what + ", which is not kiln's");
    for (const auto& vpc : state.vpcs) left.push_back(fmt::format("VPC {}, which that is in", vpc.id));
    return left;
  }
}

NetworkChange AwsNetworks::create(const NetworkRequest& request) {
  config::check_network_name(request.name);
  if (!request.cidr.empty()) parse_vpc_cidr("--cidr", request.cidr);
  Activity activity("network " + request.name);
  NetworkChange change;
  Rounds rounds(session_, ec2_, request.name);
  auto state = rounds.look();
  auto wanted = wanted_network(request, state);
  if (request.dry_run) {
    for (const auto& step : plan_creation(state.vpc() ? state.only(state.vpc()->id) : state, wanted)) change.done.push_back(step.what);
    change.network = describe(state, request.name);
    return change;
  }
  for (int attempt = 0;; state = rounds.look()) {
    if (!state.vpc()) {
      // More than once where rivals give way to each other, or somebody destroys it meanwhile.
      if (++attempt > 5) fail("network '{}' is being removed by somebody else", request.name);
      claim(rounds, wanted, change.done);
      continue;
    }
    state = one_vpc(rounds, request.name, std::move(state), change.done);
    if (!state.vpc()) continue;
    // Somebody else may have made it, with other zones.
    const std::string service = wanted.s3_service;
    wanted = wanted_network(request, state);
    wanted.s3_service = service;
    auto steps = plan_creation(state, wanted);
    if (steps.empty()) break;
    if (wanted.s3_service.empty() && needs(steps, "CreateVpcEndpoint")) {
      wanted.s3_service = s3_service(ec2_);
      steps = plan_creation(state, wanted);
    }
    rounds.run(steps, change.done);
  }
  change.network = describe(state, request.name);
  activity.finish();
  return change;
}

std::optional<Network> AwsNetworks::find(const std::string& name) {
  config::check_network_name(name);
  const auto state = look_for(ec2_, name, Look::kWithUsers);
  if (is_gone(state, name)) return std::nullopt;
  return describe(state, name);
}

Network AwsNetworks::find_by_id(const std::string& id) {
  const auto state = look_at(ec2_, id, Look::kWithUsers);
  Network network;
  network.id = id;
  network.region = state.region;
  network.cidr = state.vpc()->cidr;
  add_parts(
      state, [](const Thing&) { return true; }, network.parts);
  network.users = users_of(state).words;
  const auto findings = check_vpc(state);
  network.missing = findings.missing;
  network.advice = findings.advice;
  return network;
}

std::vector<NetworkSummary> AwsNetworks::list() {
  Json params = kiln::aws::filters({{"key", {kNetworkTag}}});
  params["MaxResults"] = 1000;
  std::map<std::string, NetworkSummary> found;
  for (const Json& tag : ec2_.call_all("DescribeTags", params, "tagSet")) {
    auto& network = found[kiln::aws::text(tag, "value")];
    network.name = kiln::aws::text(tag, "value");
    ++network.parts;
    if (kiln::aws::text(tag, "resourceType") == "vpc") network.id = kiln::aws::text(tag, "resourceId");
  }
  params = kiln::aws::filters({{"tag-key", {kNetworkTag}}});
  params["MaxResults"] = 1000;
  for (const Json& vpc : ec2_.call_all("DescribeVpcs", params, "vpcSet")) {
    for (auto& [name, network] : found) {
      if (network.id == kiln::aws::text(vpc, "vpcId")) network.cidr = kiln::aws::text(vpc, "cidrBlock");
    }
  }
  std::vector<NetworkSummary> networks;
  for (const auto& [name, network] : found) networks.push_back(network);
  return networks;
}

NetworkRemoval AwsNetworks::destroy(const std::string& name, bool dry_run) {
  config::check_network_name(name);
  Activity activity("network " + name);
  NetworkRemoval removal;
  Rounds rounds(session_, ec2_, name);
  const auto state = rounds.look(Look::kWithUsers);
  removal.was_there = !is_gone(state, name);
  if (!removal.was_there) return removal;
  if (const auto users = users_of(state); !users.words.empty()) refuse_used(name, users);
  if (dry_run) {
    for (const auto& step : plan_removal(state, name)) removal.removed.push_back(step.what);
    for (const auto& other : foreign_things(state, name)) removal.left.push_back(other.what + ", which is not kiln's");
    return removal;
  }
  wait_for_the_dying(session_, ec2_, name, state);
  removal.left = remove(rounds, name, {}, removal.removed);
  activity.finish();
  return removal;
}

std::string AwsNetworks::to_terraform(const std::string& name, const std::string& id) {
  if (name.empty()) return write_terraform(look_at(ec2_, id, Look::kNetwork), {});
  return write_terraform(find_network(ec2_, name), name);
}

NetworkState find_network(const Ec2& ec2, const std::string& name) {
  config::check_network_name(name);
  auto state = look_for(ec2, name, Look::kNetwork);
  if (state.vpcs.empty()) {
    UsageError error(fmt::format("there is no network '{}' in {}", name, ec2.region()));
    error.set_hint(fmt::format("`kiln network create {}` makes it; `kiln network list` says which there are", name));
    throw error;
  }
  return state.only(state.vpcs.front().id);
}

}  // namespace kiln::provider::on_aws
