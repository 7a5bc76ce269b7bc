// Layers of every bad kind, made by libarchive and by hand, onto a folder beside which everything must stay as it is.
#include "oci/layer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

namespace kiln::oci {
namespace {

struct Entry {
  enum class Type { kFile, kFolder, kLink, kHardLink, kFifo, kDevice };
  Type type = Type::kFile;
  std::string path;
  std::string text = {};  // content, or where a link leads
  int mode = 0644;
  std::map<std::string, std::string> attributes = {};
  std::int64_t owner = 0;
};
using Type = Entry::Type;

struct WriteFree {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct EntryFree {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

la_ssize_t append(archive*, void* data, const void* bytes, std::size_t size) {
  static_cast<std::string*>(data)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

std::string make_tar(const std::vector<Entry>& entries, const char* filter = "none") {
  std::string bytes;
  const std::unique_ptr<archive, WriteFree> writer(archive_write_new());
  archive_write_set_format_pax_restricted(writer.get());
  if (std::string(filter) != "none") archive_write_add_filter_by_name(writer.get(), filter);
  archive_write_set_bytes_in_last_block(writer.get(), 1);
  archive_write_open2(writer.get(), &bytes, nullptr, append, nullptr, nullptr);
  for (const auto& each : entries) {
    const std::unique_ptr<archive_entry, EntryFree> entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), each.path.c_str());
    archive_entry_set_perm(entry.get(), static_cast<mode_t>(each.mode));
    archive_entry_set_mtime(entry.get(), 1000000000, 0);
    archive_entry_set_uid(entry.get(), each.owner);
    const unsigned types[] = {AE_IFREG, AE_IFDIR, AE_IFLNK, AE_IFREG, AE_IFIFO, AE_IFCHR};
    archive_entry_set_filetype(entry.get(), types[static_cast<int>(each.type)]);
    if (each.type == Type::kLink) archive_entry_set_symlink(entry.get(), each.text.c_str());
    if (each.type == Type::kHardLink) archive_entry_set_hardlink(entry.get(), each.text.c_str());
    for (const auto& [name, value] : each.attributes) archive_entry_xattr_add_entry(entry.get(), name.c_str(), value.data(), value.size());
    const std::string content = each.type == Type::kFile ? each.text : "";
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
    archive_write_header(writer.get(), entry.get());
    archive_write_data(writer.get(), content.data(), content.size());
  }
  archive_write_close(writer.get());
  return bytes;
}

class LayerTest : public testing::Test {
 protected:
  void SetUp() override {
    make_folder(target());
    make_folder(outside() / "folder");
    write_file_atomically(outside() / "file", "untouched");
  }
  fs::path target() const { return folder_.path() / "target"; }
  fs::path outside() const { return folder_.path() / "outside"; }
  void apply_bytes(const std::string& bytes, const Descriptor& descriptor = {}, const WriteLimits& limits = {1 << 30}) {
    Fd file(::memfd_create("layer", MFD_CLOEXEC));
    ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::lseek(file.get(), 0, SEEK_SET);
    TreeWriter tree(target(), limits, ::geteuid() == 0);
    apply_layer(std::move(file), descriptor, "layer", tree);
    tree.finish();
  }
  void apply(const std::vector<Entry>& entries) { apply_bytes(make_tar(entries)); }
  std::string error_of(const std::function<void()>& body) {
    try {
      body();
      return "";
    } catch (const Error& error) {
      return error.message();
    }
  }
  std::string refused(const std::vector<Entry>& entries) {
    return error_of([&] { apply(entries); });
  }
  void expect_nothing_outside() {
    std::set<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      const std::string path = entry.path().lexically_relative(folder_.path());
      if (!path.starts_with("target/")) found.insert(path);
    }
    EXPECT_EQ(found, (std::set<std::string>{"outside", "outside/file", "outside/folder", "target"}));
    EXPECT_EQ(read_file(outside() / "file"), "untouched");
    EXPECT_EQ(fs::hard_link_count(outside() / "file"), 1U);
  }
  std::set<std::string> there() const {
    std::set<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(target())) found.insert(entry.path().lexically_relative(target()));
    return found;
  }
  TemporaryFolder folder_;
};

TEST_F(LayerTest, makes_files_of_every_kind_with_what_belongs_to_them) {
  apply({{Type::kFolder, "d", "", 0750},
         {Type::kFile, "./d/f", "text", 04755, {{"user.note", "n"}}, 7},
         {Type::kHardLink, "/d/g", "d/f"},
         {Type::kLink, "d/l", "../nowhere"},
         {Type::kFifo, "d/p"},
         {Type::kFile, "d/ü", "name"}});
  EXPECT_EQ(read_file(target() / "d/g"), "text");
  EXPECT_EQ(read_file(target() / "d/ü"), "name");
  EXPECT_EQ(fs::read_symlink(target() / "d/l"), "../nowhere");
  struct stat status {};
  ASSERT_EQ(::stat((target() / "d/f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFREG | 04755});
  EXPECT_EQ(status.st_mtim.tv_sec, 1000000000);
  EXPECT_EQ(status.st_nlink, 2U);
  EXPECT_EQ(status.st_uid, ::geteuid() == 0 ? 7U : ::geteuid());
  ASSERT_EQ(::stat((target() / "d").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFDIR | 0750});
  EXPECT_EQ(status.st_mtim.tv_sec, 1000000000);
  ASSERT_EQ(::lstat((target() / "d/p").c_str(), &status), 0);
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
}

TEST_F(LayerTest, reads_gzip_and_zstd_and_nothing_at_all) {
  apply_bytes(make_tar({{Type::kFile, "a", "1"}}, "gzip"));
  apply_bytes(make_tar({{Type::kFile, "b", "1"}}, "zstd"));
  apply_bytes("");
  EXPECT_EQ(there(), (std::set<std::string>{"a", "b"}));
  EXPECT_NE(error_of([&] { apply_bytes("this is no archive, whatever its name says"); }), "");
  EXPECT_NE(error_of([&] { apply_bytes(make_tar({{Type::kFile, "c", "1"}}, "xz")); }), "");  // no layer is that
}

TEST_F(LayerTest, refuses_paths_that_lead_out) {
  for (const char* path : {"../outside/new", "d/../../outside/new", "..", "./../outside/file", "d/.."})
    EXPECT_NE(refused({{Type::kFile, path, "x"}}).find("leads out of the archive"), std::string::npos) << path;
  // From the image's root, wherever that is.
  EXPECT_EQ(refused({{Type::kFile, outside() / "file", "x"}}), "");
  EXPECT_EQ(read_file(fs::path(target().native() + (outside() / "file").native())), "x");
  expect_nothing_outside();
}

TEST_F(LayerTest, follows_links_within_the_image_only) {
  fs::create_directory(target() / "real");
  for (const auto& [name, leads_to] : std::map<std::string, std::string>{{"near", "real"},
                                                                         {"absolute", "/real"},
                                                                         {"up", "../../../../outside"},
                                                                         {"out", outside().native()},
                                                                         {"file", (outside() / "file").native()}})
    fs::create_symlink(leads_to, target() / name);
  EXPECT_EQ(
      refused({{Type::kFile, "near/a", "1"}, {Type::kFile, "absolute/b", "2"}, {Type::kFile, "up/c", "3"}, {Type::kFile, "out/d", "4"}}),
      "");
  EXPECT_EQ(read_file(target() / "real/a") + read_file(target() / "real/b"), "12");
  EXPECT_EQ(read_file(target() / "outside/c"), "3");  // ".." ends at the root
  // The last name is replaced, not followed; a folder's too.
  EXPECT_EQ(refused({{Type::kFile, "file", "new"}, {Type::kFolder, "near"}}), "");
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(target() / "file")));
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(target() / "near")));
  expect_nothing_outside();
}

TEST_F(LayerTest, refuses_links_in_a_circle_and_files_in_files) {
  EXPECT_NE(refused({{Type::kLink, "a", "b"}, {Type::kLink, "b", "a"}, {Type::kFile, "a/x", "1"}}).find("in a circle"), std::string::npos);
  EXPECT_NE(refused({{Type::kFile, "f", "1"}, {Type::kFile, "f/x", "1"}}).find("which is no folder"), std::string::npos);
}

TEST_F(LayerTest, links_only_to_files_of_the_image) {
  fs::create_symlink(outside() / "file", target() / "way");
  EXPECT_NE(refused({{Type::kHardLink, "h", "../outside/file"}}).find("leads out"), std::string::npos);
  EXPECT_NE(refused({{Type::kHardLink, "h", outside() / "file"}}).find("no file of the image"), std::string::npos);
  EXPECT_NE(refused({{Type::kFolder, "d"}, {Type::kHardLink, "h", "d"}}).find("no file of the image"), std::string::npos);
  EXPECT_NE(refused({{Type::kHardLink, "h", "/"}}).find("no file of the image"), std::string::npos);
  // Through a hard link to a link: it is the link that is linked, and then replaced.
  EXPECT_EQ(refused({{Type::kHardLink, "h", "way"}, {Type::kFile, "h", "new"}}), "");
  EXPECT_EQ(refused({{Type::kFile, "self", "1"}, {Type::kHardLink, "self", "self"}}), "");
  EXPECT_EQ(read_file(target() / "self"), "1");
  expect_nothing_outside();
}

TEST_F(LayerTest, leaves_out_devices_and_marks_of_overlayfs) {
  apply({{Type::kDevice, "null"},
         {Type::kFile, "f", "1", 0644, {{"user.overlay.opaque", "y"}, {"trusted.overlay.redirect", "/x"}, {"user.own", "1"}}}});
  EXPECT_EQ(there(), std::set<std::string>{"f"});
  char value[8];
  EXPECT_LT(::lgetxattr((target() / "f").c_str(), "user.overlay.opaque", value, sizeof value), 0);
  EXPECT_LT(::lgetxattr((target() / "f").c_str(), "trusted.overlay.redirect", value, sizeof value), 0);
}

TEST_F(LayerTest, whiteouts_hide_what_is_below_wherever_they_stand) {
  apply({{Type::kFile, "d/old", "1"}, {Type::kFile, "d/e/deep", "1"}, {Type::kFile, "gone/x", "1"}, {Type::kFile, "kept", "1"}});
  apply({{Type::kFile, "d/e/new", "2"},
         {Type::kFile, "d/.wh..wh..opq"},
         {Type::kFile, ".wh.gone"},
         {Type::kFile, "both", "3"},
         {Type::kFile, ".wh.both"},
         {Type::kFile, ".wh..wh.plnk", ""},
         {Type::kFile, ".wh.never-there"}});
  EXPECT_EQ(there(), (std::set<std::string>{"both", "d", "d/e", "d/e/new", "kept"}));
}

TEST_F(LayerTest, whiteouts_stay_in_a_layer_of_its_own) {
  if (::geteuid() != 0) GTEST_SKIP() << "making devices needs root of some namespace";
  const std::string bytes = make_tar({{Type::kFile, "d/.wh.gone"}, {Type::kFile, "d/new", "1"}, {Type::kFile, "e/.wh..wh..opq"}});
  const Descriptor blob{"application/vnd.oci.image.layer.v1.tar", "sha256:" + sha256_hex(bytes), static_cast<std::int64_t>(bytes.size())};
  write_file_atomically(folder_.path() / "blob", bytes);
  unpack_layer({blob, folder_.path() / "blob"}, target());
  EXPECT_EQ(there(), (std::set<std::string>{"d", "d/gone", "d/new", "e"}));
  EXPECT_TRUE(fs::is_character_file(fs::symlink_status(target() / "d/gone")));
  char value = 0;
  EXPECT_EQ(::lgetxattr((target() / "e").c_str(), "user.overlay.opaque", &value, 1), 1);
  EXPECT_EQ(value, 'y');
}

TEST_F(LayerTest, whiteouts_reach_nothing_outside) {
  fs::create_symlink(outside(), target() / "out");
  fs::create_symlink("../outside", target() / "up");
  apply({{Type::kFile, "out/.wh.file"}, {Type::kFile, "up/.wh..wh..opq"}, {Type::kFile, "out/.wh..wh..opq"}});
  for (const char* name : {".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."})
    EXPECT_NE(refused({{Type::kFile, name}}).find("hides nothing"), std::string::npos) << name;
  apply({{Type::kFile, ".wh.out"}});  // the link itself
  EXPECT_FALSE(fs::exists(fs::symlink_status(target() / "out")));
  expect_nothing_outside();
}

TEST_F(LayerTest, folders_replace_files_and_files_folders) {
  apply({{Type::kFile, "a", "1"}, {Type::kFile, "b/c/d", "1"}, {Type::kFolder, "kept"}, {Type::kFile, "kept/x", "1"}});
  apply({{Type::kFolder, "a"}, {Type::kFile, "a/now", "2"}, {Type::kFile, "b", "2"}, {Type::kFolder, "kept", "", 0700}});
  EXPECT_EQ(there(), (std::set<std::string>{"a", "a/now", "b", "kept", "kept/x"}));
}

TEST_F(LayerTest, stops_at_its_limits) {
  const std::string zeros = make_tar({{Type::kFile, "z", std::string(3 << 20, '\0')}}, "gzip");
  EXPECT_NE(error_of([&] { apply_bytes(zeros, {}, {1 << 20}); }).find("No space left"), std::string::npos);
  EXPECT_NE(error_of([&] { apply_bytes(make_tar({{Type::kFile, "z", "four"}}), {}, {1 << 20, 3}); }).find("refused"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  EXPECT_NE(refused({{Type::kFile, deep + "f", "1"}}).find("folders deep"), std::string::npos);
  EXPECT_NE(refused({{Type::kFile, std::string(300, 'n'), "1"}}), "");
  EXPECT_NE(refused({{Type::kFile, "f", "1", 0644, {}, std::int64_t{1} << 40}}), ::geteuid() == 0 ? "" : "-");
}

TEST_F(LayerTest, checks_the_digest_and_finds_cut_layers) {
  const std::string bytes = make_tar({{Type::kFile, "f", std::string(5000, 'x')}}, "gzip");
  const Descriptor right{"", "sha256:" + sha256_hex(bytes), static_cast<std::int64_t>(bytes.size())};
  apply_bytes(bytes, right);
  EXPECT_NE(error_of([&] { apply_bytes(bytes + "x", right); }).find("is corrupt"), std::string::npos);
  EXPECT_NE(error_of([&] { apply_bytes(make_tar({{Type::kFile, "g", "1"}}), right); }).find("is corrupt"), std::string::npos);
  EXPECT_NE(error_of([&] { apply_bytes(bytes.substr(0, bytes.size() / 2)); }), "");
}

}  // namespace
}  // namespace kiln::oci
