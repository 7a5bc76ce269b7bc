// Plans: a key changes with what it stands for and with nothing else, and --explain says what that was.
#include "bake/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/files.h"

namespace kiln::bake {
namespace {

class PlanTest : public testing::Test {
 protected:
  void SetUp() override {
    module("java", "summary: j\npackages: {debian: [\"openjdk-{java_version}-jre-headless\"]}\n", {{"init.sh", "java"}});
    module("spark",
           "summary: s\nrequires: [java]\nparams: {version: 4.1.1}\nsources: {spark: {url: \"http://h/{version}\", sha256: \"" +
               std::string(64, 'a') + "\"}}\n",
           {{"init.sh", "spark"}, {"setup.sh", "setup"}, {"warm.sh", "warm"}, {"files/daemon", "d"}});
    module("hadoop", "summary: h\nrequires: [java]\n", {{"init.sh", "hadoop"}});
    spec_.name = "image";
    spec_.base.suite = "trixie";
    spec_.architecture = "amd64";
    choose({"spark", "hadoop"});
  }

  void module(const std::string& name, const std::string& manifest, const std::map<std::string, std::string>& files) {
    make_folder(folder_.path() / name / "files");
    write(name, "module.yaml", manifest);
    for (const auto& [file, text] : files) write(name, file, text);
  }
  void write(const std::string& name, const std::string& file, const std::string& text) {
    write_file_atomically(folder_.path() / name / file, text);
  }
  void choose(const std::vector<std::string>& names) {
    spec_.modules.clear();
    for (const auto& name : names) {
      config::ModuleChoice choice;
      choice.name = name;
      spec_.modules.push_back(choice);
    }
  }

  Plan plan(const std::string& agent = "agent") {
    const auto builtins = config::builtin_values(spec_.base, spec_.architecture);
    return make_plan(spec_, plan_modules(spec_, {{folder_.path()}}, builtins), agent,
                     {[&](const SourceRequest&) { return source_.empty() ? std::nullopt : std::optional(source_); },
                      [&](const std::string&) { return family_; }});
  }
  std::optional<std::string> family_;  // of a base that is no suite
  std::map<std::string, Json> layers(const Plan& made) {
    std::map<std::string, Json> all;
    for (const auto& layer : made.layers) all[layer.name] = {{"key", layer.key}, {"inputs", layer.inputs}};
    return all;
  }
  // "name: why" of the layers whose keys changed by `change`.
  std::vector<std::string> changed_by(const std::function<void()>& change, const std::string& agent = "agent") {
    const auto before = layers(plan());
    change();
    std::vector<std::string> changed;
    for (const auto& layer : plan(agent).layers) {
      const auto found = before.find(layer.name);
      if (found == before.end())
        changed.push_back(layer.name + ": new");
      else if (found->second["key"] != layer.key)
        changed.push_back(layer.name + ": " + explain_change(found->second["inputs"], layer.inputs));
    }
    return changed;
  }
  using Lines = std::vector<std::string>;

  TemporaryFolder folder_;
  config::ImageSpec spec_;
  std::string source_ = "digest";
};

TEST_F(PlanTest, LayersStandOnWhatTheyRequire) {
  const Plan made = plan();
  std::map<std::string, Lines> below;
  Lines names;
  for (const auto& layer : made.layers) {
    names.push_back(layer.name);
    for (const std::size_t index : layer.below) below[layer.name].push_back(made.layers[index].name);
  }
  EXPECT_EQ(names, (Lines{"base", "packages", "module java", "module hadoop", "module spark", "warm", "agent"}));
  EXPECT_EQ(below["module spark"], (Lines{"base", "packages", "module java"}));
  // What has nothing to do with Spark has nothing to do with its warming up.
  EXPECT_EQ(below["warm"], (Lines{"base", "packages", "module java", "module spark"}));
  EXPECT_EQ(below["agent"], (Lines{"base", "packages", "module java", "module hadoop", "module spark", "warm"}));
  EXPECT_EQ(made.layers[1].inputs["packages"], Json({"openjdk-21-jre-headless"}));
}

TEST_F(PlanTest, TheWarmLayerStandsOnWhoeverHasToDoWithIt) {
  module("connector", "summary: adds to Spark\nrequires: [spark, driver]\n", {{"init.sh", "connector"}});
  module("driver", "summary: a driver\n", {{"init.sh", "driver"}});
  module("late", "summary: may add to Spark\nafter: [spark]\n", {{"init.sh", "late"}});
  module("spark", "summary: s\nrequires: [java]\nafter: [early]\n", {{"init.sh", "spark"}, {"warm.sh", "warm"}});
  module("early", "summary: e\n", {{"init.sh", "early"}});
  choose({"connector", "late", "early", "hadoop"});
  const Plan made = plan();
  std::set<std::string> below;
  for (const auto& layer : made.layers) {
    if (layer.name != "warm") continue;
    for (const std::size_t index : layer.below) below.insert(made.layers[index].name);
  }
  EXPECT_EQ(below, (std::set<std::string>{"base", "packages", "module java", "module spark", "module connector", "module driver",
                                          "module late", "module early"}));
}

TEST_F(PlanTest, SameInputsSameKeysHoweverTheSpecListsThem) {
  const std::string digest = plan().digest();
  EXPECT_EQ(plan().digest(), digest);
  choose({"hadoop", "java", "spark"});
  EXPECT_EQ(plan().digest(), digest);
}

TEST_F(PlanTest, ChangedInitRebuildsItsLayerAndThoseAbove) {
  EXPECT_EQ(changed_by([&] { write("spark", "init.sh", "other"); }),
            (Lines{"module spark: init.sh of module spark changed", "warm: the layer 'module spark' below it changed",
                   "agent: init.sh of module spark changed"}));
  EXPECT_EQ(changed_by([&] { write("java", "init.sh", "other"); }),
            (Lines{"module java: init.sh of module java changed", "module hadoop: the layer 'module java' below it changed",
                   "module spark: the layer 'module java' below it changed", "warm: the layer 'module java' below it changed",
                   "agent: init.sh of module java changed"}));
}

TEST_F(PlanTest, WhatRunsOnNodesOnlyCostsNoRebuild) {
  module("hadoop", "summary: h\nrequires: [java]\n", {{"setup.sh", "one"}});
  EXPECT_EQ(changed_by([&] { write("hadoop", "setup.sh", "other"); }), (Lines{"agent: setup.sh of module hadoop changed"}));
  // A warm-up may set the software up.
  EXPECT_EQ(changed_by([&] { write("spark", "setup.sh", "other"); }),
            (Lines{"warm: setup.sh of module spark changed", "agent: setup.sh of module spark changed"}));
  EXPECT_EQ(changed_by([&] { write("hadoop", "test.sh", "new"); }), (Lines{"agent: test.sh of module hadoop was added"}));
  EXPECT_EQ(changed_by([] {}, "other agent"), (Lines{"agent: kiln-node changed"}));
  EXPECT_EQ(changed_by([&] { write("spark", "warm.sh", "other"); }),
            (Lines{"warm: warm.sh of module spark changed", "agent: warm.sh of module spark changed"}));
}

TEST_F(PlanTest, OtherFilesAndTheirModesCount) {
  EXPECT_EQ(changed_by([&] { write("spark", "files/daemon", "other"); }).front(), "module spark: files/daemon of module spark changed");
  EXPECT_EQ(
      changed_by([&] { fs::permissions(folder_.path() / "spark/files/daemon", fs::perms::owner_exec, fs::perm_options::add); }).front(),
      "module spark: files/daemon of module spark changed");
  EXPECT_EQ(changed_by([&] { fs::remove(folder_.path() / "spark/files/daemon"); }).front(),
            "module spark: files/daemon of module spark was removed");
  EXPECT_TRUE(changed_by([&] { write("spark", "init.sh~", "an editor's"); }).empty());
}

TEST_F(PlanTest, ParametersAndSourcesCount) {
  EXPECT_EQ(changed_by([&] {
              spec_.modules[0].params = {{"version", "3.5.8"}};
            }).front(),
            "module spark: parameter 'version' of module spark: 4.1.1 → 3.5.8");
  EXPECT_EQ(changed_by([&] { source_ = "other"; }),
            (Lines{"module spark: source 'spark' of module spark changed", "warm: the layer 'module spark' below it changed",
                   "agent: the layer 'module spark' below it changed"}));
}

TEST_F(PlanTest, PackagesBaseAndEpochCount) {
  EXPECT_EQ(changed_by([&] { spec_.packages = {"less"}; })[0], "packages: packages added: less");
  EXPECT_EQ(changed_by([&] { spec_.packages = {}; })[1], "module java: the layer 'packages' below it changed");
  EXPECT_EQ(changed_by([&] { spec_.base.suite = "bookworm"; })[0], "base: suite: trixie → bookworm");
  EXPECT_EQ(changed_by([&] { spec_.base.mirror = "http://m"; })[0], "base: mirror: (empty) → http://m");
  EXPECT_EQ(changed_by([&] { spec_.epoch += 1; })[0], "base: epoch: 1767225600 → 1767225601");
  EXPECT_EQ(changed_by([&] { spec_.architecture = "arm64"; })[0], "base: architecture: amd64 → arm64");
}

TEST_F(PlanTest, NewModuleLeavesTheOthersAlone) {
  choose({"hadoop"});
  EXPECT_EQ(changed_by([&] { choose({"hadoop", "spark"}); }), (Lines{"module spark: new", "warm: new", "agent: module spark was added"}));
}

TEST_F(PlanTest, UnknownSourceLeavesKeysOpen) {
  source_.clear();
  const Plan made = plan();
  for (const auto& layer : made.layers) {
    EXPECT_EQ(layer.key.empty(), layer.name == "module spark" || layer.name == "warm" || layer.name == "agent") << layer.name;
  }
  EXPECT_EQ(made.digest(), "");
}

TEST_F(PlanTest, ModuleWithoutInitHasNoLayer) {
  fs::remove(folder_.path() / "hadoop/init.sh");
  for (const auto& layer : plan().layers) EXPECT_NE(layer.name, "module hadoop");
  spec_.warm = false;
  for (const auto& layer : plan().layers) EXPECT_NE(layer.name, "warm");
}

TEST_F(PlanTest, AfterIsOrderOnly) {
  module("early", "summary: e\nafter: [spark, notthere]\n", {{"init.sh", "x"}});
  choose({"early", "spark"});
  const Plan made = plan();
  EXPECT_EQ(made.modules.back().manifest.name, "early");
  EXPECT_TRUE(made.modules.back().below.empty());
}

TEST_F(PlanTest, CircleIsShown) {
  module("a", "summary: a\nrequires: [b]\n", {});
  module("b", "summary: b\nafter: [a]\n", {});
  choose({"a"});
  try {
    plan();
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(std::string(error.what()), "modules wait for each other in a circle: a → b → a");
  }
}

TEST_F(PlanTest, MissingRequiredModuleNamesWhoRequiresIt) {
  module("a", "summary: a\nrequires: [jawa]\n", {});
  choose({"a"});
  try {
    plan();
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("module 'a' requires"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("'jawa'"), std::string::npos) << error.what();
  }
}

TEST_F(PlanTest, KnowsWhichParametersConcernBaking) {
  module("m",
         "summary: m\nparams: {version: 1, flavour: x, heap: 1g, tool: t}\nsources: {s: {url: \"http://h/{version}\", sha256: \"" +
             std::string(64, 'a') + "\"}}\npackages: {debian: [\"{tool}\"]}\n",
         {{"init.sh", "echo $KILN_PARAM_FLAVOUR"}, {"setup.sh", "echo $KILN_PARAM_HEAP"}});
  const auto manifest = config::load_module(folder_.path() / "m");
  EXPECT_TRUE(concerns_baking(manifest, "version"));
  EXPECT_TRUE(concerns_baking(manifest, "flavour"));
  EXPECT_TRUE(concerns_baking(manifest, "tool"));
  EXPECT_FALSE(concerns_baking(manifest, "heap"));
}

class BuiltModuleTest : public PlanTest {
 protected:
  void SetUp() override {
    PlanTest::SetUp();
    module(
        "spark",
        "summary: s\nrequires: [java]\nparams: {source: {default: pypi, values: [pypi, git]}, repo: \"https://h/r\", ref: \"\", jdk: x}\n"
        "sources:\n  spark: {pypi: s==1, if: {source: pypi}}\n  tree: {git: \"{repo}\", ref: \"{ref}\", if: {source: git}}\n"
        "build: {if: {source: git}, packages: {debian: [maven, \"{jdk}\"]}, network: true}\n",
        {{"init.sh", "spark"}});
  }
  void choose_with(const config::Values& params) { spec_.modules = {{"spark", params}, {"hadoop", {}}}; }
  std::string error_of_plan() {
    try {
      plan();
    } catch (const UsageError& error) {
      return error.message();
    }
    return "no UsageError";
  }
};

TEST_F(BuiltModuleTest, HasALayerOfItsOwnForWhatItIsBuiltWith) {
  choose_with({{"source", "git"}, {"ref", "v1"}});
  const Plan made = plan();
  std::map<std::string, Lines> below;
  Lines names;
  for (const auto& layer : made.layers) {
    names.push_back(layer.name);
    for (const std::size_t index : layer.below) below[layer.name].push_back(made.layers[index].name);
  }
  EXPECT_EQ(names, (Lines{"base", "packages", "module java", "module hadoop", "build spark", "module spark", "warm", "agent"}));
  EXPECT_EQ(below["build spark"], (Lines{"base", "packages", "module java"}));
  EXPECT_EQ(below["module spark"], (Lines{"base", "packages", "module java", "build spark"}));
  EXPECT_EQ(below["warm"], (Lines{"base", "packages", "module java", "module spark"}));
  EXPECT_EQ(below["agent"], (Lines{"base", "packages", "module java", "module hadoop", "module spark", "warm"}));
  auto all = layers(made);
  EXPECT_EQ(all["build spark"]["inputs"]["packages"], Json({"maven", "x"}));
  EXPECT_EQ(all["module spark"]["inputs"]["network"], true);
  EXPECT_EQ(all["module spark"]["inputs"]["sources"], Json({{"tree", "digest"}}));
  EXPECT_EQ(all["packages"]["inputs"]["packages"], Json({"openjdk-21-jre-headless"}));
}

TEST_F(BuiltModuleTest, IsAnotherWhenItsToolsAre) {
  choose_with({{"source", "git"}, {"ref", "v1"}});
  EXPECT_EQ(changed_by([&] {
              choose_with({{"source", "git"}, {"ref", "v1"}, {"jdk", "y"}});
            }),
            (Lines{"build spark: packages added: y; packages removed: x", "module spark: parameter 'jdk' of module spark: x → y",
                   "warm: parameter 'jdk' of module spark: x → y", "agent: parameter 'jdk' of module spark: x → y"}));
}

TEST_F(BuiltModuleTest, IsAsAnyOtherWhereTheConditionDoesNotHold) {
  choose_with({});
  const Plan made = plan();
  auto all = layers(made);
  EXPECT_EQ(all.count("build spark"), 0u);
  EXPECT_EQ(all["module spark"]["inputs"]["network"], false);
  EXPECT_EQ(all["module spark"]["inputs"]["sources"], Json({{"spark", "digest"}}));
}

TEST_F(BuiltModuleTest, IsNotPlannedFromNothing) {
  choose_with({{"source", "git"}});
  EXPECT_EQ(error_of_plan(), "it says no commit, tag or branch (parameter 'ref')");
  choose_with({{"source", "git"}, {"ref", "--upload-pack=x"}});
  EXPECT_EQ(error_of_plan(), "'--upload-pack=x' is no commit, tag or branch (parameter 'ref')");
  choose_with({{"source", "git"}, {"ref", "v1"}, {"repo", "ext::sh -c x"}});
  EXPECT_EQ(error_of_plan(), "'ext::sh -c x' is no URL of a git repository (parameter 'repo')");
  choose_with({{"source", "gti"}});
  EXPECT_EQ(error_of_plan(), "parameter 'source' of module 'spark' cannot be 'gti'");
}

TEST_F(BuiltModuleTest, IsChangedByTheParametersOfItsConditions) {
  const auto manifest = config::load_module(folder_.path() / "spark");
  for (const char* parameter : {"source", "repo", "ref", "jdk"}) EXPECT_TRUE(concerns_baking(manifest, parameter)) << parameter;
}

TEST_F(PlanTest, PackagesAreThoseOfWhatTheBaseHas) {
  module("tool", "summary: t\npackages: {debian: [less, vim-tiny], rpm: [less, vim-minimal]}\n", {{"init.sh", "x"}});
  choose({"tool"});
  spec_.packages = {"curl"};
  spec_.family_packages = {{"debian", {"apt-utils"}}, {"rpm", {"dnf-utils"}}};
  EXPECT_EQ(layers(plan())["packages"]["inputs"]["packages"], Json({"apt-utils", "curl", "less", "vim-tiny"}));
  spec_.base = {};
  spec_.base.kind = config::BaseSpec::Kind::kOci;
  spec_.base.oci = "registry.example/base:1";
  // Before the base is there nothing above it has a key.
  source_.clear();
  EXPECT_EQ(layers(plan())["packages"]["key"], "");
  source_ = "digest";
  EXPECT_NE(layers(plan())["base"]["key"], "");
  EXPECT_EQ(layers(plan())["packages"]["key"], "");
  family_ = "rpm";
  auto on_rpm = layers(plan());
  EXPECT_EQ(on_rpm["packages"]["inputs"]["packages"], Json({"curl", "dnf-utils", "less", "vim-minimal"}));
  EXPECT_EQ(on_rpm["packages"]["inputs"]["family"], "rpm");
  family_ = "debian";
  EXPECT_EQ(layers(plan())["packages"]["inputs"]["packages"], Json({"apt-utils", "curl", "less", "vim-tiny"}));
  family_ = "";
  EXPECT_THROW(plan(), Error);
}

TEST_F(PlanTest, AtLaunchOnlyWhatTheImageLacksIsInstalled) {
  choose({"java"});
  const auto baked = plan();
  Image image;
  image.name = "image";
  for (const auto& layer : baked.layers) image.layers.push_back({layer.key, layer.name, "", 0, 0, 0, 0, layer.inputs});
  for (const auto& planned : baked.modules) image.modules.push_back({planned.manifest, planned.params});
  module("r", "summary: r\nrequires: [java]\npackages: {debian: [r-base, openjdk-21-jre-headless]}\n", {{"init.sh", "r"}});
  choose({"r"});
  const auto builtins = config::builtin_values(spec_.base, spec_.architecture);
  const Ground on{image, "at launch", "deploy"};
  const auto added = make_plan(spec_, without_modules_of(image, plan_modules(spec_, {{folder_.path()}}, builtins)), "agent",
                               {[](const SourceRequest&) { return std::nullopt; }}, &on);
  std::vector<std::string> names;
  for (const auto& layer : added.layers) names.push_back(layer.name);
  EXPECT_EQ(names, (std::vector<std::string>{"base", "packages", "module java", "agent", "packages at launch", "module r at launch",
                                             "agent at launch"}));
  EXPECT_EQ(added.layers[4].inputs.at("packages"), Json({"r-base"}));
  EXPECT_EQ(added.layers[5].below, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace kiln::bake
