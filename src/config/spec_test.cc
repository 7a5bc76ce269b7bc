// Good image and cluster specs, `extends`, the search path, and parameters checked against manifests.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/files.h"
#include "config/cluster_spec.h"
#include "config/image_spec.h"

namespace kiln::config {
namespace {

// Parses files[first] with the others beside it, all in memory.
ImageSpec parse_with(const std::map<std::string, std::string>& files, const std::string& first) {
  const fs::path folder = fs::absolute("specs");
  return parse_image_spec((folder / first).string(), files.at(first), [&](const std::string& file) -> std::string {
    for (const auto& [name, text] : files) {
      if ((folder / name).lexically_normal() == file) return text;
    }
    throw UsageError("cannot open '" + file + "'");
  });
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
    return "was accepted";
  } catch (const UsageError& error) {
    return std::string(error.what()) + "\nhint: " + error.hint_text();
  }
}

TEST(ImageSpec, reads_a_spec_with_every_key) {
  const ImageSpec spec = parse_image_spec("images/spark.yaml", R"(
name: spark
summary: Apache Spark on Debian 13
base: {debian: trixie, mirror: "https://deb.example.org/debian"}
architecture: arm64
packages: [less, vim-tiny]
modules:
  - java
  - spark: {version: 4.10, jars: [a, b]}
warm: no
targets: [rootfs, oci]
epoch: 1700000000
)");
  EXPECT_EQ(spec.name, "spark");
  EXPECT_EQ(spec.file, fs::absolute("images/spark.yaml"));
  EXPECT_EQ(spec.base.kind, BaseSpec::Kind::kDebian);
  EXPECT_EQ(spec.base.suite, "trixie");
  EXPECT_EQ(spec.base.mirror, "https://deb.example.org/debian");
  EXPECT_EQ(spec.architecture, "arm64");
  EXPECT_EQ(spec.packages.size(), 2u);
  ASSERT_EQ(spec.modules.size(), 2u);
  EXPECT_EQ(spec.modules[1].params.at("version"), "4.10");
  EXPECT_EQ(spec.modules[1].params.at("jars"), "a b");
  EXPECT_FALSE(spec.warm);
  EXPECT_EQ(spec.targets, (std::vector<std::string>{"rootfs", "oci"}));
  EXPECT_EQ(spec.epoch, 1700000000);

  // What is stored with the image is a spec again.
  const ImageSpec again = parse_image_spec("images/spark.yaml", image_spec_to_json(spec).dump());
  EXPECT_EQ(image_spec_to_json(again), image_spec_to_json(spec));
}

TEST(ImageSpec, has_defaults) {
  const ImageSpec spec = parse_image_spec("x.yaml", "name: x\nbase: {ubuntu: noble}\nmodules:\npackages:\n");
  EXPECT_EQ(spec.targets, std::vector<std::string>{"rootfs"});
  EXPECT_EQ(spec.architecture, host_architecture());
  EXPECT_TRUE(spec.warm);
  EXPECT_EQ(spec.epoch, 1767225600);
}

TEST(ImageSpec, of_several_architectures_is_one_for_each) {
  const ImageSpec spec = parse_image_spec("x.yaml", "name: x\nbase: {debian: trixie}\narchitecture: [arm64, amd64]\n");
  EXPECT_EQ(spec.architectures, (std::vector<std::string>{"arm64", "amd64"}));
  const auto specs = specs_by_architecture(spec);
  ASSERT_EQ(specs.size(), 2u);
  // The first has the name that was written.
  EXPECT_EQ(specs[0].name, "x");
  EXPECT_EQ(specs[0].architecture, "arm64");
  EXPECT_EQ(specs[0].beside, std::vector<std::string>{"x-amd64"});
  EXPECT_EQ(specs[1].name, "x-amd64");
  EXPECT_EQ(specs[1].architecture, "amd64");
  EXPECT_TRUE(specs[1].beside.empty());
  EXPECT_EQ(image_spec_to_json(specs[1])["architecture"], "amd64");
}

TEST(ImageSpec, of_one_architecture_is_itself_in_a_list_or_not) {
  for (const char* written : {"arm64", "[arm64]"}) {
    const auto specs =
        specs_by_architecture(parse_image_spec("x.yaml", fmt::format("name: x\nbase: {{debian: trixie}}\narchitecture: {}\n", written)));
    ASSERT_EQ(specs.size(), 1u);
    EXPECT_EQ(specs[0].name, "x");
    EXPECT_EQ(specs[0].architecture, "arm64");
    EXPECT_TRUE(specs[0].beside.empty());
  }
}

TEST(ImageSpec, of_one_architecture_extends_one_of_two) {
  const auto read = [](const std::string&) { return std::string("name: x\nbase: {debian: trixie}\narchitecture: [amd64, arm64]\n"); };
  const ImageSpec one = parse_image_spec("y.yaml", "name: y\nextends: x.yaml\narchitecture: arm64\n", read);
  EXPECT_EQ(one.architectures, std::vector<std::string>{"arm64"});
  EXPECT_EQ(parse_image_spec("y.yaml", "name: y\nextends: x.yaml\n", read).architectures.size(), 2u);
}

TEST(ImageSpec, a_tarball_is_found_beside_the_spec) {
  const ImageSpec spec = parse_image_spec("/specs/x.yaml", "name: x\nbase: {tarball: ../base.tar, suite: bookworm}\n");
  EXPECT_EQ(spec.base.tarball, "/base.tar");
  EXPECT_EQ(suite_facts(spec.base).java_version, "17");
}

TEST(ImageSpec, extends_lays_its_own_over_the_others) {
  const ImageSpec spec =
      parse_with({{"base/base.yaml",
                   "name: base\nsummary: the base\nbase: {debian: bookworm}\npackages: [less]\nwarm: false\nmodules: [java, {spark: "
                   "{version: 3.5.8, a: 1}}]\n"},
                  {"middle.yaml", "extends: base/base.yaml\npackages: [less, vim]\n"},
                  {"top.yaml", "name: top\nextends: middle.yaml\nmodules: [python, {spark: {version: 4.1.1}}]\ntargets: [oci]\n"}},
                 "top.yaml");
  EXPECT_EQ(spec.name, "top");
  EXPECT_EQ(spec.summary, "the base");
  EXPECT_EQ(spec.base.suite, "bookworm");
  EXPECT_EQ(spec.packages, (std::vector<std::string>{"less", "vim"}));
  ASSERT_EQ(spec.modules.size(), 3u);
  EXPECT_EQ(spec.modules[1].name, "spark");
  EXPECT_EQ(spec.modules[1].params, (Values{{"version", "4.1.1"}, {"a", "1"}}));
  EXPECT_EQ(spec.modules[2].name, "python");
  EXPECT_FALSE(spec.warm);
  EXPECT_EQ(spec.targets, std::vector<std::string>{"oci"});
}

TEST(ImageSpec, specs_that_extend_each_other_are_told_with_the_chain) {
  const std::string words = refusal([] {
    parse_with({{"a.yaml", "name: a\nextends: b.yaml\n"}, {"b.yaml", "name: b\nextends: ./c.yaml\n"}, {"c.yaml", "extends: a.yaml\n"}},
               "a.yaml");
  });
  EXPECT_NE(words.find("c.yaml:1:10: image specs extend each other: a.yaml → b.yaml → c.yaml → a.yaml"), std::string::npos) << words;
  EXPECT_NE(words.find("while reading './c.yaml', which 'b.yaml' extends"), std::string::npos) << words;
}

TEST(ImageSpec, a_mistake_in_an_extended_spec_points_there) {
  const std::string words = refusal([] { parse_with({{"a.yaml", "name: a\nextends: b.yaml\n"}, {"b.yaml", "pakages: [x]\n"}}, "a.yaml"); });
  EXPECT_NE(words.find("b.yaml:1:1: unknown key 'pakages'"), std::string::npos) << words;
  EXPECT_NE(words.find("did you mean 'packages'?"), std::string::npos) << words;
}

TEST(ImageSpec, a_long_chain_of_extends_ends) {
  std::map<std::string, std::string> files;
  for (int i = 0; i < 30; ++i) files[fmt::format("{}.yaml", i)] = fmt::format("name: x\nextends: {}.yaml\n", i + 1);
  EXPECT_NE(refusal([&] { parse_with(files, "0.yaml"); }).find("more than 16 deep"), std::string::npos);
}

TEST(ImageSpec, a_parameter_that_the_module_lacks_is_told_at_its_place) {
  const Module spark = parse_module("spark", "m.yaml", "summary: s\nparams: {version: 1, worker_memory: auto}\n");
  const ImageSpec spec =
      parse_image_spec("x.yaml", "name: x\nbase: {debian: trixie}\nmodules:\n  - spark:\n      version: 2\n      worker_memroy: 1g\n");
  const std::string words = refusal([&] { check_module_choice(spec.modules[0], spark); });
  EXPECT_NE(words.find("x.yaml:6:7: module 'spark' has no parameter 'worker_memroy'"), std::string::npos) << words;
  EXPECT_NE(words.find("did you mean 'worker_memory'?"), std::string::npos) << words;
  // From an option there is no place.
  const std::string plain = refusal([&] { check_module_choice(ModuleChoice{"spark", {{"x", "1"}}}, spark); });
  EXPECT_EQ(plain, "module 'spark' has no parameter 'x'\nhint: one of version, worker_memory");
}

TEST(Suites, facts_of_the_suites_that_kiln_knows) {
  const auto facts = [](BaseSpec::Kind kind, const char* suite) {
    BaseSpec base;
    base.kind = kind;
    base.suite = suite;
    const SuiteFacts found = suite_facts(base);
    return found.java_version + "/" + found.python_version;
  };
  EXPECT_EQ(facts(BaseSpec::Kind::kDebian, "trixie"), "21/3.13");
  EXPECT_EQ(facts(BaseSpec::Kind::kDebian, "bookworm"), "17/3.11");
  EXPECT_EQ(facts(BaseSpec::Kind::kUbuntu, "noble"), "21/3.12");
  EXPECT_EQ(facts(BaseSpec::Kind::kUbuntu, "jammy"), "17/3.10");
  EXPECT_EQ(facts(BaseSpec::Kind::kTarball, ""), "/");
  EXPECT_THROW(facts(BaseSpec::Kind::kUbuntu, "trixie"), UsageError);
  BaseSpec tarball;
  tarball.kind = BaseSpec::Kind::kTarball;
  // Left out and not empty: whoever needs it is named instead of getting "openjdk--jre".
  EXPECT_EQ(builtin_values(tarball, "amd64"), (Values{{"arch", "amd64"}}));
}

class Search : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"one/spark", "one/java", "two/spark", "two/python"}) {
      make_folder(temporary_.path() / name);
      write_file_atomically(temporary_.path() / name / "module.yaml", "summary: s\n");
    }
    make_folder(temporary_.path() / "two/no-module");
    make_folder(temporary_.path() / "images");
    write_file_atomically(temporary_.path() / "images/spark.yaml", "name: spark\nbase: {debian: trixie}\n");
    ::setenv("KILN_MODULES", (temporary_.path() / "two").c_str(), 1);
    ::setenv("KILN_IMAGES", (temporary_.path() / "images").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("KILN_MODULES");
    ::unsetenv("KILN_IMAGES");
  }
  TemporaryFolder temporary_;
};

TEST_F(Search, folders_named_by_the_user_come_before_the_environments) {
  const SearchPath path = SearchPath::for_modules({temporary_.path() / "one"});
  EXPECT_EQ(find_module(path, "spark"), temporary_.path() / "one/spark");
  EXPECT_EQ(find_module(path, "python"), temporary_.path() / "two/python");
  const SearchPath only_these{{temporary_.path() / "one", temporary_.path() / "two"}};
  EXPECT_EQ(list_modules(only_these),
            (std::vector<fs::path>{temporary_.path() / "one/java", temporary_.path() / "two/python", temporary_.path() / "one/spark"}));
}

TEST_F(Search, a_module_that_is_not_there_is_told_with_the_nearest) {
  const SearchPath path = SearchPath::for_modules({temporary_.path() / "one"});
  EXPECT_EQ(refusal([&] { find_module(path, "sprak"); }), "there is no module 'sprak'\nhint: did you mean 'spark'?");
  EXPECT_NE(refusal([&] { find_module(path, "nothing-like-it"); }).find("looked in "), std::string::npos);
  EXPECT_NE(refusal([] { SearchPath::for_modules({"no/such/folder"}); }).find("cannot look for modules in 'no/such/folder'"),
            std::string::npos);
  const ImageSpec spec = parse_image_spec("x.yaml", "name: x\nbase: {debian: trixie}\nmodules: [jvaa]\n");
  const std::string words = refusal([&] { find_module(path, spec.modules[0]); });
  EXPECT_NE(words.find("x.yaml:3:11: there is no module 'jvaa'"), std::string::npos) << words;
}

TEST_F(Search, image_specs_are_found_by_name_or_path) {
  EXPECT_EQ(find_image_spec("spark"), temporary_.path() / "images/spark.yaml");
  EXPECT_EQ(find_image_spec((temporary_.path() / "images/spark.yaml").string()), temporary_.path() / "images/spark.yaml");
  EXPECT_EQ(refusal([] { find_image_spec("sparc"); }), "there is no image spec 'sparc'\nhint: did you mean 'spark'?");
  const std::string near = refusal([&] { find_image_spec((temporary_.path() / "images/sparc.yaml").string()); });
  EXPECT_NE(near.find("images/spark.yaml'?"), std::string::npos) << near;
  EXPECT_NE(refusal([&] { find_image_spec(temporary_.path().string() + "/images/"); }).find("it is a folder"), std::string::npos);
}

TEST(ClusterSpec, reads_a_spec_with_every_key_and_comes_back_from_json) {
  TemporaryFolder folder;
  make_folder(folder.path() / "deploy");
  write_file_atomically(folder.path() / "prepare.sh", "#!/bin/sh\necho ready\n");
  write_file_atomically(folder.path() / "cluster.yaml", R"(
name: demo
on: aws
image: ./spark.yaml
masters: 3
workers: 0
node: {cpus: 1.5, memory: 2g}
master: {memory: 512m}
modules: [extra, {spark: {worker_memory: 1g}}]
ttl: 1d12h
idle: 45m
swap: 4g
user_data: prepare.sh
deploy_root: ./deploy
)");
  const ClusterSpec spec = load_cluster_spec(folder.path() / "cluster.yaml");
  EXPECT_NO_THROW(check_cluster_spec(spec));
  EXPECT_EQ(spec.name, "demo");
  EXPECT_EQ(spec.image, (folder.path() / "spark.yaml").string());
  EXPECT_EQ(spec.masters, 3);
  EXPECT_EQ(spec.workers, 0);
  EXPECT_DOUBLE_EQ(spec.node.cpus, 1.5);
  EXPECT_EQ(spec.node.memory_bytes, 2LL << 30);
  EXPECT_EQ(spec.master->memory_bytes, 512LL << 20);
  EXPECT_EQ(spec.modules[1].params.at("worker_memory"), "1g");
  EXPECT_EQ(spec.ttl->count(), 129600);
  EXPECT_EQ(spec.idle->count(), 2700);
  EXPECT_EQ(spec.swap_bytes, 4LL << 30);
  EXPECT_EQ(spec.user_data, "#!/bin/sh\necho ready\n");
  EXPECT_EQ(*spec.deploy_root, folder.path() / "deploy");

  const Json json = cluster_spec_to_json(spec);
  EXPECT_EQ(cluster_spec_to_json(cluster_spec_from_json(Json::parse(json.dump()))), json);
}

TEST(ClusterSpec, all_but_the_name_has_defaults) {
  ClusterSpec spec = parse_cluster_spec("c.yaml", "workers: 4\n");
  EXPECT_EQ(spec.workers, 4);
  EXPECT_EQ(spec.masters, 1);
  EXPECT_EQ(spec.provider, "local");
  spec.name = "demo";
  EXPECT_NO_THROW(check_cluster_spec(spec));
  EXPECT_EQ(cluster_spec_to_json(cluster_spec_from_json(cluster_spec_to_json(spec))), cluster_spec_to_json(spec));
}

TEST(ImageSpec, reads_what_amis_are_wanted_and_comes_back_from_json) {
  const ImageSpec spec = parse_image_spec("images/x.yaml", R"(
name: x
base: {debian: trixie}
ami:
  regions: [us-east-1, us-gov-west-1]
  profiles: [default, gov]
  virtualization: [hvm, paravirtual]
  boot_modes: [legacy-bios, uefi-preferred]
  kms_key: {us-east-1: "arn:aws:kms:us-east-1:123456789012:key/1"}
  launch_permissions: {accounts: ["012345678901"]}
  tags: {team: data}
  deprecate_after: 90d
  fast_snapshot_restore: [us-east-1a]
)");
  ASSERT_TRUE(spec.ami);
  EXPECT_FALSE(spec.ami->all_regions);
  EXPECT_EQ(spec.ami->regions, (std::vector<std::string>{"us-east-1", "us-gov-west-1"}));
  EXPECT_TRUE(spec.ami->encrypted);
  EXPECT_EQ(spec.ami->accounts, std::vector<std::string>{"012345678901"});
  EXPECT_EQ(spec.ami->deprecate_after, std::chrono::hours(24 * 90));
  EXPECT_EQ(image_spec_to_json(image_spec_from_json(image_spec_to_json(spec))), image_spec_to_json(spec));
  const ImageSpec all = parse_image_spec("images/x.yaml", "name: x\nbase: {debian: trixie}\nami: {regions: all}\n");
  EXPECT_TRUE(all.ami->all_regions);
  EXPECT_EQ(image_spec_to_json(image_spec_from_json(image_spec_to_json(all))), image_spec_to_json(all));
  EXPECT_FALSE(parse_image_spec("images/x.yaml", "name: x\nbase: {debian: trixie}\n").ami);
}

TEST(ClusterSpec, values_from_options_are_checked_too) {
  const auto with = [](const std::function<void(ClusterSpec&)>& change) {
    ClusterSpec spec;
    spec.name = "demo";
    change(spec);
    return refusal([&] { check_cluster_spec(spec); });
  };
  EXPECT_NE(with([](auto& spec) { spec.name = "Demo"; }).find("'Demo' is no cluster name"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.masters = 0; }).find("the number of masters must be 1 to 9, found 0"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.workers = 5001; }).find("the number of workers must be 0 to 5000, found 5001"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.node.memory_bytes = 2; }).find("did you mean '2g'?"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.node.cpus = -1; }).find("cpus must be 0 to 4096"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.ttl = std::chrono::seconds(5); }).find("ttl must be one minute"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.modules = {{"a", {}}, {"a", {}}}; }).find("module 'a' is chosen twice"), std::string::npos);
  EXPECT_NE(with([](auto& spec) { spec.image = "A B"; }).find("'A B' is no image name"), std::string::npos);
}

TEST(ClusterSpec, json_that_is_wrong_names_the_member) {
  Json json = cluster_spec_to_json(parse_cluster_spec("c.yaml", "name: demo\n"));
  json["workers"] = "two";
  try {
    cluster_spec_from_json(json);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "cluster spec: 'workers' must be a whole number, found text");
  }
}

}  // namespace
}  // namespace kiln::config
