#include "image/ami_build.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"

namespace kiln::image {
namespace {

AmiBuild build_of(const config::AmiSpec& spec) {
  AmiBuild build;
  build.image = "spark";
  build.digest = "0123456789abcdef";
  build.build = ami_build_id("disk", spec);
  build.architecture = "x86_64";
  build.spec = spec;
  return build;
}

TEST(AmiBuild, kinds_are_every_combination_with_hvm_first) {
  config::AmiSpec spec;
  spec.virtualization = {"paravirtual", "hvm"};
  spec.boot_modes = {"legacy-bios", "uefi-preferred"};
  EXPECT_EQ(ami_kinds(spec, "x86_64"), (std::vector<AmiKind>{{"hvm", "legacy-bios"}, {"hvm", "uefi-preferred"}, {"paravirtual", ""}}));
  EXPECT_THROW(ami_kinds(spec, "arm64"), UsageError);
  spec.virtualization = {"hvm"};
  spec.boot_modes = {"uefi"};
  EXPECT_EQ(ami_kinds(spec, "arm64").size(), 1u);
  spec.boot_modes = {};
  EXPECT_EQ(ami_kinds(spec, "arm64"), (std::vector<AmiKind>{{"hvm", "uefi"}}));
  EXPECT_EQ(ami_kinds(spec, "x86_64"), (std::vector<AmiKind>{{"hvm", "uefi-preferred"}}));
  spec.virtualization = {"paravirtual"};
  EXPECT_THROW(ami_kinds(spec, "arm64"), UsageError);
}

TEST(AmiBuild, of_several_architectures_each_has_the_kinds_that_it_knows) {
  config::AmiSpec spec;
  spec.boot_modes = {"uefi-preferred", "legacy-bios"};
  spec.virtualization = {"hvm", "paravirtual"};
  const auto kinds = [&](const char* architecture) {
    return ami_kinds(ami_spec_for_one_of_several(spec, architecture), ec2_architecture(architecture));
  };
  EXPECT_EQ(kinds("amd64"), (std::vector<AmiKind>{{"hvm", "uefi-preferred"}, {"hvm", "legacy-bios"}, {"paravirtual", ""}}));
  EXPECT_EQ(kinds("arm64"), (std::vector<AmiKind>{{"hvm", "uefi"}}));
  spec.virtualization = {"paravirtual"};
  EXPECT_THROW(kinds("arm64"), UsageError);
}

TEST(AmiBuild, names_are_what_ec2_takes) {
  AmiBuild build = build_of({});
  build.image = std::string(64, 'x');  // the longest that an image may have
  for (const AmiKind& kind : {AmiKind{"hvm", "uefi-preferred"}, AmiKind{"paravirtual", ""}}) {
    const std::string name = ami_name(build, kind);
    EXPECT_LE(name.size(), 128u) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789/-_."), std::string::npos) << name;
  }
}

TEST(AmiBuild, another_encryption_is_another_build_and_a_tag_is_not) {
  config::AmiSpec plain, tagged, encrypted;
  tagged.tags["team"] = "data";
  encrypted.encrypted = true;
  EXPECT_EQ(ami_build_id("disk", plain), ami_build_id("disk", tagged));
  EXPECT_NE(ami_build_id("disk", plain), ami_build_id("disk", encrypted));
  EXPECT_NE(ami_build_id("disk", plain), ami_build_id("other", plain));
}

TEST(AmiBuild, each_region_has_its_key) {
  const std::string one = "arn:aws:kms:us-east-1:123456789012:key/1", many = "arn:aws:kms:us-east-1:123456789012:key/mrk-2";
  config::AmiSpec spec;
  EXPECT_EQ(encryption_in(spec, "us-east-1"), "no");
  spec.encrypted = true;
  EXPECT_EQ(encryption_in(spec, "us-east-1"), "default");
  spec.kms_key = one;
  EXPECT_EQ(encryption_in(spec, "us-east-1"), one);
  EXPECT_THROW(encryption_in(spec, "eu-west-1"), UsageError);
  spec.kms_key = many;
  EXPECT_EQ(encryption_in(spec, "eu-west-1"), "arn:aws:kms:eu-west-1:123456789012:key/mrk-2");
  spec.kms_keys["eu-west-1"] = "arn:aws:kms:eu-west-1:123456789012:key/3";
  EXPECT_EQ(encryption_in(spec, "eu-west-1"), "arn:aws:kms:eu-west-1:123456789012:key/3");
}

TEST(AmiBuild, the_users_name_tag_goes_before_ours) {
  config::AmiSpec spec;
  spec.tags = {{"Name", "mine"}, {"team", "data"}};
  const Tags tags = ami_tags(build_of(spec), {"hvm", "uefi"});
  EXPECT_EQ(tags.front(), (std::pair<std::string, std::string>("Name", "mine")));
  EXPECT_EQ(std::count_if(tags.begin(), tags.end(), [](const auto& tag) { return tag.first == "Name"; }), 1);
  EXPECT_NE(std::find(tags.begin(), tags.end(), std::pair<std::string, std::string>("team", "data")), tags.end());
}

}  // namespace
}  // namespace kiln::image
