#include "provider/aws/preview.h"

#include <algorithm>

#include "base/error.h"
#include "provider/aws/instance_profile.h"
#include "provider/aws/machines.h"
#include "provider/aws/run_request.h"

namespace kiln::provider::on_aws {

Json group_rules(const Record& record, const Place& place) {
  Json ranges = Json::array();
  for (const auto& range : place.authorized) ranges.push_back({{"CidrIp", range}, {"Description", "kiln"}});
  return {{"GroupId", record.group_id},
          {"IpPermissions", Json::array({{{"IpProtocol", "-1"}, {"Groups", Json::array({{{"GroupId", record.group_id}}})}},
                                         {{"IpProtocol", "tcp"}, {"FromPort", 22}, {"ToPort", 22}, {"IpRanges", ranges}}})}};
}

Json preview_of(const kiln::aws::Ec2& ec2, Record record, const CreateRequest& request, const Place& place) {
  record.group_id = "kiln-" + record.cluster.name;  // it gets its id when it is made
  Json calls = Json::array();
  const auto add = [&](const std::string& operation, Json parameters) {
    calls.push_back({{"operation", operation}, {"parameters", std::move(parameters)}});
  };
  add("CreateSecurityGroup", group_parameters(record));
  add("AuthorizeSecurityGroupIngress", group_rules(record, place));
  if (!record.made_profile.empty()) {
    for (auto& call : profile_calls(record, request.spec.aws, ec2.region())) add(call.operation, std::move(call.parameters));
  }
  for (const char* role : {"master", "worker"}) {
    for (const auto& batch : missing_nodes(record, role)) {
      for (auto& one : run_requests(ec2, record, request, place, batch, {})) {
        one.parameters["UserData"] = fmt::format("({} characters)", one.parameters["UserData"].get<std::string>().size());
        add("RunInstances", std::move(one.parameters));
      }
    }
  }
  Json state = {{"ResourceId", Json::array({record.group_id})}, {"Tag", Json::array()}};
  state["Tag"].push_back(Json::object({{"Key", "kiln:state"}, {"Value", "running"}}));
  add("CreateTags", std::move(state));
  return calls;
}

}  // namespace kiln::provider::on_aws
