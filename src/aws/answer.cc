#include "aws/answer.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <pugixml.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

const Json& nothing() {
  static const Json null;
  return null;
}

constexpr int kDeepest = 100;

// The name without its namespace's prefix.
std::string local_name(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  const std::size_t colon = name.rfind(':');
  return valid_utf8(std::string(colon == std::string_view::npos ? name : name.substr(colon + 1)));
}

Json value_of(const pugi::xml_node& node, int depth) {
  if (depth > kDeepest) fail("the XML is nested too deep");
  std::vector<std::pair<std::string, pugi::xml_node>> children;
  std::string text;
  for (const auto& child : node.children()) {
    if (child.type() == pugi::node_element) children.emplace_back(local_name(child), child);
    if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) text += child.value();
  }
  if (children.empty()) return text.empty() ? Json() : Json(valid_utf8(std::move(text)));

  bool all_items = true, all_members = true;
  std::map<std::string, int> counts;
  for (const auto& [name, child] : children) {
    all_items = all_items && name == "item";
    all_members = all_members && name == "member";
    ++counts[name];
  }
  if (all_items || all_members) {
    Json out = Json::array();
    for (const auto& [name, child] : children) out.push_back(value_of(child, depth + 1));
    return out;
  }
  Json out = Json::object();
  for (const auto& [name, child] : children) {
    Json value = value_of(child, depth + 1);
    if (counts[name] == 1) {
      out[name] = std::move(value);
      continue;
    }
    if (!out.contains(name)) out[name] = Json::array();
    out[name].push_back(std::move(value));
  }
  return out;
}

}  // namespace

const Json& at(const Json& answer, std::string_view path) {
  const Json* place = &answer;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    if (place->is_array()) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      if (error != std::errc() || end != name.data() + name.size() || index >= place->size()) return nothing();
      place = &(*place)[index];
    } else if (place->is_object()) {
      const auto found = place->find(name);
      if (found == place->end()) return nothing();
      place = &*found;
    } else {
      return nothing();
    }
  }
  return *place;
}

std::string text(const Json& answer, std::string_view path) {
  const Json& value = at(answer, path);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return {};
}

std::string required_text(const Json& answer, std::string_view path) {
  std::string found = text(answer, path);
  if (found.empty()) fail("AWS's answer lacks '{}'", path);
  return found;
}

std::optional<std::int64_t> integer(const Json& answer, std::string_view path) {
  const std::string digits = text(answer, path);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

bool flag(const Json& answer, std::string_view path) { return text(answer, path) == "true"; }

std::vector<Json> list(const Json& answer, std::string_view path) {
  const Json& value = at(answer, path);
  if (value.is_null()) return {};
  if (!value.is_array()) return {value};
  return {value.begin(), value.end()};
}

std::optional<std::string> tag(const Json& resource, std::string_view key) {
  for (const auto& [tags, key_name, value_name] :
       {std::tuple("tagSet", "key", "value"), std::tuple("Tags", "Key", "Value"), std::tuple("tags", "key", "value")}) {
    for (const Json& one : list(resource, tags)) {
      if (text(one, key_name) == key) return text(one, value_name);
    }
  }
  return std::nullopt;
}

std::string valid_utf8(std::string text) {
  if (std::all_of(text.begin(), text.end(), [](char letter) { return static_cast<unsigned char>(letter) < 0x80; })) return text;
  return Json::parse(Json(std::move(text)).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

Json xml_to_json(std::string_view xml) {
  pugi::xml_document document;
  // White space alone is no text (documents are indented), but for a leaf of nothing else: S3 keys may be a blank.
  const auto result = document.load_buffer(xml.data(), xml.size(), pugi::parse_default | pugi::parse_ws_pcdata_single);
  if (!result) fail("cannot read AWS's answer: not XML ({} at byte {})", result.description(), result.offset);
  return value_of(document.document_element(), 0);
}

}  // namespace kiln::aws
