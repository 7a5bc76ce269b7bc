#include "image/ami_list.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/files.h"

namespace kiln::image {
namespace {

Ami ami(const std::string& region, const std::string& id, const AmiKind& kind, const std::string& architecture = "x86_64") {
  Ami made;
  made.region = region;
  made.id = id;
  made.image = "spark";
  made.digest = "d";
  made.architecture = architecture;
  made.kind = kind;
  return made;
}

const AmiKind kUefi{"hvm", "uefi-preferred"}, kBios{"hvm", "legacy-bios"}, kPv{"paravirtual", ""}, kArm{"hvm", "uefi"};

class AmiList : public testing::Test {
 protected:
  void SetUp() override { ::setenv("KILN_HOME", (folder_.path() / "home").c_str(), 1); }
  void TearDown() override { ::unsetenv("KILN_HOME"); }
  std::string text(const std::string& name) const { return read_file_if_there(list_ / name).value_or("none"); }
  TemporaryFolder folder_;
  const fs::path list_ = folder_.path() / "ami-list";
};

TEST_F(AmiList, old_launchers_find_the_first_boot_mode_and_pvm) {
  update_ami_list(list_, {kBios, kUefi, kPv},
                  {ami("us-east-1", "ami-1", kUefi), ami("us-east-1", "ami-2", kBios), ami("us-east-1", "ami-3", kPv)});
  EXPECT_EQ(text("us-east-1/hvm"), "ami-2\n");
  EXPECT_EQ(text("us-east-1/pvm"), "ami-3\n");
  EXPECT_EQ(Json::parse(text("index.json")).size(), 3u);
}

TEST_F(AmiList, a_region_that_is_not_updated_keeps_its_lines) {
  update_ami_list(list_, {kUefi}, {ami("us-east-1", "ami-1", kUefi), ami("eu-west-1", "ami-2", kUefi)});
  update_ami_list(list_, {kUefi}, {ami("us-east-1", "ami-3", kUefi)});
  EXPECT_EQ(text("us-east-1/hvm"), "ami-3\n");
  EXPECT_EQ(text("eu-west-1/hvm"), "ami-2\n");
  const Json index = Json::parse(text("index.json"));
  ASSERT_EQ(index.size(), 2u);
  EXPECT_EQ(index[0]["id"], "ami-2");  // sorted by region
  EXPECT_EQ(index[1]["id"], "ami-3");
}

TEST_F(AmiList, an_amd64_line_is_never_replaced_by_an_arm64_one) {
  const auto both = [&](bool arm_first) {
    const auto arm = [&] { update_ami_list(list_, {kArm}, {ami("us-east-1", "ami-2", kArm, "arm64")}, true); };
    if (arm_first) arm();
    update_ami_list(list_, {kUefi}, {ami("us-east-1", "ami-1", kUefi)});
    if (!arm_first) arm();
    EXPECT_EQ(text("us-east-1/hvm"), "ami-1\n");
    EXPECT_EQ(text("us-east-1/hvm-arm64"), "ami-2\n");
    EXPECT_EQ(Json::parse(text("index.json")).size(), 2u);
  };
  both(false);
  fs::remove_all(list_);
  both(true);
  // Not in a region that lacks that of amd64 either: nobody who reads the old file expects it.
  update_ami_list(list_, {kArm}, {ami("eu-west-1", "ami-3", kArm, "arm64")});
  EXPECT_EQ(text("eu-west-1/hvm"), "none");
  EXPECT_EQ(text("eu-west-1/hvm-arm64"), "ami-3\n");
  remove_from_ami_list(list_, {"ami-2", "ami-3"});
  EXPECT_EQ(text("us-east-1/hvm"), "ami-1\n");
  EXPECT_FALSE(fs::exists(list_ / "us-east-1/hvm-arm64"));
  EXPECT_FALSE(fs::exists(list_ / "eu-west-1"));
}

TEST_F(AmiList, where_amd64_is_being_made_its_line_is_left_free) {
  update_ami_list(list_, {kArm}, {ami("us-east-1", "ami-1", kArm, "arm64")}, true);
  EXPECT_EQ(text("us-east-1/hvm"), "none");
  EXPECT_EQ(text("us-east-1/hvm-arm64"), "ami-1\n");
}

TEST_F(AmiList, of_arm64_alone_is_in_the_old_file_too) {
  update_ami_list(list_, {kArm}, {ami("us-east-1", "ami-1", kArm, "arm64")});
  EXPECT_EQ(text("us-east-1/hvm"), "ami-1\n");
  EXPECT_EQ(text("us-east-1/hvm-arm64"), "ami-1\n");
  // Until amd64 comes.
  update_ami_list(list_, {kUefi}, {ami("us-east-1", "ami-2", kUefi)});
  EXPECT_EQ(text("us-east-1/hvm"), "ami-2\n");
  EXPECT_EQ(text("us-east-1/hvm-arm64"), "ami-1\n");
}

TEST_F(AmiList, what_is_removed_goes_from_files_and_index) {
  update_ami_list(list_, {kUefi, kPv},
                  {ami("us-east-1", "ami-1", kUefi), ami("us-east-1", "ami-2", kPv), ami("eu-west-1", "ami-3", kUefi)});
  remove_from_ami_list(list_, {"ami-1", "ami-3", "ami-9"});
  EXPECT_FALSE(fs::exists(list_ / "us-east-1/hvm"));
  EXPECT_FALSE(fs::exists(list_ / "eu-west-1"));
  EXPECT_EQ(text("us-east-1/pvm"), "ami-2\n");
  EXPECT_EQ(Json::parse(text("index.json")).size(), 1u);
}

TEST_F(AmiList, another_images_list_is_refused) {
  update_ami_list(list_, {kUefi}, {ami("us-east-1", "ami-1", kUefi)});
  EXPECT_NO_THROW(check_ami_list(list_, "spark"));
  EXPECT_THROW(check_ami_list(list_, "base"), UsageError);
  write_file_atomically(list_ / "index.json", "{");
  EXPECT_THROW(check_ami_list(list_, "spark"), Error);
}

}  // namespace
}  // namespace kiln::image
