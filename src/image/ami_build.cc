#include "image/ami_build.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::image {

std::string ec2_architecture(const std::string& architecture) { return architecture == "amd64" ? "x86_64" : architecture; }

std::vector<AmiKind> ami_kinds(const config::AmiSpec& spec, const std::string& architecture) {
  std::vector<AmiKind> kinds;
  const auto wants = [&](const char* word) {
    return std::find(spec.virtualization.begin(), spec.virtualization.end(), word) != spec.virtualization.end();
  };
  if (wants("hvm")) {
    auto modes = spec.boot_modes;
    if (modes.empty()) modes.emplace_back(architecture == "arm64" ? "uefi" : "uefi-preferred");
    for (const auto& mode : modes) {
      // Machines of that architecture know no BIOS (EC2 User Guide, "Boot modes").
      if (architecture == "arm64" && mode != "uefi") {
        UsageError error(fmt::format("an AMI for arm64 cannot have the boot mode '{}'", mode));
        error.set_hint("write 'boot_modes: [uefi]', or leave it out");
        throw error;
      }
      kinds.push_back({"hvm", mode});
    }
  }
  if (wants("paravirtual")) {
    if (architecture != "x86_64") {
      UsageError error(fmt::format("an AMI for {} cannot be paravirtual", architecture));
      error.set_hint("write 'virtualization: [hvm]', or leave it out");
      throw error;
    }
    kinds.push_back({"paravirtual", ""});
  }
  return kinds;
}

config::AmiSpec ami_spec_for_one_of_several(config::AmiSpec spec, const std::string& architecture) {
  if (architecture != "arm64") return spec;
  spec.boot_modes.clear();  // it has one, the default
  // What then has nothing left is refused by ami_kinds().
  if (spec.virtualization.size() > 1) std::erase(spec.virtualization, "paravirtual");
  return spec;
}

std::string ami_build_id(const std::string& disk_key, const config::AmiSpec& spec) {
  // Counts how kiln makes AMIs: another number, and all are made anew.
  constexpr int kAmiFormat = 1;
  const Json what = {
      {"format", kAmiFormat}, {"disk", disk_key}, {"encrypted", spec.encrypted}, {"key", spec.kms_key}, {"keys", spec.kms_keys}};
  return sha256_hex(what.dump()).substr(0, 16);
}

std::string kind_words(const AmiKind& kind) { return kind.virtualization + (kind.boot_mode.empty() ? "" : ", " + kind.boot_mode); }

std::string ami_name(const AmiBuild& build, const AmiKind& kind) {
  std::vector<std::string> parts = {"kiln", build.image, build.architecture, kind.virtualization};
  if (!kind.boot_mode.empty()) parts.push_back(kind.boot_mode);
  parts.push_back(build.build);
  return join(parts, "/");
}

std::string ami_plan(const config::AmiSpec& spec, const std::string& architecture) {
  std::vector<std::string> kinds;
  for (const auto& kind : ami_kinds(spec, ec2_architecture(architecture))) kinds.push_back(kind_words(kind));
  const std::string where = spec.all_regions       ? "every region that the account has enabled"
                            : spec.regions.empty() ? "the profile's region"
                                                   : join(spec.regions, ", ");
  return join(kinds, "; ") + " in " + where;
}

Tags common_tags(const AmiBuild& build) {
  Tags tags = {{"Name", build.image},
               {kImageTag, build.image},
               {kDigestTag, build.digest},
               {kBuildTag, build.build},
               {kArchitectureTag, build.architecture}};
  for (const auto& [key, value] : build.spec.tags) {
    if (key == "Name") {
      tags.front().second = value;
    } else {
      tags.emplace_back(key, value);
    }
  }
  return tags;
}

Tags ami_tags(const AmiBuild& build, const AmiKind& kind) {
  Tags tags = common_tags(build);
  tags.emplace_back(kVirtualizationTag, kind.virtualization);
  if (!kind.boot_mode.empty()) tags.emplace_back(kBootModeTag, kind.boot_mode);
  return tags;
}

Tags snapshot_tags(const AmiBuild& build, const std::string& region) {
  Tags tags = common_tags(build);
  tags.emplace_back(kEncryptionTag, encryption_in(build.spec, region));
  return tags;
}

std::string encryption_in(const config::AmiSpec& spec, const std::string& region) {
  if (!spec.encrypted) return "no";
  const auto own = spec.kms_keys.find(region);
  const std::string key = own != spec.kms_keys.end() ? own->second : spec.kms_key;
  if (key.empty()) return "default";
  auto parts = split(key, ':');
  constexpr std::size_t kRegion = 3, kKey = 5;
  if (parts.at(kRegion) == region) return key;
  if (parts.at(kKey).starts_with("key/mrk-") && own == spec.kms_keys.end()) {
    parts[kRegion] = region;
    return join(parts, ":");
  }
  UsageError error(fmt::format("the KMS key '{}' is in {}, and the image goes to {} too", key, parts.at(kRegion), region));
  error.set_hint("write 'kms_key: {REGION: ARN, …}' with a key of each region, or 'encrypted: true' for the accounts' own");
  throw error;
}

}  // namespace kiln::image
