// Whole bakes, with real cells, overlays and containers, over a base made of a few programs of this machine: no network.
// Skipped where the host lacks what cells need (`kiln doctor` says what).
#include "bake/bake.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <set>

#include "bake/layer_files.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/process.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {
namespace {

using Lines = std::vector<std::string>;

// Each package brings a file and an account; "clashing" a file that module c has, too, "numbered" an account with module c's number.
constexpr const char* kPackageManager =
    "#!/bin/sh\n"
    "case \" $* \" in *' install '*) ;; *) exit 0 ;; esac\n"
    "for package; do :; done\n"
    "mkdir -p /opt/packages\n"
    "echo here > /opt/packages/$package\n"
    "number=950\n"
    "if [ $package = clashing ]; then mkdir -p /opt/c; echo $package > /opt/c/x; fi\n"
    "if [ $package = numbered ]; then number=902; fi\n"
    "while read -r line; do case $line in *:$number:*) number=951 ;; esac; done < /etc/passwd\n"
    "echo \"$package:x:$number:$number::/:/bin/sh\" >> /etc/passwd\n";

// A tarball with a shell and what scripts here call, and the libraries those need.
fs::path make_base_tarball(const fs::path& folder) {
  const fs::path root = folder / "root";
  for (const char* name : {"bin", "etc", "dev", "proc", "sys", "run", "tmp", "var/tmp", "root", "opt"}) make_folder(root / name);
  std::set<std::string> files;
  for (const char* name : {"sh", "cat", "mkdir", "mv", "rm", "ls", "cp", "sleep", "env", "dd", "hostname", "touch"}) {
    const auto program = find_program(name);
    if (!program) continue;
    const fs::path real = fs::canonical(*program);
    fs::copy_file(real, root / "bin" / name, fs::copy_options::overwrite_existing);
    for (const auto& line : split(run({"ldd", real.native()}).output, '\n')) {
      const std::size_t start = line.find('/');
      if (start != std::string::npos) files.insert(line.substr(start, line.find(' ', start) - start));
    }
  }
  for (const auto& file : files) {
    make_folder((root / file.substr(1)).parent_path());
    fs::copy_file(fs::canonical(file), root / file.substr(1), fs::copy_options::overwrite_existing);
  }
  write_file_atomically(root / "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  write_file_atomically(root / "bin/apt-get", kPackageManager, 0755);
  const fs::path tarball = folder / "base.tar";
  run_checked({"tar", "-C", root.native(), "-cf", tarball.native(), "--owner=0", "--group=0", "."});
  return tarball;
}

class BakeTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& check : container::check_host()) {
      if (check.required && !check.ok) GTEST_SKIP() << check.name << ": " << check.found;
    }
    spec_.name = "tiny";
    spec_.base.kind = config::BaseSpec::Kind::kTarball;
    spec_.base.tarball = make_base_tarball(folder_.path());
    spec_.architecture = config::host_architecture();
    options_.modules = {{folder_.path() / "modules"}};
    options_.agent = folder_.path() / "agent";
    write_file_atomically(options_.agent, "#!/bin/sh\n", 0755);
    module("a", "summary: a\nparams: {size: 7}\nsources: {seed: {file: seed.txt}}\n",
           {{"init.sh",
             "mkdir -p /opt/a\ncat \"$KILN_SOURCE_SEED\" > /opt/a/seed\necho $KILN_PARAM_SIZE > /opt/a/size\necho 'a:x:901:901::/:/bin/sh' "
             ">> /etc/passwd\n"},
            {"seed.txt", "seed\n"}});
    module("b", "summary: b\nrequires: [a]\n", {{"init.sh", "cat /opt/a/seed > /opt/b\n"}});
    module("c", "summary: c\nafter: [b]\n",
           {{"init.sh", "mkdir /opt/c\ntouch /opt/c/x\necho 'c:x:902:902::/:/bin/sh' >> /etc/passwd\n"},
            {"warm.sh", "cat /etc/passwd /opt/b > /opt/warm\n"}});
    choose({"b", "c"});
  }
  void module(const std::string& name, const std::string& manifest, const std::map<std::string, std::string>& files) {
    write(name, "module.yaml", manifest);
    for (const auto& [file, text] : files) write(name, file, text);
  }
  void write(const std::string& name, const std::string& file, const std::string& text) {
    make_folder(folder_.path() / "modules" / name);
    write_file_atomically(folder_.path() / "modules" / name / file, text);
  }
  void choose(const Lines& names) {
    spec_.modules.clear();
    for (const auto& name : names) {
      config::ModuleChoice choice;
      choice.name = name;
      spec_.modules.push_back(choice);
    }
  }
  BakeResult bake() { return bake::bake(store_, spec_, options_); }
  std::string error_of_bake() {
    try {
      bake();
    } catch (const Error& error) {
      return error.what() + ("\nhint: " + error.hint_text());
    }
    return "no error";
  }
  fs::path layer(const BakeResult& result, const std::string& name) {
    for (const auto& outcome : result.layers) {
      if (outcome.layer.name == name) return store_.layer_folder(outcome.layer.key);
    }
    return "/no such layer";
  }
  static Lines built(const BakeResult& result) {
    Lines names;
    for (const auto& outcome : result.layers) {
      if (!outcome.reused) names.push_back(outcome.layer.name);
    }
    return names;
  }
  // Every layer that the store shows is whole: its list is what its folder holds.
  void expect_whole_store() {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(store_.home() / "layers", error)) {
      const auto found = store_.find_layer(entry.path().filename());
      ASSERT_TRUE(found.has_value()) << entry.path();
      if (container::is_rootless()) continue;
      EXPECT_EQ(write_list(list_files(entry.path() / "fs")), read_file(entry.path() / "files")) << found->name;
    }
  }
  void expect_nothing_left() {
    store_.collect_garbage(false, {});
    EXPECT_TRUE(!fs::exists(store_.home() / "tmp") || fs::is_empty(store_.home() / "tmp"));
    const std::string mounts = read_file("/proc/self/mounts");
    EXPECT_EQ(mounts.find(store_.home().native()), std::string::npos) << mounts;
  }

  TemporaryFolder folder_{fs::path(std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp")};
  Store store_{folder_.path() / "home"};
  config::ImageSpec spec_;
  BakeOptions options_;
};

// As on a node: over everything that the image has, and nothing of the image changes.
TEST_F(BakeTest, AddsModulesAtLaunchOnTopOfTheImage) {
  const BakeResult first = bake();
  module("d", "summary: d\nrequires: [b]\nparams: {word: x}\n",
         {{"init.sh",
           "mkdir /opt/d\necho $KILN_STAGE $KILN_PARAM_WORD > /opt/d/said\ncat /opt/warm >> /opt/d/said\n"
           "echo 'd:x:903:903::/:/bin/sh' >> /etc/passwd\n"}});
  config::ModuleChoice choice;
  choice.name = "d";
  choice.params["word"] = "hello";
  const Image image = add_modules(store_, first.image, {choice}, options_);
  Lines names, modules;
  for (const auto& layer : image.layers) names.push_back(layer.name);
  for (const auto& added : image.modules) modules.push_back(added.manifest.name);
  EXPECT_EQ(names, (Lines{"base", "module a", "module b", "module c", "warm", "agent", "module d at launch", "agent at launch"}));
  EXPECT_EQ(modules, (Lines{"a", "b", "c", "d"}));
  EXPECT_NE(image.digest, first.image.digest);
  const auto top = [&](std::size_t from_top) { return store_.layer_folder(image.layers[image.layers.size() - from_top].key); };
  const std::string passwd = read_file(first.image.layers.empty() ? fs::path() : layer(first, "warm") / "etc/passwd");
  EXPECT_EQ(read_file(top(2) / "opt/d/said"), "deploy hello\n" + passwd + "seed\n");
  EXPECT_EQ(read_file(top(2) / "etc/passwd"), passwd + "d:x:903:903::/:/bin/sh\n");
  const Json manifest = Json::parse(read_file(top(1) / "usr/lib/kiln/modules/d/module.json"));
  EXPECT_EQ(manifest.at("name"), "d");
  // Installed once; the image by its name is what it was.
  const auto lines = names.size();
  EXPECT_EQ(add_modules(store_, first.image, {choice}, options_).digest, image.digest);
  EXPECT_EQ(store_.find_image("tiny")->digest, first.image.digest);
  EXPECT_EQ(store_.find_image("tiny")->layers.size() + 2, lines);
  expect_whole_store();
  expect_nothing_left();
  // No record speaks for the added layers: garbage, unless a cluster stands on them.
  EXPECT_FALSE(store_.find_layer(image.layers.back().key).has_value());
}

class AddedPackagesTest : public BakeTest {
 protected:
  // The image with a module that needs the package.
  Image add(const Image& image, const std::string& package) {
    module("m", "summary: m\npackages: {debian: [" + package + "]}\n", {{"init.sh", "cat /etc/passwd /opt/c/x > /opt/m\n"}});
    config::ModuleChoice choice;
    choice.name = "m";
    if (!packages_early_) return add_modules(store_, image, {choice}, options_);
    add_packages(store_, image, {choice}, options_);
    return image;
  }
  static const Layer& layer_of(const Image& image, const std::string& name) {
    return *std::find_if(image.layers.begin(), image.layers.end(), [&](const Layer& layer) { return layer.name == name; });
  }
  static Lines below(const Image& image, const std::string& name) {
    Lines names;
    for (const auto& layer : layer_of(image, name).inputs.at("below")) names.push_back(layer.at("name"));
    return names;
  }
  std::string said(const Image& image) { return read_file(store_.layer_folder(layer_of(image, "module m at launch").key) / "opt/m"); }
  bool packages_early_ = false;  // only those
  std::ptrdiff_t layers_in_store() { return std::distance(fs::directory_iterator(store_.home() / "layers"), fs::directory_iterator()); }
};

TEST_F(AddedPackagesTest, StandOnTheGroundSoThatAChangedModuleInstallsNothing) {
  const Image before = add(bake().image, "tool");
  EXPECT_EQ(below(before, "packages at launch"), (Lines{"base"}));
  // The module sees everybody's accounts, though no layer alone has them.
  const std::string accounts = "root:x:0:0:root:/root:/bin/sh\na:x:901:901::/:/bin/sh\nc:x:902:902::/:/bin/sh\ntool:x:950:950::/:/bin/sh\n";
  EXPECT_EQ(said(before), accounts);
  write("c", "init.sh", "mkdir /opt/c\necho changed > /opt/c/x\necho 'c:x:902:902::/:/bin/sh' >> /etc/passwd\n");
  const Image now = add(bake().image, "tool");
  EXPECT_EQ(layer_of(now, "packages at launch").key, layer_of(before, "packages at launch").key);
  EXPECT_EQ(said(now), accounts + "changed\n");
  expect_whole_store();
  expect_nothing_left();
}

TEST_F(AddedPackagesTest, CanBeInstalledBeforeTheImagesModulesAreBuilt) {
  std::vector<Image> grounds;
  std::ptrdiff_t layers = 0;
  options_.on_ground = [&](const Image& ground) {
    grounds.push_back(ground);
    EXPECT_EQ(layers_in_store(), 1);
    packages_early_ = true;
    add(ground, "tool");
    layers = layers_in_store();
  };
  const Image image = bake().image;
  ASSERT_EQ(grounds.size(), 1u);
  EXPECT_EQ(grounds[0].layers.size(), 1u);
  EXPECT_EQ(grounds[0].modules.size(), image.modules.size());
  EXPECT_EQ(layers, 2);  // base and the packages: neither the module nor an agent
  options_.on_ground = {};
  packages_early_ = false;
  const std::ptrdiff_t baked = layers_in_store();
  const Image added = add(image, "tool");
  EXPECT_EQ(layers_in_store(), baked + 2);  // the module and the agent's
  EXPECT_EQ(below(added, "packages at launch"), (Lines{"base"}));
  expect_whole_store();
  expect_nothing_left();
}

TEST_F(AddedPackagesTest, ThatWriteWhatAModuleWroteStandOnTheModules) {
  const Image first = bake().image;
  const Image image = add(first, "clashing");
  const Lines over_all = {"base", "module a", "module b", "module c", "warm", "agent"};
  EXPECT_EQ(below(image, "packages at launch"), over_all);
  EXPECT_TRUE(said(image).ends_with("clashing:x:950:950::/:/bin/sh\nclashing\n")) << said(image);
  // That they were tried elsewhere is not tried again, even when that layer is garbage by now.
  auto layers = layers_in_store();
  EXPECT_EQ(add(first, "clashing").digest, image.digest);
  EXPECT_EQ(layers_in_store(), layers);
  for (const auto& entry : std::vector<fs::directory_entry>(fs::directory_iterator(store_.home() / "layers"), {})) {
    const auto found = store_.find_layer(entry.path().filename());
    if (found && found->name == "packages at launch" && found->key != layer_of(image, found->name).key) {
      fs::remove_all(entry.path());
      --layers;
    }
  }
  EXPECT_EQ(add(first, "clashing").digest, image.digest);
  EXPECT_EQ(layers_in_store(), layers);
  expect_nothing_left();
}

TEST_F(AddedPackagesTest, WithAnAccountOfAModulesNumberStandOnTheModules) {
  const Image image = add(bake().image, "numbered");
  EXPECT_EQ(below(image, "packages at launch").size(), 6U);
  EXPECT_NE(said(image).find("c:x:902:"), std::string::npos) << said(image);
  EXPECT_NE(said(image).find("numbered:x:951:"), std::string::npos) << said(image);
}

TEST_F(BakeTest, AModuleThatCannotBeAddedIsNamed) {
  const BakeResult first = bake();
  module("d", "summary: d\n", {{"init.sh", "echo no luck >&2\nexit 7\n"}});
  config::ModuleChoice choice;
  choice.name = "d";
  try {
    add_modules(store_, first.image, {choice}, options_);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("init.sh of module 'd' failed with exit code 7"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("no luck"), std::string::npos) << error.what();
  }
  expect_whole_store();
  expect_nothing_left();
}

TEST_F(BakeTest, AWarmUpThatWritesWhatAModuleItDoesNotSeeWroteIsAnError) {
  module("d", "summary: d\n", {{"init.sh", "echo d > /opt/warm\n"}});
  choose({"b", "c", "d"});
  const std::string error = error_of_bake();
  EXPECT_NE(error.find("modules 'd' and '(warm.sh)' both write '/opt/warm'"), std::string::npos) << error;
  EXPECT_NE(error.find("come after 'd'"), std::string::npos) << error;
  // Seen, it may be written anew.
  module("c", "summary: c\nafter: [b, d]\n", {});
  EXPECT_EQ(error_of_bake(), "no error");
}

TEST_F(BakeTest, BakesOnceAndThenDoesNothing) {
  const BakeResult first = bake();
  EXPECT_TRUE(first.changed);
  EXPECT_EQ(built(first), (Lines{"base", "module a", "module b", "module c", "warm", "agent"}));
  EXPECT_EQ(read_file(layer(first, "module a") / "opt/a/size"), "7\n");
  EXPECT_EQ(read_file(layer(first, "module b") / "opt/b"), "seed\n");
  // Accounts of modules that know nothing of each other are all there when warm.sh runs.
  EXPECT_EQ(read_file(layer(first, "warm") / "opt/warm"),
            "root:x:0:0:root:/root:/bin/sh\na:x:901:901::/:/bin/sh\nc:x:902:902::/:/bin/sh\nseed\n");
  const Json manifest = Json::parse(read_file(layer(first, "agent") / "usr/lib/kiln/modules/a/module.json"));
  EXPECT_EQ(config::module_from_json(manifest).params.at("size").default_value, "7");
  EXPECT_TRUE(fs::exists(layer(first, "agent") / "usr/lib/kiln/kiln-node"));
  EXPECT_EQ(Json::parse(read_file(layer(first, "agent") / "usr/lib/kiln/image.json")).at("name"), "tiny");
  for (const auto& outcome : first.layers) {
    for (const auto& file : list_files(store_.layer_folder(outcome.layer.key))) {
      struct stat status {};
      ASSERT_EQ(::lstat((store_.layer_folder(outcome.layer.key) / file.path).c_str(), &status), 0);
      EXPECT_LE(status.st_mtim.tv_sec, spec_.epoch) << file.path;
    }
  }

  const auto start = std::chrono::steady_clock::now();
  const BakeResult second = bake();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(300));
  EXPECT_FALSE(second.changed);
  EXPECT_TRUE(built(second).empty());
  EXPECT_EQ(second.image.digest, first.image.digest);
  expect_nothing_left();
}

TEST_F(BakeTest, AnUnpackedSourceIsMovedToItsPlaceAndTheRestIsGone) {
  const fs::path tree = folder_.path() / "tree/thing-1.0";
  make_folder(tree / "share/deep");
  write_file_atomically(tree / "share/deep/file", "of the archive\n", 0640);
  write_file_atomically(tree / "README", "not wanted\n");
  module("a", "summary: a\nsources: {thing: {file: thing.tar.gz, unpack: true}}\n",
         {{"init.sh", "cat \"$KILN_SOURCE_THING/README\" > /opt/said\nmkdir -p /opt/a\nmv \"$KILN_SOURCE_THING/share\" /opt/a/\n"}});
  // Who made the archive has a number that no namespace here knows.
  const fs::path archive = folder_.path() / "modules/a/thing.tar.gz";
  run_checked({"tar", "-C", tree.parent_path().native(), "-czf", archive.native(), "--owner=4000000", "--group=4000000", "thing-1.0"});
  choose({"a"});
  const fs::path files = layer(bake(), "module a");
  EXPECT_EQ(read_file(files / "opt/a/share/deep/file"), "of the archive\n");
  EXPECT_EQ(read_file(files / "opt/said"), "not wanted\n");
  struct stat status {
  }, root{};
  ASSERT_EQ(::stat((files / "opt/a/share/deep/file").c_str(), &status), 0);
  ASSERT_EQ(::stat((files / "opt/said").c_str(), &root), 0);
  EXPECT_EQ(status.st_uid, root.st_uid);
  std::set<std::string> top;
  for (const auto& entry : fs::directory_iterator(files)) top.insert(entry.path().filename());
  EXPECT_EQ(top, std::set<std::string>{"opt"});
  expect_whole_store();

  // Several things at the top: the folder that holds them.
  run_checked({"tar", "-C", tree.native(), "-cf", archive.native(), "share", "README"});
  EXPECT_EQ(read_file(layer(bake(), "module a") / "opt/a/share/deep/file"), "of the archive\n");
  write("a", "thing.tar.gz", "no archive");
  const std::string said = error_of_bake();
  EXPECT_NE(said.find("tar cannot unpack it: tar: This does not look like a tar archive"), std::string::npos) << said;
  EXPECT_NE(said.find("while unpacking source 'thing' of module 'a'"), std::string::npos) << said;
  EXPECT_NE(said.find("hint: `unpack: true` is for tar archives"), std::string::npos) << said;
  EXPECT_TRUE(fs::is_empty(store_.home() / "tmp"));
}

TEST_F(BakeTest, OnlyWhatChangedIsBuiltAgain) {
  bake();
  write("c", "init.sh", "mkdir /opt/c\n");
  EXPECT_EQ(built(bake()), (Lines{"module c", "warm", "agent"}));
  write("a", "seed.txt", "other\n");
  const BakeResult result = bake();
  EXPECT_EQ(built(result), (Lines{"module a", "module b", "warm", "agent"}));
  EXPECT_EQ(result.layers[1].why, "seed.txt of module a changed; source 'seed' of module a changed");
  EXPECT_EQ(read_file(layer(result, "module b") / "opt/b"), "other\n");
}

TEST_F(BakeTest, GoingBackTakesTheOldLayers) {
  bake();
  write("c", "init.sh", "mkdir /opt/d\n");
  bake();
  write("c", "init.sh", "mkdir /opt/c\ntouch /opt/c/x\necho 'c:x:902:902::/:/bin/sh' >> /etc/passwd\n");
  const BakeResult result = bake();
  EXPECT_TRUE(built(result).empty());
  EXPECT_TRUE(result.changed) << "the image is another one than before";
}

TEST_F(BakeTest, DryRunMakesNothing) {
  options_.dry_run = true;
  const BakeResult result = bake();
  EXPECT_EQ(result.layers[0].why, "first time");
  EXPECT_EQ(built(result).size(), 6u);
  EXPECT_FALSE(fs::exists(store_.home() / "layers"));
}

TEST_F(BakeTest, FailingScriptIsShownWithItsLastWordsAndLeavesTheStoreWhole) {
  write("b", "init.sh", "echo fine\necho the disk is made of cheese >&2\nexit 3\n");
  const std::string error = error_of_bake();
  EXPECT_NE(error.find("init.sh of module 'b' failed with exit code 3"), std::string::npos) << error;
  EXPECT_NE(error.find("the disk is made of cheese"), std::string::npos) << error;
  EXPECT_NE(error.find("while building layer 'module b'"), std::string::npos) << error;
  const std::string log = error.substr(error.find("is in ") + 6);
  EXPECT_NE(read_file(log).find("fine\n"), std::string::npos);
  EXPECT_FALSE(store_.find_image("tiny").has_value());
  EXPECT_TRUE(fs::is_empty(store_.home() / "tmp"));
  expect_whole_store();
  // What was built is not built again.
  write("b", "init.sh", "touch /opt/b\n");
  EXPECT_EQ(built(bake()), (Lines{"module b", "warm", "agent"}));
}

class BuildTest : public BakeTest {
 protected:
  // A module that a package builds; it does to the package's files whatever a careless script would.
  void build_with(const std::string& package, const std::string& more = "") {
    module("x",
           "summary: x\nrequires: [a]\nparams: {source: built}\nbuild: {if: {source: made}, packages: {debian: [" + package +
               "]}, network: true}\n",
           {{"init.sh", "mkdir /opt/x\ncat /opt/packages/" + package + " /opt/a/seed > /opt/x/said\necho over > /opt/packages/" + package +
                            "\ncat /etc/passwd > /opt/x/accounts\necho 'x:x:904:904::/:/bin/sh' >> /etc/passwd\n"
                            "cat /root/.m2/settings.xml > /opt/x/settings\ntouch /root/.m2/downloaded /root/own\n" +
                            more}});
    config::ModuleChoice choice;
    choice.name = "x";
    choice.params["source"] = "made";
    spec_.modules = {choice};
    write_file_atomically(settings_, "<settings/>\n", 0644);
    ::setenv("HOME", folder_.path().c_str(), 1);
  }
  void SetUp() override {
    BakeTest::SetUp();
    if (const char* home = std::getenv("HOME")) home_ = home;
    make_folder(settings_.parent_path());
  }
  void TearDown() override { ::setenv("HOME", home_.c_str(), 1); }
  std::string files_of_image(const BakeResult& result) {
    std::string text;
    for (const auto& made : result.image.layers) text += read_file(store_.layer_folder(made.key).parent_path() / "files");
    return text;
  }
  fs::path settings_ = folder_.path() / ".m2/settings.xml";
  std::string home_;
};

TEST_F(BuildTest, WhatAModuleIsBuiltWithIsNotInTheImage) {
  build_with("compiler");
  const BakeResult result = bake();
  EXPECT_EQ(built(result), (Lines{"base", "module a", "build x", "module x", "agent"}));
  const fs::path made = layer(result, "module x");
  EXPECT_EQ(read_file(made / "opt/x/said"), "here\nseed\n");
  EXPECT_EQ(read_file(made / "opt/x/settings"), "<settings/>\n");
  // The tool's account is nobody's, and the module's own is added to the image's.
  const std::string accounts = "root:x:0:0:root:/root:/bin/sh\na:x:901:901::/:/bin/sh\n";
  EXPECT_EQ(read_file(made / "opt/x/accounts"), accounts);
  EXPECT_EQ(read_file(made / "etc/passwd"), accounts + "x:x:904:904::/:/bin/sh\n");
  const std::string files = files_of_image(result);
  EXPECT_EQ(files.find("packages"), std::string::npos) << files;
  EXPECT_EQ(files.find(".m2"), std::string::npos) << files;
  EXPECT_NE(files.find("root/own\n"), std::string::npos) << files;
  EXPECT_EQ(result.image.layers.size(), 4u);
  EXPECT_EQ(read_file(layer(result, "agent") / "usr/lib/kiln/image.json").find("build x"), std::string::npos);
  expect_whole_store();
}

TEST_F(BuildTest, IsDoneOnceAndItsToolsAreGarbageThen) {
  build_with("compiler");
  const BakeResult first = bake();
  EXPECT_EQ(built(bake()), Lines{});
  expect_nothing_left();
  EXPECT_FALSE(fs::exists(layer(first, "build x")));
  const BakeResult again = bake();
  EXPECT_EQ(built(again), Lines{});
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.image.digest, first.image.digest);
  // Other tools, another module.
  build_with("linker");
  EXPECT_EQ(built(bake()), (Lines{"build x", "module x", "agent"}));
  // Another script, the same tools.
  build_with("linker", "touch /opt/x/more\n");
  EXPECT_EQ(built(bake()), (Lines{"module x", "agent"}));
}

TEST_F(BuildTest, IsNotDoneWhereItsConditionDoesNotHold) {
  build_with("compiler");
  spec_.modules[0].params["source"] = "built";
  write("x", "init.sh", "ls /opt > /opt/x\n");
  const BakeResult result = bake();
  EXPECT_EQ(built(result), (Lines{"base", "module a", "module x", "agent"}));
  EXPECT_EQ(read_file(layer(result, "module x") / "opt/x"), "a\nx\n");
}

TEST_F(BuildTest, IsDoneOverAFinishedImageToo) {
  const Image first = bake().image;
  build_with("compiler");
  const Image image = add_modules(store_, first, spec_.modules, options_);
  Lines names;
  for (const auto& made : image.layers) names.push_back(made.name);
  EXPECT_EQ(names, (Lines{"base", "module a", "module b", "module c", "warm", "agent", "module x at launch", "agent at launch"}));
  const fs::path made = store_.layer_folder(image.layers[6].key);
  EXPECT_EQ(read_file(made / "opt/x/said"), "here\nseed\n");
  EXPECT_EQ(read_file(made / "etc/passwd").find("compiler"), std::string::npos);
  EXPECT_NE(read_file(made / "etc/passwd").find("c:x:902"), std::string::npos);
}

TEST_F(BuildTest, ThatFailsIsToldAndLeavesTheStoreWhole) {
  build_with("compiler", "echo BUILD FAILURE\nexit 1\n");
  const std::string error = error_of_bake();
  EXPECT_NE(error.find("init.sh of module 'x' failed with exit code 1"), std::string::npos) << error;
  EXPECT_NE(error.find("BUILD FAILURE"), std::string::npos) << error;
  EXPECT_TRUE(fs::is_empty(store_.home() / "tmp"));
  expect_whole_store();
  // The tools are there for the next attempt.
  build_with("compiler");
  EXPECT_EQ(built(bake()), (Lines{"module x", "agent"}));
}

TEST_F(BakeTest, UndefinedVariablesAndFailedCommandsEndAScript) {
  write("b", "init.sh", "cat /nowhere\ntouch /opt/b\n");
  EXPECT_NE(error_of_bake().find("/nowhere"), std::string::npos);
  write("b", "init.sh", "touch /opt/$UNDEFINED\n");
  EXPECT_NE(error_of_bake().find("UNDEFINED"), std::string::npos);
}

TEST_F(BakeTest, SamePathFromTwoModulesNamesBoth) {
  write("c", "init.sh", "mkdir -p /opt/a\necho other > /opt/a/seed\n");
  const std::string error = error_of_bake();
  EXPECT_NE(error.find("modules 'a' and 'c' both write '/opt/a/seed'"), std::string::npos) << error;
  EXPECT_NE(error.find("require"), std::string::npos) << error;
  // The same content is no conflict: nobody can tell whose it is.
  write("c", "init.sh", "mkdir -p /opt/a\necho seed > /opt/a/seed\n");
  EXPECT_EQ(error_of_bake(), "no error");
}

TEST_F(BakeTest, SandboxShowsNothingOfTheHost) {
  ::setenv("KILN_TEST_SECRET", "secret", 1);
  write("c", "init.sh",
        "env > /opt/env\nls /sys/class/net > /opt/net\nhostname > /opt/name\nls /proc > /opt/proc\ncat /etc/resolv.conf > /opt/resolv\nls "
        "/ /run > /opt/ls\nrm -rf /tmp/* /var/tmp\ntouch /tmp/x /run/x\n");
  const BakeResult result = bake();
  const fs::path opt = layer(result, "module c") / "opt";
  ::unsetenv("KILN_TEST_SECRET");
  EXPECT_EQ(read_file(opt / "env").find("SECRET"), std::string::npos) << read_file(opt / "env");
  EXPECT_EQ(read_file(opt / "net"), "lo\n");
  EXPECT_EQ(read_file(opt / "name"), "kiln\n");
  EXPECT_EQ(read_file(opt / "resolv"), "");
  EXPECT_LT(split(read_file(opt / "proc"), '\n').size(), 100u);
  EXPECT_FALSE(fs::exists(opt.parent_path() / "tmp"));
  EXPECT_FALSE(fs::exists(opt.parent_path() / "run"));
  EXPECT_FALSE(fs::exists(opt.parent_path() / "etc/resolv.conf"));
  EXPECT_FALSE(fs::exists(opt.parent_path() / "usr")) << "the module's folder is the agent layer's";
}

TEST_F(BakeTest, SameInputsGiveTheSameFiles) {
  const auto describe = [&](const BakeResult& result) {
    std::string text;
    for (const auto& outcome : result.layers)
      text += outcome.layer.key + "\n" + read_file(store_.layer_folder(outcome.layer.key).parent_path() / "files");
    return text;
  };
  const std::string first = describe(bake());
  store_ = Store(folder_.path() / "other home");
  EXPECT_EQ(describe(bake()), first);
}

TEST_F(BakeTest, RemovedLayerIsMadeAgain) {
  const BakeResult first = bake();
  store_.remove_image("tiny");
  store_.collect_garbage(false, {});
  EXPECT_TRUE(fs::is_empty(store_.home() / "layers"));
  const BakeResult second = bake();
  EXPECT_EQ(built(second).size(), 6u);
  EXPECT_EQ(second.image.digest, first.image.digest);
}

// --- bad luck ---

// In a child process; its exit code, or 128 + signal.
int in_child(const std::function<int()>& work) {
  std::cout.flush();
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 1;
    try {
      code = work();
    } catch (const std::exception& error) {
      std::cerr << error.what() << "\n";
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Ends this process by SIGKILL at the n-th thing that a bake tells.
class KillAt : public EventSink {
 public:
  explicit KillAt(int n) : left_(n) {}
  void on_event(const Event&) override {
    if (--left_ == 0) ::kill(::getpid(), SIGKILL);
  }

 private:
  int left_;
};

TEST_F(BakeTest, KilledAtAnyStepTheNextBakeWorksAndGcLeavesNothing) {
  int kills = 0;
  for (int n = 1; n < 100; ++n) {
    const int code = in_child([&] {
      add_sink(std::make_shared<KillAt>(n));
      bake();
      return 0;
    });
    if (code == 0) break;
    ASSERT_EQ(code, 128 + SIGKILL);
    ++kills;
    expect_whole_store();
    // Every other time straight on, to see that leftovers are in nobody's way; else everything anew.
    if (n % 2 == 0) {
      if (store_.find_image("tiny")) store_.remove_image("tiny");
      expect_nothing_left();
    }
  }
  EXPECT_GT(kills, 8);
  EXPECT_EQ(error_of_bake(), "no error");
  expect_whole_store();
  expect_nothing_left();
  EXPECT_TRUE(built(bake()).empty());
}

TEST_F(BakeTest, TwoBakesAtOnceShareTheWork) {
  write("a", "init.sh", "mkdir -p /opt/a\nsleep 0.3\ncat \"$KILN_SOURCE_SEED\" > /opt/a/seed\n");
  const auto start = [&](const fs::path& answer) {
    std::cout.flush();
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 1;
      try {
        write_file_atomically(answer, join(built(bake()), "\n") + "\n");
        code = 0;
      } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
      }
      ::_exit(code);
    }
    return child;
  };
  const pid_t first = start(folder_.path() / "first"), second = start(folder_.path() / "second");
  for (const pid_t child : {first, second}) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::multiset<std::string> made;
  for (const char* name : {"first", "second"}) {
    for (const auto& layer : split(read_file(folder_.path() / name), '\n')) {
      if (!layer.empty()) made.insert(layer);
    }
  }
  EXPECT_EQ(made, (std::multiset<std::string>{"agent", "base", "module a", "module b", "module c", "warm"}));
}

TEST_F(BakeTest, FullDiskIsSaidAndLeavesTheStoreWhole) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root mounts a small disk";
  write("b", "init.sh", "dd if=/dev/zero of=/opt/b bs=1048576 count=64\n");
  const int code = in_child([&] {
    make_folder(store_.home());
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
    if (::mount("tmpfs", store_.home().c_str(), "tmpfs", 0, "size=32m") != 0) return 77;
    const std::string error = error_of_bake();
    EXPECT_NE(error.find("no space left on device"), std::string::npos) << error;
    EXPECT_NE(error.find("while building layer 'module b'"), std::string::npos) << error;
    EXPECT_TRUE(fs::is_empty(store_.home() / "tmp"));
    expect_whole_store();
    write("b", "init.sh", "touch /opt/b\n");
    EXPECT_EQ(error_of_bake(), "no error");
    return testing::Test::HasFailure() ? 1 : 0;
  });
  if (code == 77) GTEST_SKIP() << "no tmpfs can be mounted here";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace kiln::bake
