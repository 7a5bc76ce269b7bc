#include "bake/parcel.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

class ParcelTest : public ::testing::Test {
 protected:
  ParcelTest() {
    make_folder(folder_.path() / "modules");
    options_.modules = config::SearchPath::for_modules({folder_.path() / "modules"});
    options_.agent = folder_.path() / "agent";
    write_file_atomically(options_.agent, "an agent", 0755);
    const auto toy = folder_.path() / "modules/toy";
    make_folder(toy / "files");
    write_file_atomically(toy / "module.yaml",
                          "summary: a toy\nparams: {greeting: hello}\npackages: {debian: [\"jq-{greeting}\"], rpm: [jq]}\n"
                          "sources: {word: {file: word.txt}}\n");
    write_file_atomically(toy / "word.txt", "a word\n");
    write_file_atomically(toy / "init.sh", "#!/bin/sh\ntrue\n", 0755);
    write_file_atomically(toy / "files/any", "any\n");
    spec_.name = "debian-12";
    spec_.base.suite = "bookworm";
    spec_.architecture = "amd64";
    spec_.modules.emplace_back().name = "toy";
    spec_.modules.back().params["greeting"] = "ahoy";
  }
  Parcel make() { return make_parcel(store_, spec_, {"debian", "12", "debian"}, options_); }

  TemporaryFolder folder_;
  Store store_{folder_.path() / "store"};
  BakeOptions options_;
  config::ImageSpec spec_;
};

}  // namespace

TEST_F(ParcelTest, HasAllThatANodeNeeds) {
  const Parcel parcel = make();
  const auto there = folder_.path() / "there";
  make_folder(there);
  run_checked({"tar", "-xf", parcel.file.native(), "-C", there.native()});
  EXPECT_EQ(read_file(there / "kiln-node"), "an agent");
  EXPECT_EQ(read_file(there / "sources/toy/word/word.txt"), "a word\n");
  EXPECT_EQ(read_file(there / "modules/toy/files/any"), "any\n");
  const Json module = Json::parse(read_file(there / "modules/toy/module.json"));
  EXPECT_EQ(config::module_from_json(module).params.at("greeting").default_value, "ahoy") << "what is installed is the default there";
  EXPECT_EQ(Json::parse(read_file(there / "image.json")).at("builtins").at("java_version"), "17");
  for (const char* name : {"install", "kiln-node.service", "kiln-disks.service"}) EXPECT_TRUE(fs::exists(there / "stock" / name)) << name;
  EXPECT_TRUE(fs::exists(there / "mount-disks"));

  const Json plan = Json::parse(read_file(there / "plan.json"));
  EXPECT_EQ(plan.at("os"), Json::array({"debian", "12"}));
  EXPECT_EQ(plan.at("packages"), Json::array({"jq-ahoy"}));
  const Json& toy = plan.at("modules").at(0);
  EXPECT_EQ(toy.at("script").at("env").at("KILN_STAGE"), "deploy");
  EXPECT_EQ(toy.at("script").at("env").at("KILN_PARAM_GREETING"), "ahoy");
  EXPECT_EQ(toy.at("sources").at(0).at("variable"), "KILN_SOURCE_WORD");
  EXPECT_EQ(toy.at("sources").at(0).at("path"), "sources/toy/word/word.txt");
}

TEST_F(ParcelTest, TheSameInputsAreTheSameBytes) {
  const std::string first = make().sha256;
  EXPECT_EQ(make().sha256, first);
  write_file_atomically(folder_.path() / "modules/toy/word.txt", "another word\n");
  EXPECT_NE(make().sha256, first);
}

TEST_F(ParcelTest, LeavesNothing) {
  make();
  EXPECT_TRUE(fs::is_empty(store_.home() / "tmp"));
}

}  // namespace kiln::bake
