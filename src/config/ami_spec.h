// What the target `ami` makes of an image, as the spec's key `ami` says it. Everything may be left out.
//
//   ami:
//     regions: all                          # what the account has enabled, or [us-east-1, eu-central-1]; default: the profile's region
//     profiles: [default, china]            # whose credentials; one for each partition that the regions are in
//     virtualization: [hvm]                 # and paravirtual, with the region's pv-grub kernel
//     boot_modes: [uefi-preferred]          # of hvm: also uefi (for arm64 the only one, and the default), legacy-bios; the first is what
//                                           # ami-list/ names
//     encrypted: true                       # by the account's own key, or
//     kms_key: arn:aws:kms:us-east-1:…      # by this one; {us-east-1: arn:…, eu-central-1: arn:…} where regions have their own
//     launch_permissions: {accounts: ['123456789012'], public: false}
//     tags: {team: data}                    # beside kiln's own
//     deprecate_after: 90d                  # counted from when the AMI was made
//     fast_snapshot_restore: [us-east-1a]   # zones, each where the image goes to its region
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "config/yaml.h"

namespace kiln::config {

struct AmiSpec {
  bool all_regions = false;
  std::vector<std::string> regions;  // empty, without all_regions: that of the profile
  std::vector<std::string> profiles;
  std::vector<std::string> virtualization = {"hvm"};  // hvm, paravirtual
  std::vector<std::string> boot_modes;                // empty: what the architecture's machines can all do
  bool encrypted = false;
  std::string kms_key;                          // for all regions: a key's ARN; empty: the account's own
  std::map<std::string, std::string> kms_keys;  // by region
  std::vector<std::string> accounts;            // that may launch it
  bool is_public = false;
  std::map<std::string, std::string> tags;
  std::chrono::seconds deprecate_after{0};  // 0: never
  std::vector<std::string> fast_restore_zones;
};

AmiSpec read_ami_spec(const Value& value);
// The same members as the file has.
Json ami_spec_to_json(const AmiSpec& spec);
// "all" or names; UsageError, naming `what`, for a word that is no region.
void set_regions(AmiSpec& spec, const std::vector<std::string>& words, const std::string& what);

}  // namespace kiln::config
