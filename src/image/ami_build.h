// What one bake's AMIs have in common, and how they are found again: by tags, which are the only truth about what exists.
//
//   kiln:image NAME          kiln:digest DIGEST (the image's)     kiln:build BUILD     kiln:architecture x86_64     Name NAME
//   on AMIs:       kiln:virtualization hvm     kiln:boot-mode uefi-preferred (not of paravirtual ones)
//   on snapshots:  kiln:encryption no | default | the key's ARN
//
// BUILD is 16 hex digits of what is uploaded: the disk's key (disk.h) and the encryption. AMIs with the same BUILD are the same, in
// every region. An AMI's name holds all that tells it from its like, so EC2 itself refuses a second one:
//   kiln/NAME/x86_64/hvm/uefi-preferred/BUILD
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "config/ami_spec.h"

namespace kiln::image {

using Tags = std::vector<std::pair<std::string, std::string>>;

inline constexpr const char* kImageTag = "kiln:image";
inline constexpr const char* kDigestTag = "kiln:digest";
inline constexpr const char* kBuildTag = "kiln:build";
inline constexpr const char* kArchitectureTag = "kiln:architecture";
inline constexpr const char* kVirtualizationTag = "kiln:virtualization";
inline constexpr const char* kBootModeTag = "kiln:boot-mode";
inline constexpr const char* kEncryptionTag = "kiln:encryption";

// One of the combinations in which an image is registered.
struct AmiKind {
  std::string virtualization;  // "hvm", "paravirtual"
  std::string boot_mode;       // empty for paravirtual: its kernel is EC2's
  bool operator==(const AmiKind&) const = default;
};

struct AmiBuild {
  std::string image;         // its name
  std::string like;          // another's, of which it has most blocks; empty: none
  std::string digest;        // the image's
  std::string build;         // as above
  std::string architecture;  // "x86_64", "arm64"
  config::AmiSpec spec;
  std::vector<AmiKind> kinds;  // the first is the one that is copied to other regions
  std::filesystem::path disk;
  std::int64_t size_gib = 0;
  std::filesystem::path folder;  // HOME/aws
  // Chance, kept until the build is done everywhere: calls that make something have the same ClientToken when a killed run is repeated,
  // and another one in a later build of the same image, which must not be given what was removed meanwhile.
  std::string nonce;

  std::filesystem::path build_folder() const { return folder / "builds" / build; }
};

// Every combination that the spec asks for, hvm first. UsageError for one that the architecture does not have.
std::vector<AmiKind> ami_kinds(const config::AmiSpec& spec, const std::string& architecture);
// What of the spec goes for one of several architectures: of boot modes and virtualizations those that it has, so that the spec can name
// the others' beside them.
config::AmiSpec ami_spec_for_one_of_several(config::AmiSpec spec, const std::string& architecture);
// "x86_64" for amd64.
std::string ec2_architecture(const std::string& architecture);
std::string ami_build_id(const std::string& disk_key, const config::AmiSpec& spec);
std::string ami_name(const AmiBuild& build, const AmiKind& kind);
// "hvm, uefi-preferred"
std::string kind_words(const AmiKind& kind);
// What a bake would make, for people: "hvm, uefi-preferred; paravirtual in us-east-1, eu-west-1". Asks nobody.
std::string ami_plan(const config::AmiSpec& spec, const std::string& architecture);
// What tells both AMIs and snapshots apart from others', and the user's own.
Tags common_tags(const AmiBuild& build);
Tags ami_tags(const AmiBuild& build, const AmiKind& kind);
Tags snapshot_tags(const AmiBuild& build, const std::string& region);

// The key that a snapshot in `region` is encrypted by: "no", "default" (the account's own) or an ARN. A key of the spec that is one of
// a multi-region key's is taken to be in every region (AWS KMS: "mrk-" ids are the same everywhere).
// UsageError where the spec's key is another region's.
std::string encryption_in(const config::AmiSpec& spec, const std::string& region);

}  // namespace kiln::image
