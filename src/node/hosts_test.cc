#include "node/hosts.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "node/master.h"
#include "node/users.h"

namespace kiln::node {
namespace {

const std::vector<config::NodeEntry> kNodes = {
    {"worker-1", "worker", "10.0.0.3"}, {"master-1", "master", "10.0.0.2"}, {"master-2", "master", "10.0.0.9"}, {"worker-2", "worker", ""}};

TEST(Hosts, WritesABlockAndKeepsTheRest) {
  const std::string text = hosts_with_block("127.0.0.1 localhost\n# mine\n192.168.1.1\tnas # disk\n", kNodes);
  EXPECT_EQ(
      "127.0.0.1 localhost\n# mine\n192.168.1.1\tnas # disk\n# kiln: the cluster's nodes (rewritten by kiln-node)\n"
      "10.0.0.3 worker-1\n10.0.0.2 master-1 master\n10.0.0.9 master-2\n# kiln: end\n",
      text);
  // Again, with other nodes: the block is replaced, not added.
  EXPECT_EQ(text, hosts_with_block(hosts_with_block(text, {{"x", "worker", "10.0.0.7"}}), kNodes));
}

TEST(Hosts, DropsLinesThatGiveOurNamesToOthers) {
  const std::string text = hosts_with_block("127.0.1.1 master-1\n127.0.0.1 localhost\n", kNodes);
  EXPECT_EQ(std::string::npos, text.find("127.0.1.1"));
}

TEST(Hosts, AddsLocalhostToAnEmptyFile) { EXPECT_TRUE(hosts_with_block("", kNodes).starts_with("127.0.0.1 localhost\n")); }

TEST(Hosts, FindsAddresses) {
  EXPECT_EQ("10.0.0.2", address_of("master", kNodes));
  EXPECT_EQ("10.0.0.3", address_of("worker-1", kNodes));
  EXPECT_EQ("127.0.0.1", address_of("localhost", kNodes));
  EXPECT_EQ("1.2.3.4", address_of("1.2.3.4", kNodes));
  EXPECT_FALSE(address_of("worker-2", kNodes));
  EXPECT_FALSE(address_of("example.org", kNodes));
}

TEST(Hosts, RefusesNamesThatWouldBreakTheFile) {
  EXPECT_EQ(kNodes.size() - 1, roster_from_json(roster_to_json({kNodes.begin(), kNodes.end() - 1})).size());
  for (const auto* name : {"a b", "a\n1.2.3.4 bank", "", "x#"})
    EXPECT_THROW(roster_from_json(Json::array({{{"name", name}, {"role", "worker"}, {"address", "10.0.0.1"}}})), Error);
  EXPECT_THROW(roster_from_json(Json::array({1})), Error);
  EXPECT_THROW(roster_from_json(Json{{"a", 1}}), Error);
}

TEST(Users, ReadsPasswdAndGroup) {
  const std::string passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nspark:x:999:998::/opt/spark:\nodd:x:abc:1::/:\n";
  const std::string group = "spark:x:998:\ndisk:x:6:root,spark\nhadoop:x:77:spark\nwheel:x:10:sparky\n";
  const auto user = find_user(passwd, group, "spark");
  ASSERT_TRUE(user);
  EXPECT_EQ(999u, user->uid);
  EXPECT_EQ((std::vector<gid_t>{998, 6, 77}), user->groups);
  EXPECT_EQ("/opt/spark", user->home);
  EXPECT_EQ("/bin/sh", user->shell);
  EXPECT_EQ("spark", find_user(passwd, group, "999")->name);
  EXPECT_FALSE(find_user(passwd, group, "odd"));
  EXPECT_FALSE(find_user(passwd, group, "nobody"));
}

}  // namespace
}  // namespace kiln::node
