#include "bake/packages.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace kiln::bake {
namespace {

class ListsTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    make_folder((folder_.path() / name).parent_path());
    write_file_atomically(folder_.path() / name, text);
  }
  void keep() { keep_lists(folder_.path() / "lists", folder_.path() / "cache"); }
  std::string known(const std::string& name) { return read_file(folder_.path() / "cache/lists" / name); }
  TemporaryFolder folder_;
};

TEST_F(ListsTest, AreBroughtAsTheyWereKept) {
  make_folder(folder_.path() / "cache");
  bring_lists(folder_.path() / "cache", folder_.path() / "none");
  EXPECT_TRUE(fs::is_empty(folder_.path() / "none")) << "nothing is known yet";

  write("lists/deb.example_InRelease", "1");
  write("lists/deb.example_main_Packages", "one");
  write("lists/lock", "");
  write("lists/partial/deb.example_contrib_Packages", "half");
  keep();
  bring_lists(folder_.path() / "cache", folder_.path() / "brought");
  std::map<std::string, std::string> brought;
  for (const auto& entry : fs::directory_iterator(folder_.path() / "brought")) brought[entry.path().filename()] = read_file(entry.path());
  EXPECT_EQ(brought, (std::map<std::string, std::string>{{"deb.example_InRelease", "1"}, {"deb.example_main_Packages", "one"}}));
}

TEST_F(ListsTest, OfANewReleaseReplaceAllThatWereThere) {
  write("lists/deb.example_InRelease", "1");
  write("lists/deb.example_main_Packages", "one");
  write("lists/deb.example_other_Packages", "of another archive");
  keep();
  write("lists/deb.example_main_Packages", "was read, not changed");
  keep();
  EXPECT_EQ(known("deb.example_main_Packages"), "one") << "50 MB are not written for nothing";
  write("lists/deb.example_InRelease", "2");
  write("lists/deb.example_main_Packages", "two");
  fs::remove(folder_.path() / "lists/deb.example_other_Packages");
  keep();
  EXPECT_EQ(known("deb.example_InRelease"), "2");
  EXPECT_EQ(known("deb.example_main_Packages"), "two");
  EXPECT_FALSE(fs::exists(folder_.path() / "cache/lists/deb.example_other_Packages"));
  EXPECT_FALSE(fs::exists(folder_.path() / "cache/lists.part"));
}

}  // namespace
}  // namespace kiln::bake
