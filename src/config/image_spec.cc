// Reads image specs. A spec and those it extends are read one by one into `Layered`, which remembers what was given, and laid over each
// other.
#include "config/image_spec.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/files.h"
#include "base/strings.h"
#include "config/manifest.h"
#include "config/module_choice.h"
#include "config/names.h"
#include "config/reference.h"

namespace kiln::config {

namespace {

using Reader = std::function<std::string(const std::string& file)>;

// A chain longer than this is a mistake; each link reads a file.
constexpr std::size_t kMaxExtends = 16;
// Archive formats bound what a file's time may be: ZIP (jars) starts in 1980, and GPT, FAT and tar hold at least until 2107.
constexpr std::int64_t kMinEpoch = 315532800, kMaxEpoch = 4354819199;

const std::vector<std::string> kSpecKeys = {"name",    "summary", "extends", "base", "architecture", "packages",
                                            "modules", "warm",    "targets", "disk", "ami",          "epoch"};

struct Layered {
  std::optional<std::string> name, summary;
  std::optional<std::vector<std::string>> architectures;
  std::optional<BaseSpec> base;
  std::vector<std::string> packages;
  std::map<std::string, std::vector<std::string>> family_packages;
  std::vector<ModuleChoice> modules;
  std::optional<bool> warm;
  std::optional<std::vector<std::string>> targets;
  std::optional<DiskSpec> disk;
  std::optional<AmiSpec> ami;
  std::optional<std::int64_t> epoch;
};

constexpr const char* kArchiveEnds[] = {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"};

bool is_url(const std::string& text) { return text.starts_with("https://") || text.starts_with("http://") || text.starts_with("file:///"); }

// "./layout:tag", "/srv/image.tar" → path and tag. What looks like a path, or ends as archives do, is one; all else is a reference.
bool is_local_image(const std::string& text, std::string& path, std::string& tag) {
  const auto ends_as_archive = [](const std::string& name) {
    return std::any_of(std::begin(kArchiveEnds), std::end(kArchiveEnds), [&](const char* end) { return name.ends_with(end); });
  };
  path = text;
  tag.clear();
  if (const auto colon = text.rfind(':'); colon != std::string::npos && text.find('/', colon) == std::string::npos) {
    path = text.substr(0, colon);
    tag = text.substr(colon + 1);
  }
  return path.starts_with('/') || path.starts_with("./") || path.starts_with("../") || ends_as_archive(path);
}

void read_oci_base(const Value& value, const std::string& text, const fs::path& folder, BaseSpec& base) {
  if (text.empty()) value.fail("'oci' is empty");
  std::string path, tag;
  if (is_local_image(text, path, tag)) {
    if (text.ends_with(':')) value.fail(in_quotes(text) + " ends where a tag should stand", "which image of the layout, or no ':'");
    base.oci = (folder / path).lexically_normal().string();
    if (base.oci.size() > 1 && base.oci.ends_with('/')) base.oci.pop_back();
    base.tag = tag;
    return;
  }
  value.at_this_place([&] { base.oci = parse_reference(text).text(); });
}

BaseSpec read_base(const Value& value, const fs::path& folder) {
  if (!value.is_map()) {
    const bool is_word = value.is_scalar();
    value.fail("'base' must be a map",
               is_word ? "write 'base: {debian: " + value.as_string("'base'") + "}'" : "write 'base: {debian: trixie}'");
  }
  value.only_keys("'base'", {"debian", "ubuntu", "tarball", "oci", "mirror", "keyring", "sha256", "suite"});
  BaseSpec base;
  std::string kind_key;
  for (const auto& [key, kind] : {std::pair{"debian", BaseSpec::Kind::kDebian},
                                  {"ubuntu", BaseSpec::Kind::kUbuntu},
                                  {"tarball", BaseSpec::Kind::kTarball},
                                  {"oci", BaseSpec::Kind::kOci}}) {
    const Value given = value[key];
    if (given.is_null()) continue;
    if (!kind_key.empty()) given.fail_at_key(fmt::format("a base is either '{}' or '{}'", kind_key, key));
    kind_key = key;
    base.kind = kind;
    const std::string text = given.as_string(fmt::format("'{}'", key));
    if (kind == BaseSpec::Kind::kTarball) {
      if (text.empty()) given.fail("'tarball' is empty");
      if (is_url(text))
        given.fail("'tarball' must be a file on this machine, found " + in_quotes(text), "fetch it first, and give its 'sha256' with it");
      base.tarball = (folder / text).lexically_normal().string();
    } else if (kind == BaseSpec::Kind::kOci) {
      read_oci_base(given, text, folder, base);
    } else {
      base.suite = text;
      given.at_this_place([&] { suite_facts(base); });
    }
  }
  if (kind_key.empty()) value.fail("'base' names no base", "one of debian, ubuntu, tarball, oci");
  const bool tarball = base.kind == BaseSpec::Kind::kTarball;
  if (const Value suite = value["suite"]; !suite.is_null()) {
    if (base.is_suite()) suite.fail_at_key("'suite' goes with 'tarball' and 'oci' only", "write '" + kind_key + ": SUITE'");
    base.suite = suite.as_string("'suite'");
    suite.at_this_place([&] { suite_facts(base); });
  }
  if (const Value digest = value["sha256"]; !digest.is_null()) {
    if (!tarball)
      digest.fail_at_key("'sha256' goes with 'tarball' only", base.is_suite() ? "packages are verified by the distribution's own signatures"
                                                                              : "write 'oci: NAME@sha256:…', the digest of the manifest");
    base.sha256 = read_digest(digest, "'sha256'", 256);
  }
  if (const Value mirror = value["mirror"]; !mirror.is_null()) {
    if (!base.is_suite()) mirror.fail_at_key("'mirror' does not go with '" + kind_key + "'");
    base.mirror = mirror.as_string("'mirror'");
    // It stays in the image, as where its package manager gets more from.
    const std::size_t host = base.mirror.find("://");
    if (host != std::string::npos &&
        base.mirror.substr(host + 3, base.mirror.find('/', host + 3) - host - 3).find('@') != std::string::npos) {
      mirror.fail("a mirror's URL must hold no credentials: they would be in the image",
                  "let a proxy on this machine give them, or a mirror that wants none");
    }
    if (!is_url(base.mirror) || base.mirror.find_first_of(" \t\n") != std::string::npos) {
      mirror.fail(in_quotes(base.mirror) + " is no URL of a mirror", "https://…, http://… or file:///…");
    }
  }
  if (const Value keyring = value["keyring"]; !keyring.is_null()) {
    if (!base.is_suite()) keyring.fail_at_key("'keyring' does not go with '" + kind_key + "'");
    const std::string path = keyring.as_string("'keyring'");
    if (path.empty()) keyring.fail("'keyring' is empty", "a file of public keys, such as /usr/share/keyrings/ubuntu-archive-keyring.gpg");
    base.keyring = (folder / path).lexically_normal().string();
  }
  return base;
}

const std::vector<std::string> kArchitectures = {"amd64", "arm64"};

std::string read_architecture(const Value& value) {
  const std::string text = value.as_string("'architecture'");
  if (text == "x86_64") value.fail("'architecture' cannot be 'x86_64'", "did you mean 'amd64'?");
  if (text == "aarch64") value.fail("'architecture' cannot be 'aarch64'", "did you mean 'arm64'?");
  return value.as_word("'architecture'", kArchitectures);
}

// One word, or a list of them.
std::vector<std::string> read_architectures(const Value& value) {
  std::vector<std::string> architectures;
  for (const auto& item : value.as_scalars("'architecture'")) {
    const std::string architecture = read_architecture(item);
    if (std::find(architectures.begin(), architectures.end(), architecture) != architectures.end())
      item.fail("architecture " + in_quotes(architecture) + " is named twice", "each makes one image");
    architectures.push_back(architecture);
  }
  if (architectures.empty())
    value.fail("'architecture' is an empty list", "one or more of " + join(kArchitectures, ", ") + ", or leave it out for this machine's");
  return architectures;
}

std::vector<std::string> read_targets(const Value& value) {
  std::vector<std::string> targets;
  for (const auto& item : value.as_scalars("'targets'")) {
    const std::string target = item.as_string("a target");
    const auto& known = known_targets();
    if (std::find(known.begin(), known.end(), target) == known.end())
      item.fail("unknown target " + in_quotes(target), did_you_mean_or_list(target, known));
    if (std::find(targets.begin(), targets.end(), target) != targets.end()) item.fail("target " + in_quotes(target) + " is named twice");
    targets.push_back(target);
  }
  if (targets.empty()) value.fail("'targets' is an empty list", "one of " + join(known_targets(), ", "));
  return targets;
}

// What one ext4 of 4 KiB blocks holds with 32-bit block numbers, and more than anybody wants of a root.
constexpr std::int64_t kMaxDiskBytes = std::int64_t{16} << 40;

DiskSpec read_disk(const Value& value) {
  if (!value.is_map()) value.fail("'disk' must be a map", "write 'disk: {free: 2G}' or 'disk: {size: 8G}'");
  value.only_keys("'disk'", {"size", "free"});
  DiskSpec disk;
  const Value size = value["size"], free = value["free"];
  if (!size.is_null() && !free.is_null())
    free.fail_at_key("a disk has either 'size' or 'free'", "'size' is the whole disk's, 'free' the room beside what is in it");
  if (!size.is_null()) {
    disk.size_bytes = size.as_size_bytes("a disk's size");
    if (disk.size_bytes < DiskSpec::kUnitBytes || disk.size_bytes > kMaxDiskBytes || disk.size_bytes % DiskSpec::kUnitBytes != 0)
      size.fail("a disk's size must be whole GiB, 1G to 16T, found " + in_quotes(size.as_string("a disk's size")),
                "clouds count volumes in whole GiB");
  }
  if (!free.is_null()) {
    disk.free_bytes = free.as_size_bytes("a disk's free room");
    if (disk.free_bytes < 0 || disk.free_bytes > kMaxDiskBytes)
      free.fail("a disk's free room must be 0 to 16T, found " + in_quotes(free.as_string("a disk's free room")));
  }
  return disk;
}

Layered read_one(const Value& root, const fs::path& folder) {
  root.only_keys("the image spec", kSpecKeys);
  Layered spec;
  const auto given = [&](const char* key) -> std::optional<Value> {
    Value value = root[key];
    return value.is_null() ? std::nullopt : std::optional<Value>(std::move(value));
  };
  if (const auto value = given("name")) {
    spec.name = value->as_string("'name'");
    value->at_this_place([&] { check_image_name(*spec.name); });
  }
  if (const auto value = given("summary")) spec.summary = value->as_string("'summary'");
  if (const auto value = given("base")) spec.base = read_base(*value, folder);
  if (const auto value = given("architecture")) spec.architectures = read_architectures(*value);
  if (const auto value = given("packages")) {
    if (value->is_map()) {
      value->only_keys("'packages'", {"debian", "rpm"});
      for (const auto& [family, names] : value->as_map("'packages'"))
        for (const auto& item : names.as_scalars("'" + family + "'"))
          spec.family_packages[family].push_back(read_package_name(item, nullptr));
    } else {
      for (const auto& item : value->as_scalars("'packages'")) spec.packages.push_back(read_package_name(item, nullptr));
    }
  }
  spec.modules = read_module_choices(root["modules"]);
  if (const auto value = given("warm")) spec.warm = value->as_bool("'warm'");
  if (const auto value = given("targets")) spec.targets = read_targets(*value);
  if (const auto value = given("disk")) spec.disk = read_disk(*value);
  if (const auto value = given("ami")) spec.ami = read_ami_spec(*value);
  if (const auto value = given("epoch")) spec.epoch = value->as_int("'epoch'", kMinEpoch, kMaxEpoch);
  return spec;
}

void add_packages(std::vector<std::string>& packages, const std::vector<std::string>& more) {
  for (const auto& package : more) {
    if (std::find(packages.begin(), packages.end(), package) == packages.end()) packages.push_back(package);
  }
}

// As the file has them: a list, or lists by family, each with those for any.
Json packages_to_json(const ImageSpec& spec) {
  if (spec.family_packages.empty()) return spec.packages;
  Json families = Json::object();
  for (const char* family : {"debian", "rpm"}) {
    const auto own = spec.family_packages.find(family);
    std::vector<std::string> packages = spec.packages;
    if (own != spec.family_packages.end()) add_packages(packages, own->second);
    families[family] = packages;
  }
  return families;
}

Layered lay_over(Layered under, Layered over) {
  const auto take = [](auto& below, auto& above) {
    if (above) below = std::move(above);
  };
  under.name = std::move(over.name);
  take(under.summary, over.summary);
  take(under.architectures, over.architectures);
  take(under.base, over.base);
  take(under.warm, over.warm);
  take(under.targets, over.targets);
  take(under.disk, over.disk);
  take(under.ami, over.ami);
  take(under.epoch, over.epoch);
  add_packages(under.packages, over.packages);
  for (const auto& [family, packages] : over.family_packages) add_packages(under.family_packages[family], packages);
  under.modules = merge_module_choices(std::move(under.modules), over.modules);
  return under;
}

std::string chain_words(const std::vector<std::string>& chain, const std::string& last) {
  std::string words;
  for (const auto& file : chain) words += fs::path(file).filename().string() + " → ";
  return words + fs::path(last).filename().string();
}

// `chain`: the absolute paths of the files that led here, this one the last.
Layered read_layered(const Value& root, std::vector<std::string> chain, const Reader& read) {
  const fs::path folder = fs::path(chain.back()).parent_path();
  Layered own = read_one(root, folder);
  const Value extends = root["extends"];
  if (extends.is_null()) return own;
  const std::string named = extends.as_string("'extends'");
  if (named.empty()) extends.fail("'extends' is empty");
  const std::string file = (folder / named).lexically_normal().string();
  if (std::find(chain.begin(), chain.end(), file) != chain.end())
    extends.fail("image specs extend each other: " + chain_words(chain, file));
  if (chain.size() >= kMaxExtends)
    extends.fail(fmt::format("image specs extend each other more than {} deep: {}", kMaxExtends, chain_words(chain, file)));
  const std::string text = extends.at_this_place([&] { return read(file); });
  const std::string context = "reading '" + named + "', which " + in_quotes(fs::path(chain.back()).filename().string()) + " extends";
  chain.push_back(file);
  Layered under = with_context(context, [&] {
    const Value parent = Value::parse(file, text);
    if (parent.is_null()) parent.fail("the image spec is empty");
    return read_layered(parent, chain, read);
  });
  return lay_over(std::move(under), std::move(own));
}

}  // namespace

ImageSpec parse_image_spec(const std::string& file, const std::string& text, const Reader& read) {
  const Value root = Value::parse(file, text);
  if (root.is_null()) root.fail("the image spec is empty", "it needs at least 'name: …' and 'base: {debian: trixie}'");
  if (!root.is_map()) root.as_map("the image spec");
  root.only_keys("the image spec", kSpecKeys);
  root.required("the image spec", "name");

  const std::string whole = fs::absolute(file).lexically_normal().string();
  Layered layered = read_layered(root, {whole}, read);
  if (!layered.base) root.required("the image spec", "base");

  ImageSpec spec;
  spec.name = *layered.name;
  spec.summary = layered.summary.value_or("");
  spec.file = whole;
  spec.base = *layered.base;
  spec.architectures = layered.architectures.value_or(std::vector{host_architecture()});
  spec.architecture = spec.architectures.front();
  for (const auto& architecture : spec.architectures) {
    try {
      check_image_name(image_name_for(spec, architecture));
    } catch (const UsageError&) {
      root["name"].fail(
          fmt::format("{} is too long: the image for {} has '-{}' behind it", in_quotes(spec.name), architecture, architecture),
          "64 letters in all");
    }
  }
  spec.packages = std::move(layered.packages);
  spec.family_packages = std::move(layered.family_packages);
  spec.modules = std::move(layered.modules);
  spec.warm = layered.warm.value_or(spec.warm);
  spec.targets = layered.targets.value_or(spec.targets);
  spec.disk = layered.disk.value_or(spec.disk);
  spec.ami = std::move(layered.ami);
  spec.epoch = layered.epoch.value_or(spec.epoch);
  return spec;
}

ImageSpec parse_image_spec(const std::string& file, const std::string& text) { return parse_image_spec(file, text, read_config_file); }

ImageSpec load_image_spec(const fs::path& file) { return parse_image_spec(file.string(), read_config_file(file.string())); }

std::string image_name_for(const ImageSpec& spec, const std::string& architecture) {
  return spec.architectures.empty() || architecture == spec.architectures.front() ? spec.name : spec.name + "-" + architecture;
}

std::vector<ImageSpec> specs_by_architecture(const ImageSpec& spec) {
  if (spec.architectures.size() < 2) return {spec};
  std::vector<ImageSpec> specs;
  for (const auto& architecture : spec.architectures) {
    ImageSpec one = spec;
    one.name = image_name_for(spec, architecture);
    one.architecture = architecture;
    one.architectures = {architecture};
    if (!specs.empty()) specs.front().beside.push_back(one.name);
    specs.push_back(std::move(one));
  }
  return specs;
}

Json image_spec_to_json(const ImageSpec& spec) {
  Json base = Json::object();
  switch (spec.base.kind) {
    case BaseSpec::Kind::kDebian:
      base["debian"] = spec.base.suite;
      break;
    case BaseSpec::Kind::kUbuntu:
      base["ubuntu"] = spec.base.suite;
      break;
    case BaseSpec::Kind::kTarball:
      base["tarball"] = spec.base.tarball;
      break;
    case BaseSpec::Kind::kOci:
      base["oci"] = spec.base.oci + (spec.base.tag.empty() ? "" : ":" + spec.base.tag);
      break;
  }
  if (!spec.base.is_suite() && !spec.base.suite.empty()) base["suite"] = spec.base.suite;
  if (!spec.base.mirror.empty()) base["mirror"] = spec.base.mirror;
  if (!spec.base.keyring.empty()) base["keyring"] = spec.base.keyring;
  if (!spec.base.sha256.empty()) base["sha256"] = spec.base.sha256;
  Json modules = Json::array();
  for (const auto& module : spec.modules) {
    modules.push_back(module.params.empty() ? Json(module.name) : Json{{module.name, module.params}});
  }
  const Json disk = spec.disk.size_bytes != 0 ? Json{{"size", std::to_string(spec.disk.size_bytes)}}
                                              : Json{{"free", std::to_string(spec.disk.free_bytes)}};
  Json json = {{"name", spec.name},
               {"summary", spec.summary},
               {"base", base},
               {"architecture", spec.architecture},
               {"packages", packages_to_json(spec)},
               {"modules", modules},
               {"warm", spec.warm},
               {"targets", spec.targets},
               {"disk", disk},
               {"epoch", spec.epoch}};
  if (spec.ami) json["ami"] = ami_spec_to_json(*spec.ami);
  return json;
}

ImageSpec image_spec_from_json(const Json& json) { return parse_image_spec("the image's spec", json.dump()); }

}  // namespace kiln::config
