#include "provider/aws/instance_profile.h"

#include "aws/answer.h"
#include "aws/endpoints.h"
#include "aws/iam.h"
#include "aws/wait.h"

namespace kiln::provider::on_aws {

namespace {

constexpr const char* kPath = "/kiln/";
constexpr const char* kPolicy = "s3";
// IAM's parts hear of one another within seconds.
constexpr std::chrono::seconds kSettleTime{60};

// The service that takes the role: "Service principals" of EC2 differ in China only.
Json trust(const kiln::aws::Partition& partition) {
  const std::string service = partition.name == "aws-cn" ? "ec2." + partition.dns_suffix : "ec2.amazonaws.com";
  return {{"Version", "2012-10-17"},
          {"Statement",
           Json::array({{{"Effect", "Allow"}, {"Principal", {{"Service", service}}}, {"Action", Json::array({"sts:AssumeRole"})}}})}};
}

// "data/in/" → "data", "in".
std::pair<std::string, std::string> split_place(const std::string& place) {
  const auto slash = place.find('/');
  std::string prefix = slash == std::string::npos ? "" : place.substr(slash + 1);
  while (prefix.ends_with('/')) prefix.pop_back();
  return {place.substr(0, slash), prefix};
}

// To list is a right on the bucket, to which a condition gives the prefix; the rest are rights on objects (S3's "Actions, resources, and
// condition keys"). A folder has its name with and without a slash.
Json rights(const std::vector<std::string>& places, const std::string& partition) {
  Json statements = Json::array();
  for (const auto& place : places) {
    const auto [bucket, prefix] = split_place(place);
    const std::string arn = fmt::format("arn:{}:s3:::{}", partition, bucket);
    Json list = {{"Effect", "Allow"}, {"Action", Json::array({"s3:ListBucket"})}, {"Resource", arn}};
    if (!prefix.empty()) list["Condition"] = {{"StringLike", {{"s3:prefix", Json::array({prefix, prefix + "/*"})}}}};
    statements.push_back(std::move(list));
    statements.push_back(
        {{"Effect", "Allow"}, {"Action", Json::array({"s3:GetBucketLocation", "s3:ListBucketMultipartUploads"})}, {"Resource", arn}});
    Json objects = Json::array();
    if (prefix.empty()) {
      objects.push_back(arn + "/*");
    } else {
      objects.push_back(fmt::format("{}/{}", arn, prefix));
      objects.push_back(fmt::format("{}/{}/*", arn, prefix));
    }
    statements.push_back({{"Effect", "Allow"},
                          {"Action", Json::array({"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
                                                  "s3:ListMultipartUploadParts"})},
                          {"Resource", std::move(objects)}});
  }
  return {{"Version", "2012-10-17"}, {"Statement", std::move(statements)}};
}

Json tags_of(const Record& record, const config::AwsSpec& wish) {
  Json tags = Json::array();
  const auto add = [&](const std::string& key, const std::string& value) { tags.push_back({{"Key", key}, {"Value", value}}); };
  add("kiln:cluster", record.cluster.name);
  add("kiln:launch", record.launch);
  for (const auto& [key, value] : wish.tags) add(key, value);
  return tags;
}

// What may have been done, though the answer was lost, is asked for again: each of these calls says that it is done already. The pauses
// between grow; what fails for as long as this fails for good.
bool ask_again(const kiln::aws::ApiError& error) { return error.may_have_acted(); }

// Until IAM knows what the call before has made.
void call_when_known(const kiln::aws::Session& session, const kiln::aws::Iam& iam, const ProfileCall& call) {
  kiln::aws::wait_until(session.surroundings(), fmt::format("IAM to take {}", call.operation), kSettleTime, [&] {
    try {
      iam.call(call.operation, call.parameters);
    } catch (const kiln::aws::ApiError& error) {
      if (error.is_not_found() || ask_again(error)) return false;
      // By the attempt before this one, whose answer was lost. A profile has one role, and says that another would be beyond its quota.
      const bool role_is_in = call.operation == "AddRoleToInstanceProfile" && error.code() == "LimitExceeded";
      if (!error.is_duplicate() && !role_is_in) throw;
    }
    return true;
  });
}

bool has_role(const kiln::aws::Iam& iam, const std::string& profile) {
  try {
    const Json answer = iam.call("GetInstanceProfile", {{"InstanceProfileName", profile}});
    return !kiln::aws::list(answer, "InstanceProfile/Roles").empty();
  } catch (const kiln::aws::ApiError& error) {
    if (!error.is_not_found()) throw;
    return false;
  }
}

}  // namespace

std::string profile_name(const Record& record) { return fmt::format("kiln-{}-{}", record.cluster.name.substr(0, 42), record.launch); }

std::vector<ProfileCall> profile_calls(const Record& record, const config::AwsSpec& wish, const std::string& region) {
  const auto& partition = kiln::aws::partition_of(region);
  const std::string name = profile_name(record);
  const Json tags = tags_of(record, wish);
  return {{"CreateRole",
           {{"RoleName", name},
            {"Path", kPath},
            {"Description", fmt::format("nodes of kiln's cluster {} in {}", record.cluster.name, region)},
            {"AssumeRolePolicyDocument", trust(partition).dump()},
            {"Tags", tags}}},
          {"PutRolePolicy", {{"RoleName", name}, {"PolicyName", kPolicy}, {"PolicyDocument", rights(wish.s3, partition.name).dump()}}},
          {"CreateInstanceProfile", {{"InstanceProfileName", name}, {"Path", kPath}, {"Tags", tags}}},
          {"AddRoleToInstanceProfile", {{"InstanceProfileName", name}, {"RoleName", name}}}};
}

void make_profile(const kiln::aws::Session& session, const Record& record, const config::AwsSpec& wish) {
  const kiln::aws::Iam iam(session);
  for (const auto& call : profile_calls(record, wish, session.region())) call_when_known(session, iam, call);
}

void delete_profile(const kiln::aws::Session& session, const std::string& name) {
  const kiln::aws::Iam iam(session);
  std::vector<ProfileCall> calls;
  if (has_role(iam, name)) calls.push_back({"RemoveRoleFromInstanceProfile", {{"InstanceProfileName", name}, {"RoleName", name}}});
  const std::vector<ProfileCall> others = {{"DeleteInstanceProfile", {{"InstanceProfileName", name}}},
                                           {"DeleteRolePolicy", {{"RoleName", name}, {"PolicyName", kPolicy}}},
                                           {"DeleteRole", {{"RoleName", name}}}};
  calls.insert(calls.end(), others.begin(), others.end());
  for (const auto& call : calls) {
    kiln::aws::wait_until(session.surroundings(), fmt::format("IAM to take {}", call.operation), kSettleTime, [&] {
      try {
        iam.call(call.operation, call.parameters);
      } catch (const kiln::aws::ApiError& error) {
        // It has not heard yet that what stood in the way has gone.
        if (error.code() == "DeleteConflict" || ask_again(error)) return false;
        if (!error.is_not_found()) throw;
      }
      return true;
    });
  }
}

bool is_unknown_profile(const kiln::aws::ApiError& error) {
  return error.code() == "InvalidParameterValue" && error.api_message().find("Invalid IAM Instance Profile") != std::string::npos;
}

}  // namespace kiln::provider::on_aws
