// Good manifests, their JSON, placeholders, and what `kiln module check` says of a folder.
#include "config/module.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/files.h"

namespace kiln::config {
namespace {

// Every key that a manifest may have.
constexpr char kFull[] = R"yaml(
summary: Apache Spark, standalone
requires: [java]
after: [hadoop]
params:
  version: {default: 4.1.1, doc: Spark's version}
  worker_memory: auto
  history: false
  java: "{java_version}"
  jars: [a, b]
  nothing:
network: yes
packages:
  debian: [procps, "openjdk-{java}-jre-headless"]
  rpm: procps-ng
sources:
  spark:
    - pypi: "pyspark=={version}"
      sdist: true
      unpack: true
    - url: "https://example.org/spark-{version}.tgz"
      sha256: ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789
      unpack: true
  jars: {maven: ["org.eclipse.jdt:ecj:3.40.0"], transitive: false}
  wheels: {pypi: ["numpy==2.2.6", "pyarrow[x]==1!2.0+cpu"]}
  tool: {git: "https://example.org/tool.git", ref: v1.2}
  seed: {file: files/seed.txt}
services:
  master:
    on: master
    user: spark
    exec: /opt/spark/kiln/daemon master
    env: {SPARK_NO_DAEMONIZE: 1, EMPTY: }
    directory: /work
    ports: {rpc: 7077, ui: "{version}"}
    ui: {port: 8080, path: /x, title: Spark master}
    enabled: "{history}"
    after: [hdfs.namenode]
    ready: {http: "http://{node}:8080/json/", contains: '"ALIVE"', timeout: 2m}
    restart: on-failure
    stop: {signal: SIGINT, timeout: 30}
  worker: {on: worker, exec: daemon worker, gate: master, ready: {log: [registered, standing by]}}
  other: {exec: "x {{ \"{node}\" }}", ready: {tcp: "{address}:80"}, after: spark.worker}
commands:
  submit: {exec: /opt/spark/kiln/submit, user: spark, doc: runs an application}
appliance:
  params:
    version: {variable: SPARK_VERSION, options: [-v, --version], kind: number, prefix: "4"}
    nothing: {options: -n}
  services:
    master: {variable: START_MASTER, unless: nothing}
    worker: {variable: START_WORKER, default: false, if: nothing, needs: [master, other]}
)yaml";

TEST(Module, reads_a_manifest_with_every_key) {
  const Module module = parse_module("spark", "module.yaml", kFull);
  EXPECT_EQ(module.summary, "Apache Spark, standalone");
  EXPECT_EQ(module.requires_modules, std::vector<std::string>{"java"});
  EXPECT_EQ(module.after, std::vector<std::string>{"hadoop"});
  EXPECT_EQ(module.params.at("version").default_value, "4.1.1");
  EXPECT_EQ(module.params.at("version").doc, "Spark's version");
  EXPECT_EQ(module.params.at("history").default_value, "false");
  EXPECT_EQ(module.params.at("jars").default_value, "a b");
  EXPECT_EQ(module.params.at("nothing").default_value, "");
  EXPECT_TRUE(module.network);
  EXPECT_EQ(module.packages.at("rpm"), std::vector<std::string>{"procps-ng"});

  ASSERT_EQ(module.sources.size(), 5u);
  const auto& spark = module.sources[0].mirrors;
  ASSERT_EQ(spark.size(), 2u);
  EXPECT_EQ(spark[0].kind, SourceLocation::Kind::kPypi);
  EXPECT_TRUE(spark[0].sdist && spark[0].unpack);
  EXPECT_EQ(spark[1].sha256, "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789");
  EXPECT_FALSE(module.sources[1].mirrors[0].transitive);
  EXPECT_EQ(module.sources[2].mirrors[0].what.size(), 2u);
  EXPECT_EQ(module.sources[3].mirrors[0].ref, "v1.2");
  EXPECT_EQ(module.sources[4].mirrors[0].kind, SourceLocation::Kind::kFile);

  ASSERT_EQ(module.services.size(), 3u);
  const Service& master = module.services[0];
  EXPECT_EQ(master.on, "master");
  EXPECT_EQ(master.env.at("SPARK_NO_DAEMONIZE"), "1");
  EXPECT_EQ(master.env.at("EMPTY"), "");
  EXPECT_EQ(master.ports.at("rpc"), "7077");
  EXPECT_EQ(master.ui->path, "/x");
  EXPECT_EQ(master.ready.kind, Ready::Kind::kHttp);
  EXPECT_EQ(master.ready.contains, "\"ALIVE\"");
  EXPECT_EQ(master.ready.timeout_seconds, 120);
  EXPECT_EQ(master.stop_signal, "INT");
  EXPECT_EQ(master.stop_timeout_seconds, 30);
  EXPECT_EQ(module.services[1].gate, std::vector<std::string>{"master"});
  EXPECT_EQ(module.services[1].ready.kind, Ready::Kind::kLog);
  EXPECT_EQ(module.services[1].ready.target, "registered\nstanding by");
  EXPECT_EQ(module.commands.at("submit").user, "spark");
  ASSERT_EQ(module.appliance.params.size(), 2u);
  EXPECT_EQ(module.appliance.params[0].options, (std::vector<std::string>{"-v", "--version"}));
  EXPECT_EQ(module.appliance.params[0].kind, "number");
  EXPECT_EQ(module.appliance.params[1].options, std::vector<std::string>{"-n"});
  ASSERT_EQ(module.appliance.services.size(), 2u);
  EXPECT_EQ(module.appliance.services[0].unless_given, "nothing");
  EXPECT_FALSE(module.appliance.services[1].on);
  EXPECT_EQ(module.appliance.services[1].needs, (std::vector<std::string>{"master", "other"}));
}

TEST(Module, comes_back_from_json_as_it_went) {
  const Json json = module_to_json(parse_module("spark", "module.yaml", kFull));
  const Module back = module_from_json(Json::parse(json.dump()));
  EXPECT_EQ(module_to_json(back), json);
  EXPECT_EQ(back.services[0].stop_signal, "INT");
  EXPECT_EQ(back.sources[0].mirrors[1].what[0], "https://example.org/spark-{version}.tgz");
}

TEST(Module, json_that_is_wrong_names_the_member) {
  const Json good = module_to_json(parse_module("spark", "module.yaml", kFull));
  const auto message = [&](const char* pointer, const Json& value) -> std::string {
    Json bad = good;
    bad[Json::json_pointer(pointer)] = value;
    try {
      module_from_json(bad);
      return "was accepted";
    } catch (const Error& error) {
      return error.message();
    }
  };
  EXPECT_EQ(message("/services/0/on", "boss"), "module: 'services[0].on' cannot be 'boss'");
  EXPECT_EQ(message("/services/1/exec", 1), "module: 'services[1].exec' must be text, found a number");
  EXPECT_EQ(message("/sources/0/mirrors/1/kind", "ftp"), "module: 'sources[0].mirrors[1].kind' cannot be 'ftp'");
  EXPECT_EQ(message("/services/0/stop/timeout", -1), "module: 'services[0].stop.timeout' must be 0 to 86400, found -1");
  EXPECT_EQ(message("/colour", "red"), "module: 'colour' is unknown here");
  EXPECT_EQ(message("/params/version/default", Json::array()), "module: 'params.version.default' must be text, found a list");
}

constexpr const char* kBuilt = R"(
summary: s
params:
  source: {default: pypi, values: [pypi, git]}
  jdk: 17
sources:
  it:
    - {pypi: "it==1", if: {source: pypi}}
    - {git: "https://example.org/it", ref: v1, if: {source: git, jdk: "17"}}
build:
  if: {source: git}
  packages: {debian: ["openjdk-{jdk}-jdk-headless", "grub-pc-bin [amd64]"], rpm: [maven]}
  network: true
)";

TEST(Module, says_what_is_needed_to_build_it_and_when) {
  const Module module = parse_module("it", "module.yaml", kBuilt);
  EXPECT_EQ(module.params.at("source").values, (std::vector<std::string>{"pypi", "git"}));
  ASSERT_TRUE(module.build);
  EXPECT_EQ(module.build->condition, (Condition{{"source", "git"}}));
  EXPECT_EQ(module.build->packages.at("debian").at(0), "openjdk-{jdk}-jdk-headless");
  EXPECT_TRUE(module.build->network);
  EXPECT_FALSE(module.network);
  EXPECT_EQ(module.sources.at(0).mirrors.at(1).condition, (Condition{{"jdk", "17"}, {"source", "git"}}));
  const Json json = module_to_json(module);
  EXPECT_EQ(module_to_json(module_from_json(Json::parse(json.dump()))), json);
}

TEST(Module, a_condition_holds_when_all_parameters_are_what_it_says) {
  EXPECT_TRUE(holds({}, {}));
  EXPECT_TRUE(holds({{"source", "git"}}, {{"source", "git"}, {"ref", ""}}));
  EXPECT_FALSE(holds({{"source", "git"}}, {{"source", "pypi"}}));
  EXPECT_FALSE(holds({{"source", "git"}, {"ref", "x"}}, {{"source", "git"}, {"ref", ""}}));
  EXPECT_FALSE(holds({{"source", "git"}}, {}));
}

TEST(Module, a_parameter_may_have_some_values_only) {
  const Module module = parse_module("it", "module.yaml", kBuilt);
  EXPECT_EQ(effective_params(module, {{"source", "git"}}, {}).at("source"), "git");
  try {
    effective_params(module, {{"source", "gti"}}, {});
    FAIL() << "was accepted";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.message(), "parameter 'source' of module 'it' cannot be 'gti'");
    EXPECT_EQ(error.hint_text(), "did you mean 'git'?");
  }
}

TEST(Module, alternatives_that_are_switched_may_share_a_port) {
  EXPECT_NO_THROW(parse_module("m", "f", R"(
summary: s
params: {new: false}
services:
  a: {exec: x, ports: {ui: 80}, enabled: "{new}"}
  b: {exec: x, ports: {ui: 80}}
  c: {exec: x, ports: {ui: 80}, enabled: no}
  d: {exec: x, on: master, ports: {rpc: 90}}
  e: {exec: x, on: worker, ports: {rpc: 90}}
)"));
}

TEST(Module, a_package_may_be_for_some_architectures_only) {
  EXPECT_EQ(package_on("grub-efi-{arch}-bin", "arm64"), "grub-efi-{arch}-bin");
  EXPECT_EQ(package_on("grub-pc-bin [amd64]", "amd64"), "grub-pc-bin");
  EXPECT_EQ(package_on("grub-pc-bin [amd64]", "arm64"), std::nullopt);
  EXPECT_EQ(package_on("less [amd64 arm64]", "arm64"), "less");
}

TEST(Expand, puts_values_in_and_halves_doubled_braces) {
  const Values values = {{"a", "1"}, {"b_c", "{x}"}};
  EXPECT_EQ(expand("plain", values), "plain");
  EXPECT_EQ(expand("{a}-{b_c}-{a}", values), "1-{x}-1");
  EXPECT_EQ(expand("{{a}} {{{a}}}", values), "{a} {1}");
  EXPECT_EQ(placeholders("x{a}{{b}}{c-d.e}"), (std::vector<std::string>{"a", "c-d.e"}));
  const auto message = [&](const std::string& text) -> std::string {
    try {
      return "gave " + expand(text, values);
    } catch (const Error& error) {
      return error.message() + "; " + error.hint_text();
    }
  };
  EXPECT_EQ(message("x {nope} y"), "unknown placeholder '{nope}' in 'x {nope} y'; ");
  EXPECT_EQ(message("{b-c}"), "unknown placeholder '{b-c}' in '{b-c}'; did you mean 'b_c'?");
  EXPECT_EQ(message("awk '{print $1}'"), "a lone '{' in 'awk '{print $1}''; write '{{' for a brace");
  EXPECT_EQ(message("a}"), "a lone '}' in 'a}'; write '}}' for a brace");
  EXPECT_EQ(message("{"), "a lone '{' in '{'; write '{{' for a brace");
  EXPECT_EQ(message("{}"), "a lone '{' in '{}'; write '{{' for a brace");
}

TEST(Expand, yes_and_no_in_many_words) {
  for (const char* yes : {"true", "yes", "on", "1", "True"}) EXPECT_TRUE(is_enabled(yes)) << yes;
  for (const char* no : {"false", "no", "off", "0", "", "OFF"}) EXPECT_FALSE(is_enabled(no)) << no;
  EXPECT_THROW(is_enabled("perhaps"), Error);
}

TEST(Expand, parameters_are_the_given_ones_and_else_the_defaults) {
  const Module module = parse_module("spark", "module.yaml", kFull);
  const Values values = effective_params(module, {{"version", "3.5.8"}}, {{"java_version", "17"}});
  EXPECT_EQ(values.at("version"), "3.5.8");
  EXPECT_EQ(values.at("java"), "17");
  EXPECT_EQ(values.size(), module.params.size());
  EXPECT_EQ(variable_name("worker-memory.max"), "WORKER_MEMORY_MAX");
  try {
    effective_params(module, {{"versoin", "4"}}, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "module 'spark' has no parameter 'versoin'");
    EXPECT_EQ(error.hint_text(), "did you mean 'version'?");
  }
}

class ModuleFolder : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) { write_file_atomically(folder_ / name, text); }
  void SetUp() override {
    make_folder(folder_);
    write("module.yaml", "summary: s\nsources: {a: {file: seed.txt}}\n");
    write("seed.txt", "x");
    write("init.sh", "#!/bin/sh\nset -eu\necho hello\n");
  }
  // The problems' lines without the folder.
  std::vector<std::string> problems() {
    std::vector<std::string> lines = check_module(folder_);
    const std::string prefix = folder_.string() + "/";
    for (auto& line : lines) {
      for (std::size_t at; (at = line.find(prefix)) != std::string::npos;) line.erase(at, prefix.size());
    }
    return lines;
  }
  TemporaryFolder temporary_;
  fs::path folder_ = temporary_.path() / "me";
};

TEST_F(ModuleFolder, a_right_module_has_no_problem_and_loads) {
  EXPECT_EQ(problems(), std::vector<std::string>{});
  const Module module = load_module(folder_.string() + "/");
  EXPECT_EQ(module.name, "me");
  EXPECT_EQ(module.sources.size(), 1u);
}

TEST_F(ModuleFolder, tells_every_mistake_in_one_go) {
  write("module.yaml", R"(summary:
nettwork: true
packages: {debian: ["a-{nope}", "b b"]}
sources: {a: {url: "https://example.org/x"}, b: {file: gone.txt}}
services:
  one: {exec: x, on: boss, after: [two], gate: [three]}
  two: {exec: y, after: [one], restart: maybe}
)");
  EXPECT_EQ(problems(),
            (std::vector<std::string>{
                "module.yaml:2:1: unknown key 'nettwork' in the manifest; did you mean 'network'?",
                "module.yaml:1:1: 'summary' has no value",
                "module.yaml:3:24: unknown placeholder '{nope}'; write '{{' and '}}' for braces",
                "module.yaml:3:33: 'b b' is no package name; write the packages as a list",
                "module.yaml:4:15: a 'url' needs its 'sha256' or 'sha512'; kiln uses nothing from the network that it cannot verify",
                "module.yaml:6:22: 'on' cannot be 'boss'; one of master, worker, all",
                "module.yaml:7:41: 'restart' cannot be 'maybe'; one of always, on-failure, never",
                "module.yaml:6:49: this module has no service 'three'; another module's service is written MODULE.SERVICE",
                "module.yaml:7:26: services wait for each other: one → two → one",
                "module.yaml:4:56: the module has no file 'gone.txt'",
            }));
}

TEST_F(ModuleFolder, scripts_are_parsed_by_their_interpreter) {
  write("init.sh", "set -eu\nif true; then\n  echo x\n");
  write("setup.sh", "#!/usr/bin/env bash\nx=(1 2)\nfor y in \"${x[@]}\"; do echo; done\n");
  write("test.sh", "#!/usr/bin/python3\nimport os\ndef broken(:\n");
  const auto lines = problems();
  ASSERT_EQ(lines.size(), 2u) << testing::PrintToString(lines);
  EXPECT_TRUE(lines[0].starts_with("init.sh:")) << lines[0];
  EXPECT_NE(lines[0].find("not valid sh: "), std::string::npos) << lines[0];
  EXPECT_TRUE(lines[1].starts_with("test.sh:3:1: not valid python3: SyntaxError")) << lines[1];
}

TEST_F(ModuleFolder, scripts_with_windows_line_ends_or_nothing_in_them_are_told) {
  write("init.sh", "#!/bin/sh\r\necho x\r\n");
  write("run.sh", "");
  make_folder(folder_ / "warm.sh");
  const auto lines = problems();
  ASSERT_EQ(lines.size(), 3u) << testing::PrintToString(lines);
  EXPECT_EQ(lines[0], "init.sh:1:10: the lines end with CR LF; save the script with Unix line ends");
  EXPECT_TRUE(lines[1].starts_with("warm.sh: a script must be a regular file")) << lines[1];
  EXPECT_TRUE(lines[2].starts_with("run.sh: the script is empty")) << lines[2];
}

TEST_F(ModuleFolder, a_folder_without_manifest_or_with_a_wrong_name_is_told) {
  fs::remove(folder_ / "module.yaml");
  EXPECT_EQ(problems().at(0).substr(0, 23), "module.yaml: cannot ope");
  fs::rename(folder_, temporary_.path() / "Me");
  const auto lines = check_module(temporary_.path() / "Me");
  EXPECT_NE(lines.at(0).find("'Me' is no module name"), std::string::npos) << lines.at(0);
}

TEST_F(ModuleFolder, a_module_that_does_nothing_is_told) {
  fs::remove(folder_ / "init.sh");
  write("module.yaml", "summary: s\n");
  EXPECT_EQ(problems(), std::vector<std::string>{
                            "module.yaml: the module does nothing; it has no script, no packages, no services and requires nothing"});
}

TEST_F(ModuleFolder, a_fifo_in_place_of_the_manifest_does_not_hang) {
  fs::remove(folder_ / "module.yaml");
  ASSERT_EQ(::mkfifo((folder_ / "module.yaml").c_str(), 0600), 0);
  EXPECT_NE(problems().at(0).find("it is no regular file"), std::string::npos);
}

}  // namespace
}  // namespace kiln::config
