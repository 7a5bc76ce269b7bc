#include "config/json_reader.h"

#include "config/diagnostic.h"

namespace kiln::config {

namespace {

std::string found_words(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return "nothing";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "text";
    case Json::value_t::boolean:
      return "true or false";
    default:
      return "a number";
  }
}

}  // namespace

JsonReader::JsonReader(const Json& json, std::string what, std::string path)
    : json_(&json), what_(std::move(what)), path_(std::move(path)) {
  if (json.is_object()) return;
  if (path_.empty()) kiln::fail("{} must be a JSON object, found {}", what_, found_words(json));
  kiln::fail("{}: {} must be an object, found {}", what_, in_quotes(path_), found_words(json));
}

std::string JsonReader::path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

void JsonReader::fail(const std::string& key, const std::string& problem, std::string hint) const {
  Error error(what_ + ": " + in_quotes(path_of(key)) + " " + problem);
  error.set_hint(std::move(hint));
  throw error;
}

const Json* JsonReader::find(const std::string& key) {
  asked_.insert(key);
  const auto found = json_->find(key);
  return found == json_->end() ? nullptr : &*found;
}

std::string JsonReader::text(const std::string& key) {
  const Json* member = find(key);
  if (member == nullptr) fail(key, "is missing");
  if (!member->is_string()) fail(key, "must be text, found " + found_words(*member));
  return member->get<std::string>();
}

std::string JsonReader::text_or(const std::string& key, std::string otherwise) {
  return find(key) == nullptr ? std::move(otherwise) : text(key);
}

bool JsonReader::flag_or(const std::string& key, bool otherwise) {
  const Json* member = find(key);
  if (member == nullptr) return otherwise;
  if (!member->is_boolean()) fail(key, "must be true or false, found " + found_words(*member));
  return member->get<bool>();
}

std::int64_t JsonReader::integer_or(const std::string& key, std::int64_t otherwise, std::int64_t min, std::int64_t max) {
  const Json* member = find(key);
  if (member == nullptr) return otherwise;
  if (!member->is_number_integer()) fail(key, "must be a whole number, found " + found_words(*member));
  // An unsigned one beyond 2^63 would wrap to a negative number on the way.
  const bool wraps = member->is_number_unsigned() && member->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  const std::int64_t number = wraps ? INT64_MAX : member->get<std::int64_t>();
  if (wraps || number < min || number > max) fail(key, fmt::format("must be {} to {}, found {}", min, max, member->dump()));
  return number;
}

double JsonReader::number_or(const std::string& key, double otherwise, double min, double max) {
  const Json* member = find(key);
  if (member == nullptr) return otherwise;
  if (!member->is_number()) fail(key, "must be a number, found " + found_words(*member));
  const double number = member->get<double>();
  if (!(number >= min && number <= max)) fail(key, fmt::format("must be {} to {}, found {}", min, max, member->dump()));
  return number;
}

std::vector<std::string> JsonReader::texts(const std::string& key) {
  const Json* member = find(key);
  if (member == nullptr) return {};
  if (!member->is_array()) fail(key, "must be a list, found " + found_words(*member));
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < member->size(); ++i) {
    const Json& item = (*member)[i];
    if (!item.is_string()) fail(fmt::format("{}[{}]", key, i), "must be text, found " + found_words(item));
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

std::map<std::string, std::string> JsonReader::text_map(const std::string& key) {
  const Json* member = find(key);
  if (member == nullptr) return {};
  if (!member->is_object()) fail(key, "must be an object, found " + found_words(*member));
  std::map<std::string, std::string> texts;
  for (const auto& [name, value] : member->items()) {
    if (!value.is_string()) fail(key + "." + name, "must be text, found " + found_words(value));
    texts[name] = value.get<std::string>();
  }
  return texts;
}

std::vector<JsonReader> JsonReader::objects(const std::string& key) {
  const Json* member = find(key);
  if (member == nullptr) return {};
  if (!member->is_array()) fail(key, "must be a list, found " + found_words(*member));
  std::vector<JsonReader> readers;
  for (std::size_t i = 0; i < member->size(); ++i) readers.emplace_back((*member)[i], what_, fmt::format("{}[{}]", path_of(key), i));
  return readers;
}

std::map<std::string, JsonReader> JsonReader::object_map(const std::string& key) {
  const Json* member = find(key);
  if (member == nullptr) return {};
  if (!member->is_object()) fail(key, "must be an object, found " + found_words(*member));
  std::map<std::string, JsonReader> readers;
  for (const auto& [name, value] : member->items()) readers.emplace(name, JsonReader(value, what_, path_of(key) + "." + name));
  return readers;
}

JsonReader JsonReader::object(const std::string& key) {
  const Json* member = find(key);
  if (member == nullptr) fail(key, "is missing");
  return JsonReader(*member, what_, path_of(key));
}

void JsonReader::only_read_members() const {
  for (const auto& [key, value] : json_->items()) {
    if (asked_.contains(key)) continue;
    const std::vector<std::string> known(asked_.begin(), asked_.end());
    const std::string near = did_you_mean(key, known);
    fail(key, "is unknown here", near.empty() ? "was it made by a newer kiln?" : near);
  }
}

}  // namespace kiln::config
