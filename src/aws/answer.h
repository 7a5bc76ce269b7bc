// Reading answers. All services give Json; those that speak XML (EC2, IAM, STS, S3) are turned into it:
//
//   <vpcSet><item><vpcId>vpc-1</vpcId><isDefault>true</isDefault></item></vpcSet>   →   {"vpcSet": [{"vpcId": "vpc-1", "isDefault":
//   "true"}]}
//
// An element whose children are all <item> or all <member> is a list; so are children that share a name. An empty element is null,
// and XML's leaves are strings. So use these, which smooth the differences out and never throw on what is absent.
// `path` is names with "/" between them, an index for a list's element: "instancesSet/0/privateIpAddress".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace kiln::aws {

// The value there, or a null.
const Json& at(const Json& answer, std::string_view path);
// The string there (a number or truth value as text); "" when it is absent.
std::string text(const Json& answer, std::string_view path);
// As text(), but Error (naming the path) when it is absent or empty.
std::string required_text(const Json& answer, std::string_view path);
// The whole number there, or nothing.
std::optional<std::int64_t> integer(const Json& answer, std::string_view path);
// True for true and "true".
bool flag(const Json& answer, std::string_view path);
// The elements of a list; none when it is absent or empty; the one value where XML has only one of it.
std::vector<Json> list(const Json& answer, std::string_view path);
// The tag's value in a resource's "tagSet" (EC2) or "Tags" (others: Key, Value); nothing when it has no such tag.
std::optional<std::string> tag(const Json& resource, std::string_view key);

// `text` with what is no UTF-8 replaced by U+FFFD, so that it can be printed and be part of Json.
std::string valid_utf8(std::string text);

// An XML document as above: the children of its root element. Error for what is no XML, or nested deeper than 100.
Json xml_to_json(std::string_view xml);

}  // namespace kiln::aws
