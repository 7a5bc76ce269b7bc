#include "provider/aws/fresh.h"

#include <optional>

#include "aws/wait.h"

namespace kiln::provider::on_aws {

namespace {

constexpr std::chrono::seconds kGroupTime{10};
constexpr kiln::aws::WaitPauses kPauses{std::chrono::milliseconds(100), std::chrono::seconds(2)};

bool is_unknown_yet(const kiln::aws::ApiError& error) {
  return error.code() == "InvalidGroup.NotFound" || error.code() == "InvalidGroupId.NotFound" ||
         error.code() == "InvalidInstanceID.NotFound";
}

// The group that has the name; nothing when EC2 shows none.
std::optional<Json> group_named_as(const kiln::aws::Ec2& ec2, const Json& parameters) {
  Json wanted = kiln::aws::filters(
      {{"group-name", {parameters.at("GroupName").get<std::string>()}}, {"vpc-id", {parameters.at("VpcId").get<std::string>()}}});
  wanted["MaxResults"] = 5;
  auto groups = ec2.call_all("DescribeSecurityGroups", wanted, "securityGroupInfo");
  if (groups.empty()) return std::nullopt;
  return std::move(groups.front());
}

}  // namespace

Json call_about_new(const kiln::aws::Ec2& ec2, const std::string& operation, const Json& parameters) {
  Json answer;
  std::optional<kiln::aws::ApiError> refusal;
  const auto is_known = [&] {
    try {
      answer = ec2.call(operation, parameters);
      return true;
    } catch (const kiln::aws::ApiError& error) {
      if (!is_unknown_yet(error)) throw;
      refusal = error;
      return false;
    }
  };
  try {
    kiln::aws::wait_until(ec2.surroundings(), fmt::format("EC2 to know what {} is about", operation), kShowTime, is_known, kPauses);
  } catch (const kiln::aws::WaitTimeout&) {
    throw *refusal;
  }
  return answer;
}

std::string make_group_once(const kiln::aws::Ec2& ec2, const Json& parameters, const std::string& launch) {
  try {
    // The second attempt of two is refused, since names are taken once.
    return kiln::aws::required_text(ec2.call("CreateSecurityGroup", parameters, {kiln::aws::Repeat::kAlways}), "groupId");
  } catch (const kiln::aws::ApiError& error) {
    if (!error.is_duplicate() && !error.may_have_acted()) throw;
    std::optional<Json> group;
    const auto is_shown = [&] { return (group = group_named_as(ec2, parameters)).has_value(); };
    try {
      kiln::aws::wait_until(ec2.surroundings(), "EC2 to show a security group", kGroupTime, is_shown, kPauses);
    } catch (const kiln::aws::WaitTimeout&) {
      throw error;
    }
    if (kiln::aws::tag(*group, "kiln:launch") != launch) throw error;
    return kiln::aws::required_text(*group, "groupId");
  }
}

}  // namespace kiln::provider::on_aws
