// Typed reads of the tree, and the words for what is wrong with it.
#include "config/yaml.h"

#include <algorithm>
#include <charconv>

#include "config/names.h"
#include "config/yaml_tree.h"

namespace kiln::config {

namespace {

using Kind = YamlItem::Kind;

std::string found_words(const YamlItem& item) {
  switch (item.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return in_quotes(item.scalar);
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "?";
}

[[noreturn]] void fail_type(const Value& value, std::string_view what, std::string_view wanted, const YamlItem& found,
                            std::string hint = {}) {
  value.fail(fmt::format("{} must be {}, found {}", what, wanted, found_words(found)), std::move(hint));
}

}  // namespace

Value Value::parse(std::string file, std::string text) {
  // A byte order mark is no part of the first line.
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  auto source = std::make_shared<const Source>(Source{std::move(file), std::move(text)});
  auto root = parse_yaml_tree(*source);
  return {std::move(source), std::move(root)};
}

bool Value::is_null() const { return item_->kind == Kind::kNull; }
bool Value::is_map() const { return item_->kind == Kind::kMap; }
bool Value::is_list() const { return item_->kind == Kind::kList; }
bool Value::is_scalar() const { return item_->kind == Kind::kScalar; }

std::string Value::as_string(std::string_view what) const {
  if (!is_scalar()) {
    // {name} without quotes is a map to YAML: the commonest slip in manifests, whose placeholders look like that.
    const bool placeholder = is_map() && item_->members.size() == 1 && item_->members[0].value->kind == Kind::kNull;
    fail_type(*this, what, "text", *item_, placeholder ? "quote it: \"{" + item_->members[0].key + "}\"" : "");
  }
  return item_->scalar;
}

bool Value::as_bool(std::string_view what) const {
  if (is_scalar()) {
    std::string word = item_->scalar;
    std::transform(word.begin(), word.end(), word.begin(),
                   [](char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; });
    if (word == "true" || word == "yes" || word == "on") return true;
    if (word == "false" || word == "no" || word == "off") return false;
    fail_type(*this, what, "true or false", *item_, did_you_mean(word, {"true", "false"}));
  }
  fail_type(*this, what, "true or false", *item_);
}

std::int64_t Value::as_int(std::string_view what, std::int64_t min, std::int64_t max) const {
  if (!is_scalar()) fail_type(*this, what, "a whole number", *item_);
  std::int64_t number = 0;
  const std::string& text = item_->scalar;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code == std::errc::invalid_argument || end != text.data() + text.size()) fail_type(*this, what, "a whole number", *item_);
  if (code != std::errc{} || number < min || number > max)
    fail(fmt::format("{} must be {} to {}, found {}", what, min, max, in_quotes(text)));
  return number;
}

double Value::as_number(std::string_view what, double min, double max) const {
  if (!is_scalar()) fail_type(*this, what, "a number", *item_);
  double number = 0;
  const std::string& text = item_->scalar;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (code == std::errc::invalid_argument || end != text.data() + text.size()) fail_type(*this, what, "a number", *item_);
  // Written so that "nan" is out of range too.
  if (code != std::errc{} || !(number >= min && number <= max))
    fail(fmt::format("{} must be {} to {}, found {}", what, min, max, in_quotes(text)));
  return number;
}

std::int64_t Value::as_size_bytes(std::string_view what) const {
  if (!is_scalar()) fail_type(*this, what, "a size such as 512m or 2g", *item_);
  return at_this_place([&] { return parse_size_bytes(what, item_->scalar); });
}

std::chrono::seconds Value::as_duration(std::string_view what, bool bare_seconds) const {
  if (!is_scalar()) fail_type(*this, what, "a time such as 90s or 8h", *item_);
  const bool bare = !item_->scalar.empty() && item_->scalar.find_first_not_of("0123456789") == std::string::npos;
  return at_this_place([&] { return parse_duration(what, bare && bare_seconds ? item_->scalar + "s" : item_->scalar); });
}

std::string Value::as_word(std::string_view what, const std::vector<std::string>& words) const {
  const std::string word = as_string(what);
  if (std::find(words.begin(), words.end(), word) == words.end()) {
    fail(fmt::format("{} cannot be {}", what, in_quotes(word)), did_you_mean_or_list(word, words));
  }
  return word;
}

std::vector<Value> Value::as_list(std::string_view what) const {
  if (is_null()) return {};
  if (!is_list()) fail_type(*this, what, "a list", *item_, is_scalar() ? "write '[" + item_->scalar + "]'" : "");
  std::vector<Value> values;
  for (const auto& item : item_->items) values.push_back(Value(source_, item));
  return values;
}

std::vector<Value> Value::as_scalars(std::string_view what) const {
  if (is_scalar()) return {*this};
  if (!is_null() && !is_list()) as_string(what);  // fails, with the hint about braces
  std::vector<Value> values = as_list(what);
  for (const auto& value : values) value.as_string(fmt::format("each of {}", what));
  return values;
}

std::vector<std::string> Value::as_strings(std::string_view what) const {
  std::vector<std::string> texts;
  for (const auto& value : as_scalars(what)) texts.push_back(value.item_->scalar);
  return texts;
}

std::vector<std::pair<std::string, Value>> Value::as_map(std::string_view what) const {
  if (is_null()) return {};
  if (!is_map()) fail_type(*this, what, "a map", *item_);
  std::vector<std::pair<std::string, Value>> members;
  for (const auto& member : item_->members) members.emplace_back(member.key, Value(source_, member.value, member.key_at));
  return members;
}

Value Value::operator[](std::string_view key) const {
  for (const auto& member : item_->members) {
    if (member.key == key) return {source_, member.value, member.key_at};
  }
  auto nothing = std::make_shared<YamlItem>();
  nothing->at = item_->at;
  return {source_, std::move(nothing)};
}

void Value::only_keys(std::string_view what, const std::vector<std::string>& known) const {
  for (const auto& [key, value] : as_map(what)) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      value.fail_at_key(fmt::format("unknown key {} in {}", in_quotes(key), what), did_you_mean_or_list(key, known));
    }
  }
}

Value Value::required(std::string_view what, std::string_view key) const {
  if (!is_null() && !is_map()) fail_type(*this, what, "a map", *item_);
  Value value = (*this)[key];
  if (value.is_null()) {
    if (value.key_at_.line > 0) value.fail_at_key(fmt::format("'{}' has no value", key));
    fail(fmt::format("{} lacks '{}'", what, key));
  }
  return value;
}

void Value::fail(std::string_view message, std::string hint) const { place().fail(message, std::move(hint)); }

void Value::fail_at_key(std::string_view message, std::string hint) const { key_place().fail(message, std::move(hint)); }

void Value::fail_at_part(std::string_view part, std::string_view message, std::string hint) const {
  Place where = place();
  std::string_view text = source_->text;
  for (int line = 1; line < where.at.line && !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  const auto start = static_cast<std::size_t>(std::max(where.at.column - 1, 0));
  const std::size_t found = start <= text.size() ? text.find(part, start) : std::string_view::npos;
  if (found != std::string_view::npos) where.at.column = static_cast<int>(found) + 1;
  where.fail(message, std::move(hint));
}

Position Value::position() const { return item_->at; }

Place Value::key_place() const { return {source_, key_at_.line > 0 ? key_at_ : item_->at}; }

}  // namespace kiln::config
