#include "provider/aws/placement.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "aws/ec2.h"
#include "aws/http.h"
#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider::on_aws {

namespace {

constexpr const char* kCheckIp = "https://checkip.amazonaws.com/";

std::vector<Json> subnets_of(const kiln::aws::Ec2& ec2, const config::AwsSpec& wish) {
  std::vector<std::pair<std::string, std::vector<std::string>>> wanted = {{"state", {"available"}}};
  if (!wish.subnet.empty())
    wanted.push_back({"subnet-id", {wish.subnet}});
  else if (!wish.network.empty())
    wanted.push_back({"tag:kiln:network", {wish.network}});
  else if (!wish.vpc.empty())
    wanted.push_back({"vpc-id", {wish.vpc}});
  else
    wanted.push_back({"default-for-az", {"true"}});
  return ec2.call_all("DescribeSubnets", kiln::aws::filters(wanted), "subnetSet");
}

[[noreturn]] void fail_without_subnet(const config::AwsSpec& wish, const std::string& region, const std::set<std::string>& zones) {
  if (!zones.empty()) {
    UsageError error(fmt::format("there is no subnet in zone '{}'", wish.zone));
    error.set_hint("there are some in: " + join({zones.begin(), zones.end()}, ", "));
    throw error;
  }
  if (!wish.subnet.empty()) fail_usage("there is no subnet '{}' in {}", wish.subnet, region);
  if (!wish.vpc.empty()) fail_usage("VPC '{}' has no subnet in {}", wish.vpc, region);
  UsageError error(wish.network.empty() ? fmt::format("the account has no default VPC in {}", region)
                                        : fmt::format("there is no network '{}' in {}", wish.network, region));
  error.set_hint(
      fmt::format("`kiln network create {} --on aws --region {}` makes one", wish.network.empty() ? "NAME" : wish.network, region));
  throw error;
}

// By id or name, in the order given.
std::vector<std::string> find_groups(const kiln::aws::Ec2& ec2, const config::AwsSpec& wish, const std::string& vpc) {
  std::vector<std::string> ids;
  if (wish.security_groups.empty()) return ids;
  Json parameters = kiln::aws::filters({{"vpc-id", {vpc}}});
  parameters["MaxResults"] = 1000;
  const auto groups = ec2.call_all("DescribeSecurityGroups", parameters, "securityGroupInfo");
  std::vector<std::string> names;
  for (const auto& group : groups) names.push_back(kiln::aws::text(group, "groupName"));
  for (const auto& wanted : wish.security_groups) {
    const auto found = std::find_if(groups.begin(), groups.end(), [&](const Json& group) {
      return kiln::aws::text(group, "groupId") == wanted || kiln::aws::text(group, "groupName") == wanted;
    });
    if (found == groups.end()) {
      UsageError error(fmt::format("VPC {} has no security group '{}'", vpc, wanted));
      error.set_hint(fmt::format("there are: {}", join(names, ", ")));
      throw error;
    }
    ids.push_back(kiln::aws::required_text(*found, "groupId"));
  }
  return ids;
}

}  // namespace

Place find_place(const kiln::aws::Session& session, const config::AwsSpec& wish) {
  const kiln::aws::Ec2 ec2(session);
  Place place;
  place.is_spread = wish.zone == config::kAllZones;
  std::set<std::string> zones;
  for (const auto& subnet : subnets_of(ec2, wish)) {
    const std::string zone = kiln::aws::text(subnet, "availabilityZone");
    if (!zones.insert(zone).second || (!place.is_spread && !wish.zone.empty() && zone != wish.zone)) continue;
    if (place.vpc_id.empty()) place.vpc_id = kiln::aws::text(subnet, "vpcId");
    place.subnets.push_back({kiln::aws::required_text(subnet, "subnetId"), zone});
  }
  if (place.subnets.empty()) fail_without_subnet(wish, session.region(), zones);
  std::sort(place.subnets.begin(), place.subnets.end(), [](const auto& a, const auto& b) { return a.zone < b.zone; });
  place.groups = find_groups(ec2, wish, place.vpc_id);
  place.authorized = wish.authorized.empty() ? std::vector<std::string>{own_address_range()} : wish.authorized;
  return place;
}

std::string own_address_range() {
  const char* other = std::getenv("KILN_CHECKIP");
  const std::string url = other != nullptr && *other != '\0' ? other : kCheckIp;
  std::string answer;
  try {
    kiln::aws::HttpRequest request;
    request.url = url;
    answer = trim(kiln::aws::Http().send(request).body);
  } catch (const kiln::aws::HttpFailure& failure) {
    answer = failure.message();
  }
  in_addr address{};
  if (::inet_pton(AF_INET, answer.c_str(), &address) == 1) return answer + "/32";
  Error error(fmt::format("cannot find out this machine's address on the internet from {}: {}", url, answer.substr(0, 200)));
  error.set_hint("say who may connect: --authorized 203.0.113.7/32");
  throw error;
}

}  // namespace kiln::provider::on_aws
