#include "base/process.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/interrupt.h"

namespace kiln {
namespace {

using std::chrono::milliseconds;

TEST(Process, GivesOutputErrorAndExitCode) {
  const auto result = run({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.error, "err\n");
  EXPECT_EQ(result.exit_code, 3);
}

TEST(Process, ASignalIsToldAsShellsTellIt) { EXPECT_EQ(run({"sh", "-c", "kill -KILL $$"}).exit_code, 137); }

TEST(Process, LargeInputAndOutputDoNotBlockEachOther) {
  ProcessOptions options;
  options.standard_input = std::string(5'000'000, 'x');
  EXPECT_EQ(run({"cat"}, options).output, options.standard_input);
}

TEST(Process, AProgramThatIsNotThereIsNamed) {
  try {
    run({"kiln-no-such-program"});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "cannot start 'kiln-no-such-program': it is not installed");
  }
}

TEST(Process, AFailureShowsTheCommandAndItsLastWords) {
  try {
    run_checked({"sh", "-c", "echo first >&2; echo 'the reason' >&2; exit 4"});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("ended with exit code 4"), std::string::npos);
    EXPECT_NE(error.message().find("the reason"), std::string::npos);
  }
}

TEST(Process, LinesArriveWhole) {
  std::vector<std::string> lines;
  ProcessOptions options;
  options.on_line = [&](std::string_view line) { lines.emplace_back(line); };
  run({"printf", "a\\nb\\nlast"}, options);
  EXPECT_EQ(lines, (std::vector<std::string>{"a", "b", "last"}));
}

TEST(Process, TheTimeLimitEndsTheWholeGroup) {
  ProcessOptions options;
  options.timeout = milliseconds(100);
  const auto started = std::chrono::steady_clock::now();
  EXPECT_THROW(run({"sh", "-c", "sleep 60 & wait"}, options), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20));
}

TEST(Process, CtrlCEndsTheProgramAtOnce) {
  std::jthread interrupter([] {
    std::this_thread::sleep_for(milliseconds(100));  // the time until the user presses the keys
    set_interrupted(true);
  });
  EXPECT_THROW(run({"sleep", "60"}), Interrupted);
  set_interrupted(false);
}

TEST(Process, TheEnvironmentIsOnlyWhatIsGiven) {
  ProcessOptions options;
  options.environment = std::map<std::string, std::string>{{"A", "1"}};
  options.extra_environment = {{"B", "2"}};
  EXPECT_EQ(run({"/usr/bin/env"}, options).output, "A=1\nB=2\n");
}

}  // namespace
}  // namespace kiln
