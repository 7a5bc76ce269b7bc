#include "node/idle.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace kiln::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(IdleWatch, LooksTenTimesWithinTheLimitButNotWithoutEnd) {
  EXPECT_EQ(milliseconds(1000), IdleWatch::pause_for(milliseconds(10)));
  EXPECT_EQ(milliseconds(3000), IdleWatch::pause_for(seconds(30)));
  EXPECT_EQ(milliseconds(60000), IdleWatch::pause_for(std::chrono::hours(20)));
}

// A node with one module, whose busy.sh is given; looks every 20 ms.
class Watched : public ::testing::Test {
 protected:
  void make(const std::string& busy, milliseconds limit) {
    make_folder(folder_.path() / "m");
    if (!busy.empty()) write_file_atomically(folder_.path() / "m/busy.sh", busy);
    make_folder(paths_.logs());
    PlannedModule module;
    module.manifest.name = "m";
    module.folder = folder_.path() / "m";
    plan_.modules = {module};
    watch_ =
        std::make_unique<IdleWatch>(IdleWatch::Context{loop_, events_, paths_, plan_, {}}, limit,
                                    IdleWatch::Hooks{[this] { return own_; }, [this](const std::string& what) { told_.push_back(what); },
                                                     [this] { return patience_; }, [this] { ended_ = Clock::now(); }},
                                    milliseconds(20));
    watch_->start();
  }
  // Whether it ended.
  bool run(milliseconds at_most) {
    const auto end = Clock::now() + at_most;
    while (!ended_ && Clock::now() < end) loop_.run_once(milliseconds(10));
    return ended_.has_value();
  }

  TemporaryFolder folder_;
  Paths paths_{folder_.path()};
  Loop loop_;
  NodeEvents events_{"n"};
  Plan plan_;
  std::unique_ptr<IdleWatch> watch_;
  std::string own_;
  std::vector<std::string> told_;
  std::optional<seconds> patience_ = seconds(0);
  std::optional<Clock::time_point> ended_;
};

TEST_F(Watched, EndsWhenNothingGoesOnAndNotBefore) {
  const auto begin = Clock::now();
  make("exit 0\n", milliseconds(300));
  ASSERT_TRUE(run(seconds(20)));
  EXPECT_GE(*ended_ - begin, milliseconds(300));
  EXPECT_TRUE(told_.empty());
}

TEST_F(Watched, LivesWhileTheAgentWorks) {
  own_ = "a session";
  make("", milliseconds(100));
  EXPECT_FALSE(run(milliseconds(500)));
  ASSERT_FALSE(told_.empty());
  EXPECT_EQ("a session", told_.front());
  own_.clear();
  EXPECT_TRUE(run(seconds(20)));
  // What ended between two looks is told, too: another master may end the cluster.
  EXPECT_EQ("it has just ended", told_.back());
}

TEST_F(Watched, LivesWhileAModuleSaysSo) {
  make("echo two jobs; echo more\n", milliseconds(100));
  EXPECT_FALSE(run(milliseconds(500)));
  ASSERT_FALSE(told_.empty());
  EXPECT_EQ("m: two jobs", told_.front());
  write_file_atomically(folder_.path() / "m/busy.sh", ": nothing\n");
  EXPECT_TRUE(run(seconds(20)));
}

TEST_F(Watched, WhoCannotSayMayBeAtWorkAndIsToldOnce) {
  make("echo no answer >&2; exit 3\n", milliseconds(100));
  EXPECT_FALSE(run(milliseconds(500)));
  EXPECT_EQ(2u, events_.log().next_number()) << "one event";
  ASSERT_NE(nullptr, events_.log().find(1));
  EXPECT_NE(std::string::npos, events_.log().find(1)->find("busy.sh of module 'm' failed: exit code 3: no answer"));
}

TEST_F(Watched, LivesWhileOthersSaySo) {
  make("", milliseconds(200));
  const auto end = Clock::now() + milliseconds(700);
  while (Clock::now() < end) {
    watch_->heard();
    EXPECT_FALSE(run(milliseconds(50)));
  }
  EXPECT_TRUE(told_.empty()) << "it is theirs to tell";
  EXPECT_TRUE(run(seconds(20)));
}

TEST_F(Watched, ANodeThatHearsAMasterEndsNothing) {
  patience_.reset();
  make("", milliseconds(50));
  EXPECT_FALSE(run(milliseconds(400)));
}

TEST(SshSession, IsWhatRunsUnderAServersConnection) {
  const TemporaryFolder proc;
  const auto process = [&](int id, const std::string& name, int parent) {
    make_folder(proc.path() / std::to_string(id));
    write_file_atomically(proc.path() / std::to_string(id) / "stat",
                          std::to_string(id) + " (" + name + ") S " + std::to_string(parent) + " 1 1");
  };
  process(1, "systemd", 0);
  process(20, "sshd", 1);
  process(30, "sshd", 20);
  process(31, "sshd", 30);
  write_file_atomically(proc.path() / "meminfo", "x");
  EXPECT_FALSE(ssh_session(proc.path())) << "a connection that only forwards";
  process(40, "a ) (b", 31);
  EXPECT_EQ("a ) (b", ssh_session(proc.path()));
  EXPECT_FALSE(ssh_session(proc.path() / "none"));
}

}  // namespace
}  // namespace kiln::node
