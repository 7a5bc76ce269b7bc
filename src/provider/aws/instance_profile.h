// The instance profile and role that are made for one cluster (`instance_profile: auto`): what the nodes may do in S3, and nothing else.
//
// Their name is made of the cluster's and its launch's, which no other cluster has: so whoever finds the cluster's record knows it, and
// removes them with the cluster. The record says that they are there before they are, and goes after them.
#pragma once

#include <string>
#include <vector>

#include "aws/api_error.h"
#include "aws/session.h"
#include "provider/aws/record.h"

namespace kiln::provider::on_aws {

struct ProfileCall {
  std::string operation;
  Json parameters;
};

// "kiln-CLUSTER-LAUNCH": at most 64 letters, IAM's limit for roles.
std::string profile_name(const Record& record);
// What make_profile() asks of IAM.
std::vector<ProfileCall> profile_calls(const Record& record, const config::AwsSpec& wish, const std::string& region);
// Made already is fine. ApiError.
void make_profile(const kiln::aws::Session& session, const Record& record, const config::AwsSpec& wish);
// Absent is fine.
void delete_profile(const kiln::aws::Session& session, const std::string& name);
// EC2 learns of a new profile some seconds after IAM.
bool is_unknown_profile(const kiln::aws::ApiError& error);

}  // namespace kiln::provider::on_aws
