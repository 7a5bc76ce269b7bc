// What control groups of both versions and an engine's hosts file say.
#include "node/container.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/files.h"

namespace kiln::node {
namespace {

class Groups : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    make_folder((folder_.path() / name).parent_path());
    std::ofstream(folder_.path() / name) << text << "\n";
  }
  ContainerLimits limits() { return container_limits(folder_.path()); }
  TemporaryFolder folder_;
  // Of processors, as this machine has them: a limit above is none.
  double machine_ = container_limits("/no/such/folder").cpus;
};

TEST_F(Groups, OfVersion2) {
  write("memory.max", "1073741824");
  write("cpu.max", "50000 100000");
  EXPECT_EQ(limits().memory_bytes, 1 << 30);
  EXPECT_DOUBLE_EQ(limits().cpus, 0.5);
}

TEST_F(Groups, OfVersion1) {
  write("memory/memory.limit_in_bytes", "1073741824");
  write("cpu/cpu.cfs_quota_us", "25000");
  write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(limits().memory_bytes, 1 << 30);
  EXPECT_DOUBLE_EQ(limits().cpus, 0.25);
}

TEST_F(Groups, WithoutLimitsTheMachineIsThere) {
  write("memory.max", "max");
  write("cpu.max", "max 100000");
  EXPECT_EQ(limits().memory_bytes, 0);
  EXPECT_DOUBLE_EQ(limits().cpus, machine_);
  write("memory/memory.limit_in_bytes", "9223372036854771712");
  write("cpu.max", "100000000 100000");
  EXPECT_EQ(limits().memory_bytes, 0);
  EXPECT_DOUBLE_EQ(limits().cpus, machine_);
  EXPECT_GE(machine_, 1);
}

TEST(OwnAddress, IsTheEnginesLine) {
  const std::string hosts = "127.0.0.1 localhost\n127.0.1.1 c0ffee\n# 10.0.0.9 c0ffee\nfd00::2 c0ffee\n172.17.0.2\tother c0ffee\n";
  EXPECT_EQ(address_in_hosts(hosts, "c0ffee"), "172.17.0.2");
  EXPECT_EQ(address_in_hosts(hosts, "c0ffe"), "");
  EXPECT_EQ(address_in_hosts("broken\n\n127.0.1.1 a\n", "a"), "");
  EXPECT_EQ(own_address(hosts, "c0ffee"), "172.17.0.2");
  EXPECT_NE(own_address("", "c0ffee"), "");
}

}  // namespace
}  // namespace kiln::node
