// The manifest's `sources:`: each kind has its own keys and its own shape, and whatever comes over the network is pinned:
// an exact version, a digest or a ref. Otherwise the same manifest would make another image tomorrow.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "config/manifest.h"

namespace kiln::config {

namespace {

struct KindRule {
  const char* key;
  SourceLocation::Kind kind;
  std::vector<std::string> other_keys;
};

const std::vector<KindRule>& kind_rules() {
  using Kind = SourceLocation::Kind;
  static const std::vector<KindRule> kRules = {{"url", Kind::kUrl, {"sha256", "sha512", "unpack"}},
                                               {"pypi", Kind::kPypi, {"sdist", "unpack"}},
                                               {"maven", Kind::kMaven, {"transitive"}},
                                               {"git", Kind::kGit, {"ref"}},
                                               {"file", Kind::kFile, {"sha256", "sha512", "unpack"}}};
  return kRules;
}

bool has_blank(const std::string& text) { return text.find_first_of(" \t\n") != std::string::npos; }

// The letters that a version, name or coordinate part may have; placeholders stand for such letters too.
bool is_part(std::string_view text, std::string_view more = {}) {
  if (text.empty()) return false;
  return std::all_of(text.begin(), text.end(), [&](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
           std::string_view("._-{}").find(letter) != std::string_view::npos || more.find(letter) != std::string_view::npos;
  });
}

void check_url(const Value& value, const std::string& url) {
  const bool known = url.starts_with("https://") || url.starts_with("http://") || url.starts_with("file:///");
  if (has_blank(url) || (!known && !url.starts_with("{"))) {
    value.fail(in_quotes(url) + " is no URL that kiln can fetch", "https://…, http://… or file:///…; a file of the module is 'file: …'");
  }
}

void check_requirement(const Value& value, const std::string& requirement) {
  static constexpr char kHint[] = "name one version: 'numpy==2.2.6'";
  const std::size_t equals = requirement.find("==");
  if (equals == std::string::npos) value.fail(in_quotes(requirement) + " names no exact version", kHint);
  // "pyarrow[parquet]==1.0": extras belong to the name. '!' and '+' are epochs and local versions (PEP 440).
  const bool good = is_part(requirement.substr(0, equals), "[],") && is_part(requirement.substr(equals + 2), "!+") && requirement[0] != '-';
  if (!good) value.fail(in_quotes(requirement) + " is no 'name==version'", kHint);
}

void check_coordinate(const Value& value, const std::string& coordinate) {
  const auto parts = split(coordinate, ':');
  const bool good = parts.size() >= 3 && parts.size() <= 5 &&
                    std::all_of(parts.begin(), parts.end(), [](const auto& part) { return is_part(part, "+"); });
  if (!good) value.fail(in_quotes(coordinate) + " is no Maven coordinate", "group:artifact:version, as in 'org.eclipse.jdt:ecj:3.40.0'");
}

void check_git_url(const Value& value, const std::string& url) {
  // Other transports (ext::, a leading '-') would run programs.
  const bool known = url.starts_with("https://") || url.starts_with("http://") || url.starts_with("ssh://") || url.starts_with("git://") ||
                     url.starts_with("file:///") || url.starts_with("{");
  if (has_blank(url) || !known) value.fail(in_quotes(url) + " is no URL of a git repository", "https://…, ssh://…, git://… or file:///…");
}

void check_module_path(const Value& value, const std::string& path) {
  const auto parts = split(path, '/');
  if (path.starts_with('/') || std::find(parts.begin(), parts.end(), "..") != parts.end()) {
    value.fail(in_quotes(path) + " is outside of the module's folder", "copy the file into the module, and name it relative to there");
  }
}

void check_item(const Value& value, SourceLocation::Kind kind, const std::string& text) {
  switch (kind) {
    case SourceLocation::Kind::kUrl:
      return check_url(value, text);
    case SourceLocation::Kind::kPypi:
      return check_requirement(value, text);
    case SourceLocation::Kind::kMaven:
      return check_coordinate(value, text);
    case SourceLocation::Kind::kGit:
      return check_git_url(value, text);
    case SourceLocation::Kind::kFile:
      return check_module_path(value, text);
    case SourceLocation::Kind::kOci:
      return;  // a base's, not a module's
  }
}

const KindRule& find_rule(const Value& value, const std::string& what) {
  const KindRule* found = nullptr;
  std::vector<std::string> kinds, all;
  for (const auto& rule : kind_rules()) {
    kinds.emplace_back(rule.key);
    all.emplace_back(rule.key);
    all.insert(all.end(), rule.other_keys.begin(), rule.other_keys.end());
    all.emplace_back("if");
    const Value given = value[rule.key];
    if (given.is_null()) continue;
    if (found != nullptr) {
      given.fail_at_key(fmt::format("one location is either '{}' or '{}'", found->key, rule.key),
                        "write a list: its items are tried in order");
    }
    found = &rule;
  }
  // A mistyped kind is told as that, not as a missing one.
  if (found == nullptr) {
    value.only_keys(what, all);
    value.fail(what + " says no place to come from", "one of " + join(kinds, ", "));
  }
  return *found;
}

SourceLocation read_location(const Value& value, const std::string& what, const ManifestContext& context) {
  if (!value.is_map()) value.fail(what + " must be a map such as {pypi: \"name==version\"}");
  const KindRule& rule = find_rule(value, what);
  std::vector<std::string> known = rule.other_keys;
  known.insert(known.begin(), rule.key);
  known.emplace_back("if");
  for (const auto& [key, member] : value.as_map(what)) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    // A key of another kind is no slip of the pen: say whose it is.
    for (const auto& other : kind_rules()) {
      if (std::find(other.other_keys.begin(), other.other_keys.end(), key) == other.other_keys.end()) continue;
      member.fail_at_key(fmt::format("'{}' does not go with '{}'", key, rule.key), fmt::format("it belongs to '{}'", other.key));
    }
  }
  value.only_keys(what, known);

  SourceLocation location;
  location.kind = rule.kind;
  location.condition = read_condition(value["if"], context);
  const Value given = value[rule.key];
  const bool may_be_list = rule.kind == SourceLocation::Kind::kPypi || rule.kind == SourceLocation::Kind::kMaven;
  const std::string key_words = fmt::format("'{}'", rule.key);
  for (const auto& item : may_be_list ? given.as_scalars(key_words) : std::vector<Value>{given}) {
    const std::string text = context.text(item, key_words, false);
    check_item(item, rule.kind, text);
    if (std::find(location.what.begin(), location.what.end(), text) != location.what.end()) item.fail(in_quotes(text) + " is named twice");
    location.what.push_back(text);
  }
  if (location.what.empty()) given.fail(key_words + " is an empty list");

  const auto digest = [&](const char* key, int bits) -> std::string {
    const Value member = value[key];
    if (member.is_null()) return {};
    const std::string text = read_digest(member, fmt::format("'{}'", key), bits);
    context.check_placeholders(member, text, false);
    return text;
  };
  location.sha256 = digest("sha256", 256);
  location.sha512 = digest("sha512", 512);
  if (rule.kind == SourceLocation::Kind::kUrl && location.sha256.empty() && location.sha512.empty()) {
    given.fail_at_key("a 'url' needs its 'sha256' or 'sha512'", "kiln uses nothing from the network that it cannot verify");
  }
  if (rule.kind == SourceLocation::Kind::kGit) {
    const Value ref = value["ref"];
    if (ref.is_null()) given.fail_at_key("a 'git' source needs its 'ref'", "a tag or commit; a branch's image changes as the branch does");
    location.ref = context.text(ref, "'ref'", false);
    if (location.ref[0] == '-' || has_blank(location.ref)) ref.fail(in_quotes(location.ref) + " is no branch, tag or commit");
  }
  if (const Value sdist = value["sdist"]; !sdist.is_null()) location.sdist = sdist.as_bool("'sdist'");
  if (const Value transitive = value["transitive"]; !transitive.is_null()) location.transitive = transitive.as_bool("'transitive'");
  if (const Value unpack = value["unpack"]; !unpack.is_null()) {
    location.unpack = unpack.as_bool("'unpack'");
    if (location.unpack && location.what.size() > 1) unpack.fail("several files are not unpacked", "name each as a source of its own");
  }
  return location;
}

// init.sh gets one or the other, and does not know from where.
void check_unpacking(const Value& value, const std::string& what, const std::vector<SourceLocation>& mirrors) {
  const bool all = std::all_of(mirrors.begin(), mirrors.end(), [&](const auto& mirror) { return mirror.unpack == mirrors[0].unpack; });
  if (!all) value.fail(what + " is to be unpacked from some of its locations, and not from others", "`unpack: true` at each of them");
}

}  // namespace

void read_sources(const Value& map, const ManifestContext& context, std::vector<SourceSpec>& sources) {
  std::map<std::string, std::string> variables;
  for (const auto& [name, value] : map.as_map("'sources'")) {
    context.problems.attempt([&, &name = name, &value = value] {
      const std::string what = "source '" + name + "'";
      check_word_name(value, "source", name);
      const auto [other, is_new] = variables.emplace(variable_name(name), name);
      if (!is_new) value.fail_at_key(fmt::format("sources '{}' and '{}' both become KILN_SOURCE_{}", other->second, name, other->first));
      SourceSpec source;
      source.name = name;
      if (value.is_null()) value.fail_at_key(what + " has no value");
      for (const auto& location : value.is_list() ? value.as_list(what) : std::vector<Value>{value}) {
        context.problems.attempt([&] { source.mirrors.push_back(read_location(location, what, context)); });
      }
      if (value.is_list() && value.as_list(what).empty()) value.fail(what + " is an empty list");
      check_unpacking(value, what, source.mirrors);
      sources.push_back(std::move(source));
    });
  }
}

}  // namespace kiln::config
