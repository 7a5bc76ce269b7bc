#include "cluster/launch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "cluster/fake_provider.h"
#include "cluster/launch_image.h"

namespace kiln::cluster {
namespace {

using testing::fake_world;

class Launch : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("KILN_HOME", home_.path().c_str(), 1);
    testing::reset_fake_world();
    bake::Image image;
    image.name = "toy";
    image.digest = std::string(64, 'a');
    config::ImageSpec spec;
    spec.name = "toy";
    spec.base.suite = "trixie";
    spec.architecture = "amd64";
    image.spec = config::image_spec_to_json(spec);
    bake::ImageModule module;
    module.manifest.name = "spark";
    module.manifest.params["memory"] = {"1g", "heap"};
    module.params["memory"] = "1g";
    image.modules.push_back(module);
    bake::Store().save_image(image);
    options_.spec.name = "demo";
    options_.spec.provider = "fake";
    options_.spec.image = "toy";
  }

  // The error's words, or "" when it went well.
  std::string launch_error() {
    try {
      launch(options_);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  TemporaryFolder home_;
  LaunchOptions options_;
};

TEST_F(Launch, IsDoneWhenEveryNodeHasSaidThatItIsReady) {
  const auto result = launch(options_);
  EXPECT_EQ(result.cluster.state, provider::State::kRunning);
  EXPECT_EQ(result.cluster.nodes.size(), 3u);
  EXPECT_EQ(result.cluster.secret.size(), 64u);
  EXPECT_EQ(fake_world().calls, (std::vector<std::string>{"create demo", "connect master-1", "commit demo"}));
  EXPECT_TRUE(result.cluster.notes.contains("timeline"));
}

TEST_F(Launch, AServiceThatFailsIsNamedWithItsLastWordsAndNothingIsLeft) {
  fake_world().events = {testing::node_ready("master-1"), testing::service_failed("worker-2", "spark.worker", "line one\nno memory")};
  const auto words = launch_error();
  EXPECT_NE(words.find("service spark.worker failed on worker-2"), std::string::npos) << words;
  EXPECT_NE(words.find("no memory"), std::string::npos) << words;
  EXPECT_TRUE(fake_world().clusters.empty());
}

TEST_F(Launch, WithKeepTheFailedClusterStays) {
  fake_world().events = {testing::service_failed("worker-2", "spark.worker", "x")};
  options_.keep_failed = true;
  EXPECT_NE(launch_error(), "");
  EXPECT_EQ(fake_world().clusters.count("demo"), 1u);
}

// Whatever call to the provider fails, nothing is left and the fault is told.
TEST_F(Launch, AFaultAtAnyCallLeavesNothing) {
  int faults = 0;
  for (int at = 0;; ++at) {
    testing::reset_fake_world();
    fake_world().fail_at = at;
    const auto words = launch_error();
    if (words.empty()) break;
    ++faults;
    EXPECT_NE(words.find("injected fault"), std::string::npos) << words;
    EXPECT_TRUE(fake_world().clusters.empty()) << "fault " << at;
  }
  EXPECT_EQ(faults, 3);
}

TEST_F(Launch, AMasterThatGoesAwayIsAnError) {
  fake_world().events.clear();
  fake_world().close_after_events = true;
  EXPECT_NE(launch_error().find("closed the event stream"), std::string::npos);
  EXPECT_TRUE(fake_world().clusters.empty());
}

TEST_F(Launch, CtrlCRemovesWhatWasStarted) {
  fake_world().events.clear();  // would wait for ever
  std::jthread interrupter([](const std::stop_token& given_up) {
    while (testing::count_calls() < 2 && !given_up.stop_requested()) std::this_thread::yield();
    set_interrupted(true);
  });
  EXPECT_THROW(launch(options_), Interrupted);
  set_interrupted(false);
  EXPECT_TRUE(fake_world().clusters.empty());
}

TEST_F(Launch, WrongWordsCreateNothing) {
  launch(options_);
  fake_world().calls.clear();
  EXPECT_THROW(launch(options_), UsageError);  // the name is taken
  options_.spec.name = "other";
  options_.spec.modules = {{"spork", {}}};
  EXPECT_NE(launch_error().find("no module 'spork'"), std::string::npos);
  options_.spec.modules = {{"spark", {{"memroy", "2g"}}}};
  EXPECT_NE(launch_error().find("no parameter 'memroy'"), std::string::npos);
  options_.spec.modules.clear();
  options_.spec.provider = "fkae";
  EXPECT_THROW(launch(options_), UsageError);
  EXPECT_TRUE(fake_world().calls.empty());
}

TEST_F(Launch, ResizeAddsTheFreeNumbersAndRemovesTheHighest) {
  launch(options_);
  auto session = Session::open_running("demo");
  resize(session, 4);
  EXPECT_EQ(session.workers(), (std::vector<std::string>{"worker-1", "worker-2", "worker-3", "worker-4"}));
  fake_world().calls.clear();
  resize(session, 1);
  const auto& calls = fake_world().calls;
  EXPECT_NE(std::find(calls.begin(), calls.end(), "remove_nodes worker-2 worker-3 worker-4"), calls.end());
  EXPECT_EQ(session.workers(), (std::vector<std::string>{"worker-1"}));
}

TEST_F(Launch, ThoseThatLeaveAreDrainedBefore) {
  launch(options_);
  auto session = Session::open_running("demo");
  fake_world().requests.clear();
  resize(session, 1, std::chrono::seconds(7));
  const auto& requests = fake_world().requests;
  const Json drained = {{"do", "drain"}, {"node", "worker-2"}, {"seconds", 7}};
  EXPECT_NE(std::find(requests.begin(), requests.end(), drained), requests.end());
}

TEST_F(Launch, ResizeReplacesTheLost) {
  launch(options_);
  for (auto& node : fake_world().clusters.at("demo").nodes) node.running = node.name != "worker-1";
  auto session = Session::open_running("demo");
  fake_world().calls.clear();
  resize(session, 2);
  const auto& calls = fake_world().calls;
  EXPECT_LT(std::find(calls.begin(), calls.end(), "remove_nodes worker-1"), std::find(calls.begin(), calls.end(), "add_nodes worker-1"));
  EXPECT_EQ(session.workers().size(), 2u);
}

// The masters may notice only now that a machine is gone, when its successor is on its way.
TEST_F(Launch, TheLossOfAFormerNodeIsNotItsSuccessorsFailure) {
  launch(options_);
  for (auto& node : fake_world().clusters.at("demo").nodes) node.running = node.name != "worker-1";
  auto session = Session::open_running("demo");
  fake_world().events = {testing::node_lost("worker-1"), testing::node_ready("worker-1")};
  EXPECT_NO_THROW(resize(session, 2));

  Event begun = testing::node_ready("worker-3");
  begun.name = "setup spark";
  fake_world().events = {begun, testing::node_lost("worker-3")};
  EXPECT_THROW(resize(session, 3), Error);
}

TEST_F(Launch, TheClusterMayHaveAnotherTimeThanTheLauncher) {
  for (const double offset : {-600.0, 600.0}) {
    testing::reset_fake_world();
    fake_world().clock_offset = offset;
    launch(options_);
    auto session = Session::open_running("demo");
    EXPECT_NO_THROW(resize(session, 4));
    destroy("demo");
  }
}

TEST_F(Launch, AResizeThatFailsTakesItsNewNodesAwayAgain) {
  launch(options_);
  auto session = Session::open_running("demo");
  fake_world().events = {testing::service_failed("worker-3", "spark.worker", "x")};
  EXPECT_THROW(resize(session, 3), Error);
  session.refresh();
  EXPECT_EQ(session.workers().size(), 2u);
}

TEST_F(Launch, StopAsksTheAgentsFirstAndStartBringsTheSameNodes) {
  launch(options_);
  auto session = Session::open("demo");
  stop(session);
  EXPECT_EQ(session.cluster().state, provider::State::kStopped);
  EXPECT_EQ(fake_world().requests.back().at("do"), "stop");
  EXPECT_THROW(Session::open_running("demo"), Error);
  start(session);
  EXPECT_EQ(session.cluster().state, provider::State::kRunning);
  EXPECT_EQ(session.cluster().nodes.size(), 3u);
}

TEST_F(Launch, GoesOnOnlyWithALaunchThatBroke) {
  options_.resume = true;
  EXPECT_NE(launch_error().find("there is no launch of 'demo' to go on with"), std::string::npos);
  testing::fake_world().clusters["demo"].state = provider::State::kCreating;
  // Where a provider cleans up after its launches there is nothing to take over.
  EXPECT_NE(launch_error().find("a launch of provider 'fake' cannot be gone on with"), std::string::npos);
  EXPECT_EQ(testing::fake_world().clusters.count("demo"), 1u);
}

TEST_F(Launch, DestroyingWhatIsNotThereIsDone) {
  EXPECT_FALSE(destroy("demo"));
  launch(options_);
  EXPECT_TRUE(destroy("demo"));
  EXPECT_THROW(Session::open("demo"), UsageError);
}

// What was baked elsewhere cannot be installed anew.
TEST_F(Launch, AnImageThatWasBakedElsewhereTakesNoOtherVersion) {
  bake::Store store;
  const auto error_with = [&](const char digit, const char* module, const config::Values& params) -> std::string {
    provider::ImageRef remote{"toy", std::string(64, digit), {}, {}};
    auto spec = options_.spec;
    config::ModuleChoice choice;
    choice.name = module;
    choice.params = params;
    spec.modules = {choice};
    try {
      remote_image_for_launch(store, spec, remote, options_.bake, nullptr);
      return "";
    } catch (const UsageError& error) {
      return error.message();
    }
  };
  EXPECT_EQ(error_with('a', "spark", {{"memory", "2g"}}), "");
  EXPECT_EQ(error_with('a', "spark", {{"memroy", "2g"}}), "module 'spark' has no parameter 'memroy'");
  EXPECT_EQ(error_with('b', "spark", {{"worker_cores", "2"}}), "");
  EXPECT_EQ(error_with('b', "theirs", {{"version", "4.1.1"}}), "");
  EXPECT_EQ(error_with('b', "spark", {{"source", "git"}}),
            "'spark.source' is a matter of installing, and image 'toy' was not baked on this machine");
}

}  // namespace
}  // namespace kiln::cluster
