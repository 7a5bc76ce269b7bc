#include "aws/ec2.h"

#include <algorithm>

#include "aws/query.h"

namespace kiln::aws {

namespace {

constexpr const char* kVersion = "2016-11-15";

Json tag_list(const std::vector<std::pair<std::string, std::string>>& tags) {
  Json out = Json::array();
  for (const auto& [key, value] : tags) out.push_back(Json::object({{"Key", key}, {"Value", value}}));
  return out;
}

}  // namespace

Ec2::Ec2(const Session& session) : client_(session.client("ec2")) {}

Json Ec2::call(const std::string& operation, const Json& params, const CallOptions& options) const {
  return query_call(client_, operation, kVersion, params, QueryLists::kFlat, options);
}

std::vector<Json> Ec2::call_all(const std::string& operation, const Json& params, std::string_view item_path) const {
  return all_pages([&](const Json& page) { return call(operation, page); }, params, item_path, {"NextToken", "nextToken"});
}

void Ec2::call_each(const std::string& operation, const Json& params, std::string_view item_path,
                    const std::function<void(const Json& item)>& take) const {
  each_page([&](const Json& page) { return call(operation, page); }, params, item_path, {"NextToken", "nextToken"},
            [&](const Json& answer) {
              const Json& items = at(answer, item_path);
              if (!items.is_array() && !items.is_null()) take(items);
              if (items.is_array()) std::for_each(items.begin(), items.end(), take);
            });
}

void Ec2::create_tags(const std::vector<std::string>& resource_ids, const std::vector<std::pair<std::string, std::string>>& tags) const {
  constexpr std::size_t kMost = 500;
  for (std::size_t start = 0; start < resource_ids.size(); start += kMost) {
    Json ids = Json::array();
    for (std::size_t i = start; i < std::min(resource_ids.size(), start + kMost); ++i) ids.push_back(resource_ids[i]);
    call("CreateTags", Json::object({{"ResourceId", ids}, {"Tag", tag_list(tags)}}));
  }
}

Json filters(const std::vector<std::pair<std::string, std::vector<std::string>>>& wanted) {
  Json out = Json::array();
  for (const auto& [name, values] : wanted) out.push_back(Json::object({{"Name", name}, {"Value", values}}));
  return Json::object({{"Filter", out}});
}

Json tag_specification(const std::string& resource_type, const std::vector<std::pair<std::string, std::string>>& tags) {
  return Json::object({{"ResourceType", resource_type}, {"Tag", tag_list(tags)}});
}

}  // namespace kiln::aws
