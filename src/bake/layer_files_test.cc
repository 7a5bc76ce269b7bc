// What is done to a layer's files: leftovers, times, lists, conflicts, accounts.
#include "bake/layer_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bake/accounts.h"
#include "base/error.h"
#include "base/files.h"

namespace kiln::bake {
namespace {

class LayerFilesTest : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text = "x") {
    make_folder((files_ / path).parent_path());
    write_file_atomically(files_ / path, text);
  }
  bool there(const std::string& path) const { return fs::exists(fs::symlink_status(files_ / path)); }
  std::int64_t time_of(const std::string& path) const {
    struct stat status {};
    ::lstat((files_ / path).c_str(), &status);
    return status.st_mtim.tv_sec;
  }
  TemporaryFolder folder_;
  fs::path files_ = folder_.path();
};

TEST_F(LayerFilesTest, NothingOfTheBakeStays) {
  for (const char* path :
       {"run/x", "tmp/x", "var/tmp/x", "root/.cache/pip/x", "etc/passwd-", "etc/resolv.conf", "var/log/dpkg.log", "var/lib/apt/lists/l",
        "var/cache/apt/archives/a.deb", "etc/ssh/ssh_host_rsa_key", "opt/kept", "etc/passwd", "etc/ssh/sshd_config"}) {
    write(path);
  }
  write("var/log/empty.log", "");
  remove_leftovers(files_, Leftovers::kPackages);
  for (const char* path : {"run", "tmp", "var/tmp", "root/.cache", "etc/passwd-", "etc/resolv.conf", "var/log/dpkg.log",
                           "var/lib/apt/lists/l", "var/cache/apt/archives/a.deb", "etc/ssh/ssh_host_rsa_key"}) {
    EXPECT_FALSE(there(path)) << path;
  }
  for (const char* path : {"opt/kept", "etc/passwd", "etc/ssh/sshd_config", "var/log/empty.log", "var/lib/apt/lists"})
    EXPECT_TRUE(there(path)) << path;
}

TEST_F(LayerFilesTest, LeftoversAreNotLookedForThroughLinks) {
  const TemporaryFolder outside;
  write_file_atomically(outside.path() / "tmp", "precious");
  make_folder(files_);
  fs::create_symlink(outside.path(), files_ / "var");
  remove_leftovers(files_, Leftovers::kModule);
  EXPECT_TRUE(fs::exists(outside.path() / "tmp"));
}

TEST_F(LayerFilesTest, TimesAreClampedAndOldOnesKept) {
  write("new");
  write("old");
  fs::create_symlink("nowhere", files_ / "link");
  const timespec past[2] = {{1000, 0}, {1000, 0}};
  ::utimensat(AT_FDCWD, (files_ / "old").c_str(), past, 0);
  clamp_times(files_, 5000);
  EXPECT_EQ(time_of("new"), 5000);
  EXPECT_EQ(time_of("link"), 5000);
  EXPECT_EQ(time_of(""), 5000);
  EXPECT_EQ(time_of("old"), 1000);
}

TEST_F(LayerFilesTest, ListComesBackAsItWasWritten) {
  write("a b", "12345");
  write("new\nline\\n");
  fs::create_hard_link(files_ / "a b", files_ / "hard");
  fs::create_symlink("x", files_ / "link");
  const auto list = list_files(files_);
  const auto again = read_list(write_list(list));
  ASSERT_EQ(again.size(), 4u);
  std::int64_t size_bytes = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    EXPECT_EQ(again[i].path, list[i].path);
    EXPECT_EQ(again[i].type, list[i].type);
    size_bytes += again[i].size_bytes;
  }
  EXPECT_EQ(size_bytes, 6) << "a file with two names counts once";
  EXPECT_THROW(read_list("rubbish\n"), Error);
}

TEST(Conflicts, OnlyBetweenModulesThatDoNotKnowEachOther) {
  const auto files = [](std::vector<std::pair<char, std::string>> entries) {
    std::vector<ListedFile> list;
    for (const auto& [type, path] : entries) list.push_back({type, 0, path});
    return list;
  };
  const auto found = possible_conflicts({
      {"java", {}, "", files({{'d', "opt"}, {'f', "opt/a"}, {'f', "etc/passwd"}})},
      {"spark", {"java"}, "", files({{'d', "opt"}, {'f', "opt/a"}, {'f', "opt/b"}, {'f', "etc/passwd"}})},
      {"hadoop", {"java"}, "", files({{'d', "opt"}, {'d', "opt/b"}, {'f', "etc/passwd"}})},
      {"other", {}, "", files({{'w', "opt/a"}})},
  });
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].first + " " + found[0].second + " " + found[0].path, "spark hadoop opt/b");
  EXPECT_EQ(found[1].first + " " + found[1].second + " " + found[1].path, "java other opt/a");
  EXPECT_EQ(found[2].first + " " + found[2].second, "spark other");
}

TEST_F(LayerFilesTest, SameFileIsNoConflict) {
  write("a/x", "text");
  write("b/x", "text");
  EXPECT_TRUE(same_file(files_ / "a/x", files_ / "b/x"));
  fs::permissions(files_ / "b/x", fs::perms::owner_exec, fs::perm_options::add);
  EXPECT_FALSE(same_file(files_ / "a/x", files_ / "b/x"));
  write("b/x", "test");
  EXPECT_FALSE(same_file(files_ / "a/x", files_ / "b/x"));
}

TEST(Accounts, EveryModulesUsersAreInTheMergedFile) {
  EXPECT_EQ(merge_accounts("etc/passwd", {{"", "root:x:0:0\nbin:x:1:1\n"},
                                          {"spark", "root:x:0:0\nbin:x:1:1\nspark:x:900:900\n"},
                                          {"hdfs", "root:x:0:0\nbin:x:1:1\nhdfs:x:901:901\n"}}),
            "root:x:0:0\nbin:x:1:1\nspark:x:900:900\nhdfs:x:901:901\n");
}

TEST(Accounts, GroupMembersComeFromAllAndUnchangedLinesDoNotUndo) {
  EXPECT_EQ(
      merge_accounts("etc/group", {{"", "users:x:100:\n"}, {"a", "users:x:100:a\n"}, {"b", "users:x:100:b\n"}, {"c", "users:x:100:\n"}}),
      "users:x:100:a,b\n");
}

TEST(Accounts, SameNumberForTwoNamesIsRefused) {
  try {
    merge_accounts("etc/passwd", {{"", "root:x:0:0\n"}, {"spark", "spark:x:999:999\n"}, {"hdfs", "hdfs:x:999:999\n"}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "module 'hdfs' gives 'hdfs' the number 999 in /etc/passwd, which 'spark' has from module 'spark'");
    EXPECT_NE(error.hint_text().find("--uid"), std::string::npos);
  }
}

}  // namespace
}  // namespace kiln::bake
