// What environment variables and options make of a container, without one. With one: tests/59-appliance.test.
#include "node/appliance.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::node {
namespace {

config::Module engine() {
  config::Module module;
  module.name = "engine";
  for (const char* name : {"far", "cores", "memory", "note"}) module.params[name] = {"auto", fmt::format("what {} means", name)};
  for (const char* name : {"boss", "far-boss", "hand", "extra", "other"}) {
    config::Service service;
    service.name = name;
    service.exec = "run";
    module.services.push_back(service);
  }
  module.appliance.params = {{"far", "FAR", {}, "text", "x://"},
                             {"cores", "CORES", {"-c", "--cores"}, "number", ""},
                             {"memory", "MEMORY", {"-m", "--memory"}, "size", ""},
                             {"note", "NOTE", {}, "text", ""}};
  module.appliance.services = {{"boss", "START_BOSS", true, "", "far", {}},
                               {"far-boss", "", true, "far", "", {}},
                               {"hand", "START_HAND", true, "", "", {"boss", "far-boss"}},
                               {"extra", "START_EXTRA", false, "", "", {}}};
  return module;
}

Appliance plan(const Environment& environment, const std::vector<std::string>& words = {}) {
  return plan_appliance({engine()}, words, environment);
}

std::string on(const Appliance& appliance) {
  std::string names;
  for (const auto& [name, is_on] : appliance.standalone.services)
    if (is_on) names += (names.empty() ? "" : " ") + name.substr(7);
  return names;
}

std::string refusal(const Environment& environment, const std::vector<std::string>& words = {}) {
  try {
    plan(environment, words);
    return "nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    return error.message() + " | " + error.hint_text();
  }
}

TEST(Appliance, SwitchesHaveDefaultsThatDependOnWhatIsGiven) {
  EXPECT_EQ("boss hand", on(plan({})));
  EXPECT_EQ("far-boss hand", on(plan({{"FAR", "x://1"}})));
  EXPECT_EQ("boss far-boss hand", on(plan({{"FAR", "x://1"}, {"START_BOSS", "Yes"}})));
  EXPECT_EQ("boss extra", on(plan({{"START_HAND", "no"}, {"START_EXTRA", "1"}})));
}

TEST(Appliance, AnEmptyValueIsOffOrNotGiven) {
  EXPECT_EQ("boss", on(plan({{"START_HAND", ""}, {"START_EXTRA", " "}, {"FAR", ""}, {"CORES", ""}})));
  EXPECT_TRUE(plan({{"CORES", ""}, {"NOTE", "  "}}).modules[0].params.empty());
}

TEST(Appliance, OptionsGoOverVariables) {
  const auto made = plan({{"CORES", "1"}, {"MEMORY", "1g"}, {"NOTE", "<a b>\n"}}, {"-c", "2", "--memory=512M"});
  EXPECT_EQ(made.modules[0].params, (config::Values{{"cores", "2"}, {"memory", "512M"}, {"note", "<a b>"}}));
}

TEST(Appliance, ServicesSeeTheContainersVariablesButNotThoseThatWereMeantForUs) {
  const auto made = plan({{"CORES", "1"}, {"START_HAND", ""}, {"AWS_REGION", "eu-west-1"}, {"HOME", "/x"}, {"PATH", "/bin"}});
  EXPECT_EQ(made.standalone.environment, (Environment{{"AWS_REGION", "eu-west-1"}, {"PATH", "/bin"}, {"START_HAND", ""}}));
}

TEST(Appliance, WrongWordsAreUsageErrors) {
  EXPECT_EQ("START_BOSS must be yes or no, found 'maybe' | an empty value means no", refusal({{"START_BOSS", "maybe"}}));
  EXPECT_EQ("FAR must begin with 'x://', found 'y' | ", refusal({{"FAR", "y"}}));
  EXPECT_EQ("hand is on, and nothing that it needs | set START_BOSS or FAR", refusal({{"START_BOSS", ""}}));
  EXPECT_EQ("everything is switched off: there is nothing to run | set START_BOSS or START_HAND or START_EXTRA",
            refusal({{"START_BOSS", ""}, {"START_HAND", ""}}));
  EXPECT_EQ("unknown option '--coers' | did you mean '--cores'?", refusal({}, {"--coers", "1"}));
  EXPECT_EQ("-m needs a value | ", refusal({}, {"-m"}));
  for (const char* wrong : {"0", "-1", "two", "1.5", "12345678"})
    EXPECT_EQ(fmt::format("--cores must be a whole number from 1, found '{}' | ", wrong), refusal({}, {"--cores", wrong}));
  for (const char* wrong : {"512", "m", "0m", "1.5g", "512mb", "-1g"})
    EXPECT_EQ(fmt::format("MEMORY must be a size such as 512m or 2g, found '{}' | ", wrong), refusal({{"MEMORY", wrong}}));
  EXPECT_THROW(plan_appliance({}, {}, {}), UsageError);
}

TEST(Appliance, TellsItsVariables) {
  const std::string help = appliance_help({engine()});
  EXPECT_NE(help.find("CORES, -c, --cores           what cores means"), std::string::npos) << help;
  EXPECT_NE(help.find("boss of engine: yes or no; empty means no (default: yes, but no with FAR)"), std::string::npos) << help;
  EXPECT_EQ(help.find("far-boss of"), std::string::npos);
}

}  // namespace
}  // namespace kiln::node
