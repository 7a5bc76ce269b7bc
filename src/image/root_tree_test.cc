#include "image/root_tree.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"

namespace kiln::image {
namespace {

class ReadRoot : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    for (const auto& top : {root_, layer_}) {
      make_folder((top / path).parent_path());
      write_file_atomically(top / path, text);
    }
  }
  void list(const std::string& text) { write("usr/lib/kiln/modules/m/boot-files", text); }
  RootTree read() const { return read_root(root_, {layer_, upper_}); }
  static const RootFile& find(const RootTree& tree, const std::string& path) {
    for (const auto& file : tree.files) {
      if (file.path == path) return file;
    }
    throw std::runtime_error("there is no " + path);
  }

  TemporaryFolder folder_;
  fs::path root_ = folder_.path() / "root", layer_ = folder_.path() / "lower", upper_ = folder_.path() / "upper";
  void SetUp() override {
    for (const auto& path : {root_, layer_, upper_}) make_folder(path);
  }
};

TEST_F(ReadRoot, FilesAreTheHighestLayersAndFoldersTheLowests) {
  write("d/one", "1");
  write("d/two", "2");
  make_folder(upper_ / "d");
  write_file_atomically(upper_ / "d/two", "2");
  make_folder(root_ / "lost+found");
  const RootTree tree = read();
  EXPECT_EQ(find(tree, "d/one").layer, 0U);
  EXPECT_EQ(find(tree, "d/two").layer, 1U);
  EXPECT_EQ(find(tree, "d").layer, 0U);
  EXPECT_EQ(tree.files[0].children.size(), 1U);
}

TEST_F(ReadRoot, HardLinksAreOneFile) {
  write("a", "1");
  fs::create_hard_link(root_ / "a", root_ / "b");
  const RootTree tree = read();
  EXPECT_EQ(tree.files[find(tree, "b").first_name].path, "a");
}

TEST_F(ReadRoot, ListsNameVersionsByPatternsAndRangesInKib) {
  write("lib/x-1.2/jar", std::string(100 * 4096, 'x'));
  write("lib/x-1.2/other", "o");
  write("lib/y/file", "y");
  list("# comment\n\n/lib/x-*/jar 0-8 4-20 390-9000\n/lib/y/\n/not/there\n");
  const RootTree tree = read();
  EXPECT_EQ(find(tree, "lib/x-1.2/jar").read, (std::vector<BlockRange>{{0, 5}, {97, 100}}));
  EXPECT_LT(find(tree, "lib/x-1.2").rank, find(tree, "lib/x-1.2/jar").rank);
  EXPECT_LT(find(tree, "lib/x-1.2/jar").rank, find(tree, "lib/y").rank);
  EXPECT_EQ(find(tree, "lib/x-1.2/other").rank, RootFile::kNotRead);
  EXPECT_EQ(find(tree, "lib/y/file").rank, RootFile::kNotRead);
}

TEST_F(ReadRoot, AWrongLineIsToldWithItsPlace) {
  for (const auto& [text, wanted] :
       std::vector<std::pair<std::string, std::string>>{{"/a\n/b 5-3\n", "'5-3' is no range"},
                                                        {"/a\n/b x\n", "'x' is no range"},
                                                        {"\nlib/x\n", "a path must begin with '/': 'lib/x'"}}) {
    list(text);
    try {
      read();
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(wanted), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("/usr/lib/kiln/modules/m/boot-files' of the image, line 2"), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace kiln::image
