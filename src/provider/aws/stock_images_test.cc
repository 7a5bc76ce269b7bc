#include "provider/aws/stock_images.h"

#include <gtest/gtest.h>

namespace kiln::provider::on_aws {

namespace {

std::optional<StockImage> read(const char* name, const char* architecture, const config::AwsSpec& wish = {}) {
  return read_stock_image({{"name", name}, {"architecture", architecture}}, wish);
}

}  // namespace

// Names as their makers publish them.
TEST(StockImages, AreKnownByTheirNames) {
  const auto debian = read("debian-12-arm64-20250316-2053", "arm64");
  ASSERT_TRUE(debian);
  EXPECT_EQ(debian->base.suite, "bookworm");
  EXPECT_EQ(debian->architecture, "arm64");
  EXPECT_EQ(debian->user, "admin");
  EXPECT_EQ(debian->package_family, "debian");
  EXPECT_EQ(debian->modules_of, "spark");
  const auto ubuntu = read("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250516", "x86_64");
  ASSERT_TRUE(ubuntu);
  EXPECT_EQ(ubuntu->base.suite, "noble");
  EXPECT_EQ(ubuntu->architecture, "amd64");
  EXPECT_EQ(ubuntu->user, "ubuntu");
  const auto amazon = read("al2023-ami-2023.7.20250609.0-kernel-6.1-x86_64", "x86_64");
  ASSERT_TRUE(amazon);
  EXPECT_EQ(amazon->os_id, "amzn");
  EXPECT_EQ(amazon->package_family, "rpm");
  EXPECT_FALSE(read("amzn2-ami-hvm-2.0.20250603.0-x86_64-gp2", "x86_64"));
  EXPECT_FALSE(read("my-own", "x86_64"));
}

TEST(StockImages, UserAndModulesAreTheUsersToSay) {
  config::AwsSpec wish;
  wish.user = "jane";
  wish.install = "datascience";
  const auto image = read("debian-13-amd64-20250814-2204", "x86_64", wish);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->user, "jane");
  EXPECT_EQ(image->modules_of, "datascience");
}

}  // namespace kiln::provider::on_aws
