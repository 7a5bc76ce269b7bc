#include "container/host_check.h"

#include <gtest/gtest.h>

#include "container/runc.h"
#include "container/userns.h"

namespace kiln::container {
namespace {

TEST(HostCheck, ForbiddenNamespacesAreNamedWithTheSettingThatForbids) {
  EXPECT_TRUE(check_user_namespaces({{}, 96365, {}}).ok);
  EXPECT_TRUE(check_user_namespaces({1, 96365, 0}).ok);
  const Check debian = check_user_namespaces({0, 96365, {}});
  EXPECT_FALSE(debian.ok);
  EXPECT_EQ(debian.found, "kernel.unprivileged_userns_clone is 0");
  EXPECT_NE(debian.mend.find("sysctl kernel.unprivileged_userns_clone=1"), std::string::npos);
  EXPECT_EQ(check_user_namespaces({{}, 0, {}}).found, "user.max_user_namespaces is 0");
  const Check ubuntu = check_user_namespaces({{}, 96365, 1});
  EXPECT_NE(ubuntu.mend.find("kernel.apparmor_restrict_unprivileged_userns=0"), std::string::npos);
  EXPECT_FALSE(check_user_namespaces({}).ok);
}

TEST(HostCheck, TooFewSubordinateIds) {
  EXPECT_TRUE(check_subordinate_ids("ann", 65536, 65536).ok);
  const Check check = check_subordinate_ids("ann", 65536, 1000);
  EXPECT_FALSE(check.ok);
  EXPECT_EQ(check.found, "65536 user and 1000 group ids for ann, 65536 are needed");
  EXPECT_NE(check.mend.find("usermod"), std::string::npos);
}

TEST(HostCheck, KernelMustHaveOverlaysForUsers) {
  EXPECT_TRUE(check_kernel("6.1.0-18-amd64", "nodev\tsysfs\nnodev\toverlay\n").ok);
  EXPECT_TRUE(check_kernel("5.11.0", "nodev\toverlay\n").ok);
  EXPECT_FALSE(check_kernel("5.10.0-28-amd64", "nodev\toverlay\n").ok);
  EXPECT_NE(check_kernel("6.1.0", "nodev\tsysfs\n").mend.find("modprobe overlay"), std::string::npos);
}

TEST(HostCheck, ThisMachineHasWhatItsTestsNeed) {
  for (const auto& check : check_host()) {
    EXPECT_TRUE(check.ok || !check.required) << check.name << ": " << check.found;
    EXPECT_EQ(check.ok, check.mend.empty()) << check.name;
    EXPECT_FALSE(check.found.empty()) << check.name;
  }
}

TEST(SubordinateIds, AreFoundByNameAndByNumber) {
  const auto ranges = parse_subordinate_ids("# none\nbob:1:2\nann:100000:65536\n1000:300000:10\nann:x:9\nann:1:\n", "ann", 1000);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].first, 100000u);
  EXPECT_EQ(count_of(ranges), 65546u);
  EXPECT_TRUE(parse_subordinate_ids("", "ann", 1000).empty());
}

TEST(RuncConfig, HasNoLimitsThatThisUserCannotSet) {
  ContainerSpec spec;
  spec.id = "x";
  spec.root = "/r";
  spec.argv = {"a"};
  spec.cgroup = "/kiln/demo/x";
  spec.cpus = 1.5;
  spec.memory_bytes = 1 << 30;
  const Json config = runc_config(spec);
  EXPECT_FALSE(config["process"].contains("rlimits"));
  EXPECT_EQ(config["linux"].contains("cgroupsPath"), !is_rootless());
  if (!is_rootless()) {
    EXPECT_EQ(config["linux"]["resources"]["cpu"]["quota"], 150000);
    EXPECT_EQ(config["linux"]["resources"]["memory"]["limit"], 1 << 30);
  }
}

}  // namespace
}  // namespace kiln::container
