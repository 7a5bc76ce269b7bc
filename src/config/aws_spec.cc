#include "config/aws_spec.h"

#include "base/error.h"
#include "base/strings.h"
#include "config/aws_spec_check.h"
#include "config/diagnostic.h"

namespace kiln::config {

namespace {

struct TextMember {
  const char* key;
  std::string AwsSpec::*member;
};
constexpr TextMember kTexts[] = {{"region", &AwsSpec::region},
                                 {"profile", &AwsSpec::profile},
                                 {"zone", &AwsSpec::zone},
                                 {"network", &AwsSpec::network},
                                 {"vpc", &AwsSpec::vpc},
                                 {"subnet", &AwsSpec::subnet},
                                 {"spot_price", &AwsSpec::spot_price},
                                 {"volume_type", &AwsSpec::volume_type},
                                 {"placement_group", &AwsSpec::placement_group},
                                 {"key_pair", &AwsSpec::key_pair},
                                 {"instance_profile", &AwsSpec::instance_profile},
                                 {"shutdown", &AwsSpec::shutdown},
                                 {"user", &AwsSpec::user},
                                 {"install", &AwsSpec::install}};
// In YAML a list, too.
constexpr TextMember kTypes[] = {{"instance_type", &AwsSpec::instance_type}, {"master_type", &AwsSpec::master_type}};

struct FlagMember {
  const char* key;
  bool AwsSpec::*member;
};
constexpr FlagMember kFlags[] = {
    {"spot_fallback", &AwsSpec::spot_fallback}, {"spot_masters", &AwsSpec::spot_masters}, {"private", &AwsSpec::is_private}};

struct NumberMember {
  const char* key;
  int AwsSpec::*member;
};
constexpr NumberMember kNumbers[] = {{"volumes", &AwsSpec::volumes},
                                     {"volume_size", &AwsSpec::volume_size},
                                     {"volume_iops", &AwsSpec::volume_iops},
                                     {"volume_throughput", &AwsSpec::volume_throughput},
                                     {"root_size", &AwsSpec::root_size}};
// Beyond what EC2 has of anything; its own bounds are checked with names (aws_spec_check.cc).
constexpr int kMostOfAnything = 1'000'000;

struct ListMember {
  const char* key;
  std::vector<std::string> AwsSpec::*member;
};
constexpr ListMember kLists[] = {
    {"authorized", &AwsSpec::authorized}, {"security_groups", &AwsSpec::security_groups}, {"s3", &AwsSpec::s3}};

std::vector<std::string> all_keys() {
  std::vector<std::string> keys = {"tags"};
  for (const auto& one : kTexts) keys.push_back(one.key);
  for (const auto& one : kTypes) keys.push_back(one.key);
  for (const auto& one : kFlags) keys.push_back(one.key);
  for (const auto& one : kNumbers) keys.push_back(one.key);
  for (const auto& one : kLists) keys.push_back(one.key);
  return keys;
}

}  // namespace

AwsSpec read_aws_spec(const Value& value) {
  value.only_keys("'aws'", all_keys());
  AwsSpec spec;
  const auto with = [&](const char* key, auto&& read) {
    if (const Value member = value[key]; !member.is_null()) read(member, fmt::format("'{}'", key));
  };
  for (const auto& one : kTexts) with(one.key, [&](const Value& v, const std::string& what) { spec.*one.member = v.as_string(what); });
  for (const auto& one : kTypes)
    with(one.key, [&](const Value& v, const std::string& what) { spec.*one.member = join(v.as_strings(what), ","); });
  for (const auto& one : kFlags) with(one.key, [&](const Value& v, const std::string& what) { spec.*one.member = v.as_bool(what); });
  for (const auto& one : kNumbers)
    with(one.key,
         [&](const Value& v, const std::string& what) { spec.*one.member = static_cast<int>(v.as_int(what, 0, kMostOfAnything)); });
  with("security_groups", [&](const Value& v, const std::string& what) { spec.security_groups = v.as_strings(what); });
  with("s3", [&](const Value& v, const std::string& what) { spec.s3 = v.as_strings(what); });
  with("authorized", [&](const Value& v, const std::string& what) {
    for (const auto& range : v.as_list(what)) {
      spec.authorized.push_back(range.as_string("a range of addresses"));
      range.at_this_place([&] { check_range(spec.authorized.back()); });
    }
  });
  with("tags", [&](const Value& v, const std::string& what) {
    for (const auto& entry : v.as_map(what)) {
      spec.tags[entry.first] = entry.second.as_string(in_quotes(entry.first));
      entry.second.at_this_place([&] { check_tag(entry.first, spec.tags[entry.first]); });
    }
  });
  value.at_this_place([&] { check_aws_spec(spec); });
  return spec;
}

Json aws_spec_to_json(const AwsSpec& spec) {
  Json json = Json::object();
  for (const auto& one : kTexts) {
    if (!(spec.*one.member).empty()) json[one.key] = spec.*one.member;
  }
  for (const auto& one : kTypes) {
    if (!(spec.*one.member).empty()) json[one.key] = spec.*one.member;
  }
  for (const auto& one : kFlags) {
    if (spec.*one.member) json[one.key] = true;
  }
  for (const auto& one : kNumbers) json[one.key] = spec.*one.member;
  for (const auto& one : kLists) json[one.key] = spec.*one.member;
  json["tags"] = spec.tags;
  return json;
}

AwsSpec aws_spec_from_json(JsonReader reader) {
  AwsSpec spec;
  for (const auto& one : kTexts) spec.*one.member = reader.text_or(one.key, spec.*one.member);
  for (const auto& one : kTypes) spec.*one.member = reader.text_or(one.key, spec.*one.member);
  for (const auto& one : kFlags) spec.*one.member = reader.flag_or(one.key, false);
  for (const auto& one : kNumbers)
    spec.*one.member = static_cast<int>(reader.integer_or(one.key, spec.*one.member, -kMostOfAnything, kMostOfAnything));
  for (const auto& one : kLists) spec.*one.member = reader.texts(one.key);
  spec.tags = reader.text_map("tags");
  reader.only_read_members();
  return spec;
}

std::vector<std::string> types_of(const AwsSpec& spec, const std::string& role) {
  return split(role == "master" && !spec.master_type.empty() ? spec.master_type : spec.instance_type, ',');
}

}  // namespace kiln::config
