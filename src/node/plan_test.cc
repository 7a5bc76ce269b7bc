#include "node/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"

namespace kiln::node {
namespace {

config::Service service(const std::string& name, const std::string& on = "all") {
  config::Service made;
  made.name = name;
  made.on = on;
  made.exec = "run {colour} on {node} for {master} {{x}}";
  return made;
}

config::Module module(const std::string& name, std::vector<config::Service> services = {}) {
  config::Module made;
  made.name = name;
  made.params["colour"] = {"red", ""};
  made.services = std::move(services);
  return made;
}

config::NodeDocument document(const std::string& role = "worker") {
  config::NodeDocument made;
  made.cluster = "demo";
  made.node = role + "-1";
  made.role = role;
  made.address = "10.0.0.3";
  made.nodes = {{"worker-1", "worker", "10.0.0.3"}, {"master-1", "master", "10.0.0.2"}, {"master-2", "master", "10.0.0.9"}};
  return made;
}

Plan plan(const config::NodeDocument& node, const std::vector<config::Module>& modules) {
  return make_plan(node, modules, "/modules", {"amd64", "trixie", "21", "3.13"});
}

TEST(Plan, FillsInParametersAndTheNodesNames) {
  auto node = document();
  node.modules = {{"spark", {{"colour", "blue"}}}};
  const Plan made = plan(node, {module("spark", {service("w", "worker")})});
  EXPECT_EQ("run blue on worker-1 for master-1 {x}", made.services[0].spec.exec);
  EXPECT_EQ("spark.w", made.services[0].name);
  EXPECT_TRUE(made.services[0].here);
}

TEST(Plan, InstancesHaveNumbersNamesAndPorts) {
  auto node = document();
  node.modules = {{"m", {{"colour", "3"}}}};
  auto workers = service("worker", "worker"), late = service("late");
  workers.instances = "{colour}";
  workers.exec = "run {instance}";
  workers.ports = {{"ui", "8081"}};
  late.after = {"worker"};
  const Plan made = plan(node, {module("m", {workers, late})});
  ASSERT_EQ(4u, made.services.size());
  EXPECT_EQ("m.worker", made.services[0].name);
  EXPECT_EQ("8081", made.services[0].spec.ports.at("ui"));
  EXPECT_EQ("m.worker-3", made.services[2].name);
  EXPECT_EQ("run 3", made.services[2].spec.exec);
  EXPECT_EQ("3", made.services[2].spec.env.at("KILN_INSTANCE"));
  EXPECT_EQ("8083", made.services[2].spec.ports.at("ui"));
  EXPECT_TRUE(made.services[2].here);
  EXPECT_EQ(std::vector<std::string>{"m.worker"}, made.services[3].after);
  for (const char* bad : {"0", "", "two", "65", "-1"}) {
    node.modules = {{"m", {{"colour", bad}}}};
    EXPECT_THROW(plan(node, {module("m", {workers})}), Error) << bad;
  }
}

TEST(Plan, SwitchesGoOverRolesAndNobodyWaitsForWhatIsOff) {
  auto master = service("master", "master"), worker = service("worker", "worker"), off = service("off");
  off.enabled = "false";
  worker.gate = {"master", "off"};
  const std::map<std::string, bool> switches = {{"m.worker", true}, {"m.off", true}, {"m.master", false}};
  const Plan made = make_plan(document("master"), {module("m", {master, worker, off, service("unnamed")})}, "/modules", {}, &switches);
  EXPECT_FALSE(made.service("m.master")->here);
  EXPECT_TRUE(made.service("m.worker")->here);
  EXPECT_TRUE(made.service("m.off")->here);
  EXPECT_FALSE(made.service("m.unnamed")->here);
  EXPECT_EQ(made.service("m.worker")->gate, std::vector<std::string>{"m.off"});
}

TEST(Plan, KnowsWhichServicesAreThisNodes) {
  auto off = service("off");
  off.enabled = "{colour}";
  auto node = document();
  node.modules = {{"m", {{"colour", "no"}}}};
  const Plan made = plan(node, {module("m", {service("a", "master"), service("b", "worker"), off})});
  EXPECT_FALSE(made.services[0].here);
  EXPECT_TRUE(made.services[1].here);
  EXPECT_FALSE(made.services[2].here);
}

TEST(Plan, LeavesOutWhatNobodyRuns) {
  auto off = service("off");
  off.enabled = "false";
  auto last = service("last");
  last.after = {"off", "other.s", "absent.s"};
  last.gate = {"first"};
  const Plan made = plan(document(), {module("m", {service("first"), off, last}), module("other", {service("s")})});
  EXPECT_EQ((std::vector<std::string>{"other.s"}), made.service("m.last")->after);
  EXPECT_EQ((std::vector<std::string>{"m.first"}), made.service("m.last")->gate);
}

TEST(Plan, PutsModulesBehindThoseTheyNeed) {
  auto a = module("a");
  a.requires_modules = {"b"};
  auto b = module("b");
  b.after = {"c", "not-there"};
  const Plan made = plan(document(), {a, b, module("c")});
  EXPECT_EQ("c", made.modules[0].manifest.name);
  EXPECT_EQ("a", made.modules[2].manifest.name);
  EXPECT_EQ((std::vector<std::string>{"c"}), made.module("b")->after);
}

void expect_error(const std::string& words, const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "no error: " << words;
  } catch (const Error& error) {
    EXPECT_NE(std::string::npos, std::string(error.what()).find(words)) << error.what();
  }
}

TEST(Plan, TellsWhatCannotBe) {
  auto a = module("a"), b = module("b");
  a.requires_modules = {"b"};
  b.after = {"a"};
  expect_error("modules wait for each other", [&] { plan(document(), {a, b}); });

  auto one = service("one"), two = service("two");
  one.after = {"two"};
  two.gate = {"one"};
  expect_error("services wait for each other", [&] { plan(document(), {module("m", {one, two})}); });

  auto lost = service("lost");
  lost.after = {"nowhere"};
  expect_error("service 'm.lost' waits for 'nowhere'", [&] { plan(document(), {module("m", {lost})}); });

  auto node = document();
  node.modules = {{"m", {{"size", "1"}}}};
  expect_error("module 'm' has no parameter 'size'", [&] { plan(node, {module("m")}); });

  auto odd = service("odd");
  odd.exec = "{what}";
  expect_error("while planning service 'm.odd'", [&] { plan(document(), {module("m", {odd})}); });
}

TEST(Plan, GivesScriptsTheirVariables) {
  auto node = document();
  node.cpus = 0.5;
  node.memory_bytes = 3LL << 30;
  auto env = node_environment(node, {"amd64", "trixie", "21", "3.13"});
  EXPECT_EQ("1", env["KILN_CPUS"]);
  EXPECT_EQ("3072", env["KILN_MEMORY_MB"]);
  EXPECT_EQ("master-1 master-2", env["KILN_MASTERS"]);
  auto manifest = module("m");
  manifest.params["a.b-c"] = {"v", ""};
  auto made = module_environment({manifest, {{"a.b-c", "v"}}, "/modules/m", {}}, {}, "setup");
  EXPECT_EQ("v", made["KILN_PARAM_A_B_C"]);
  EXPECT_EQ("setup", made["KILN_STAGE"]);
}

}  // namespace
}  // namespace kiln::node
