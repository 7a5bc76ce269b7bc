#include "config/ami_spec.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::config {

namespace {

// "us-east-1", "us-gov-west-1", "ap-southeast-7": letters and digits between dashes, a number last (it becomes part of a host name).
bool looks_like_region(const std::string& word) {
  const auto parts = split(word, '-');
  const auto all = [](const std::string& part, auto test) { return !part.empty() && std::all_of(part.begin(), part.end(), test); };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return parts.size() >= 3 && parts.size() <= 5 && all(parts.back(), is_digit) &&
         std::all_of(parts.begin(), parts.end() - 1, [&](const std::string& part) { return all(part, is_letter); });
}

bool is_account(const std::string& word) {
  return word.size() == 12 && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "arn:aws:kms:us-east-1:123456789012:key/…": what the EBS direct API takes; aliases it does not.
void check_key(const Value& value, const std::string& key) {
  const auto parts = split(key, ':');
  if (parts.size() == 6 && parts[0] == "arn" && parts[2] == "kms" && parts[5].starts_with("key/")) return;
  value.fail(in_quotes(key) + " is no KMS key's ARN", "arn:aws:kms:REGION:ACCOUNT:key/ID: the EBS direct API takes no alias");
}

std::vector<std::string> read_words(const Value& value, const std::string& what, const std::vector<std::string>& words) {
  std::vector<std::string> chosen;
  for (const auto& item : value.as_scalars(what)) {
    const std::string word = item.as_word(what, words);
    if (std::find(chosen.begin(), chosen.end(), word) != chosen.end()) item.fail(in_quotes(word) + " is named twice");
    chosen.push_back(word);
  }
  if (chosen.empty()) value.fail(what + " is an empty list", "one of " + join(words, ", "));
  return chosen;
}

void read_keys(const Value& value, AmiSpec& spec) {
  spec.encrypted = true;
  if (!value.is_map()) {
    spec.kms_key = value.as_string("'kms_key'");
    return check_key(value, spec.kms_key);
  }
  for (const auto& [region, key] : value.as_map("'kms_key'")) {
    if (!looks_like_region(region)) key.fail_at_key(in_quotes(region) + " is no region");
    spec.kms_keys[region] = key.as_string("a region's key");
    check_key(key, spec.kms_keys[region]);
  }
}

void read_permissions(const Value& value, AmiSpec& spec) {
  value.only_keys("'launch_permissions'", {"accounts", "public"});
  for (const auto& item : value["accounts"].as_scalars("'accounts'")) {
    const std::string account = item.as_string("an account");
    if (!is_account(account)) item.fail(in_quotes(account) + " is no AWS account: those have twelve digits");
    spec.accounts.push_back(account);
  }
  if (const Value given = value["public"]; !given.is_null()) {
    spec.is_public = given.as_bool("'public'");
    if (spec.is_public && spec.encrypted)
      given.fail("an encrypted image cannot be public", "leave out 'encrypted' and 'kms_key', or name 'accounts'");
  }
}

void read_tags(const Value& value, AmiSpec& spec) {
  // AWS's limits are 128 and 256; 50 tags, of which kiln uses some.
  constexpr std::size_t kMaxKey = 128, kMaxValue = 256, kMaxTags = 40;
  const auto tags = value.as_map("'tags'");
  if (tags.size() > kMaxTags) value.fail(fmt::format("there are {} tags, AWS allows {} beside kiln's own", tags.size(), kMaxTags));
  for (const auto& [key, text] : tags) {
    if (key.empty() || key.size() > kMaxKey) text.fail_at_key("a tag's key has 1 to 128 characters");
    if (key.starts_with("kiln:") || key.starts_with("aws:"))
      text.fail_at_key(in_quotes(key) + ": tags of that prefix are not yours to set");
    spec.tags[key] = text.as_string("a tag's value");
    if (spec.tags[key].size() > kMaxValue) text.fail("a tag's value has at most 256 characters");
  }
}

void read_zones(const Value& value, AmiSpec& spec) {
  for (const auto& item : value.as_scalars("'fast_snapshot_restore'")) {
    const std::string zone = item.as_string("a zone");
    if (zone.size() < 2 || !looks_like_region(zone.substr(0, zone.size() - 1)) || zone.back() < 'a' || zone.back() > 'z')
      item.fail(in_quotes(zone) + " is no availability zone", "such as us-east-1a");
    spec.fast_restore_zones.push_back(zone);
  }
}

}  // namespace

void set_regions(AmiSpec& spec, const std::vector<std::string>& words, const std::string& what) {
  spec.regions.clear();
  spec.all_regions = false;
  for (const auto& word : words) {
    if (word == "all") {
      spec.all_regions = true;
    } else if (!looks_like_region(word)) {
      UsageError error(fmt::format("{}: '{}' is no region", what, word));
      error.set_hint("'all', or names such as us-east-1,eu-central-1");
      throw error;
    } else if (std::find(spec.regions.begin(), spec.regions.end(), word) == spec.regions.end()) {
      spec.regions.push_back(word);
    }
  }
  if (spec.all_regions && !spec.regions.empty()) fail_usage("{}: either 'all' or names of regions", what);
}

AmiSpec read_ami_spec(const Value& value) {
  if (!value.is_map()) value.fail("'ami' must be a map", "write 'ami: {regions: [us-east-1]}'");
  value.only_keys("'ami'", {"regions", "profiles", "virtualization", "boot_modes", "encrypted", "kms_key", "launch_permissions", "tags",
                            "deprecate_after", "fast_snapshot_restore"});
  AmiSpec spec;
  if (const Value given = value["regions"]; !given.is_null())
    given.at_this_place([&] { set_regions(spec, given.as_strings("'regions'"), "'regions'"); });
  if (const Value given = value["profiles"]; !given.is_null()) spec.profiles = given.as_strings("'profiles'");
  if (const Value given = value["virtualization"]; !given.is_null())
    spec.virtualization = read_words(given, "'virtualization'", {"hvm", "paravirtual"});
  if (const Value given = value["boot_modes"]; !given.is_null())
    spec.boot_modes = read_words(given, "'boot_modes'", {"uefi-preferred", "uefi", "legacy-bios"});
  if (const Value given = value["kms_key"]; !given.is_null()) read_keys(given, spec);
  if (const Value given = value["encrypted"]; !given.is_null()) {
    const bool encrypted = given.as_bool("'encrypted'");
    if (spec.encrypted && !encrypted) given.fail("'encrypted' is false, yet there is a 'kms_key'");
    spec.encrypted = encrypted;
  }
  if (const Value given = value["launch_permissions"]; !given.is_null()) read_permissions(given, spec);
  if (const Value given = value["tags"]; !given.is_null()) read_tags(given, spec);
  if (const Value given = value["deprecate_after"]; !given.is_null()) {
    spec.deprecate_after = given.as_duration("'deprecate_after'");
    // "The upper limit for DeprecateAt is 10 years from now" (EnableImageDeprecation); 2 years for public ones.
    const auto most = std::chrono::hours(24) * 365 * (spec.is_public ? 2 : 10);
    if (spec.deprecate_after < std::chrono::hours(1) || spec.deprecate_after > most)
      given.fail(fmt::format("'deprecate_after' must be 1h to {}d", std::chrono::duration_cast<std::chrono::hours>(most).count() / 24));
  }
  if (const Value given = value["fast_snapshot_restore"]; !given.is_null()) read_zones(given, spec);
  return spec;
}

Json ami_spec_to_json(const AmiSpec& spec) {
  Json json = {{"virtualization", spec.virtualization}};
  if (!spec.boot_modes.empty()) json["boot_modes"] = spec.boot_modes;
  if (spec.all_regions) json["regions"] = "all";
  if (!spec.regions.empty()) json["regions"] = spec.regions;
  if (!spec.profiles.empty()) json["profiles"] = spec.profiles;
  if (spec.encrypted) json["encrypted"] = true;
  if (!spec.kms_key.empty()) json["kms_key"] = spec.kms_key;
  if (!spec.kms_keys.empty()) json["kms_key"] = spec.kms_keys;
  if (!spec.accounts.empty() || spec.is_public) json["launch_permissions"] = Json{{"accounts", spec.accounts}, {"public", spec.is_public}};
  if (!spec.tags.empty()) json["tags"] = spec.tags;
  if (spec.deprecate_after.count() != 0) json["deprecate_after"] = std::to_string(spec.deprecate_after.count()) + "s";
  if (!spec.fast_restore_zones.empty()) json["fast_snapshot_restore"] = spec.fast_restore_zones;
  return json;
}

}  // namespace kiln::config
