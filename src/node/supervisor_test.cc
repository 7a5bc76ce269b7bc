// The parts of supervision that need no process, and some of the loop that do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "node/events.h"
#include "node/log_file.h"
#include "node/logs.h"
#include "node/readiness.h"
#include "node/script.h"
#include "node/service.h"

namespace kiln::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Action = RestartPolicy::Action;

TEST(RestartPolicy, GivesUpAfterThreeStartsThatNeverWorked) {
  RestartPolicy policy("always");
  EXPECT_EQ(Action::kRestart, policy.ended(false, {}).action);
  EXPECT_EQ(Action::kRestart, policy.ended(false, {}).action);
  EXPECT_EQ(Action::kGiveUp, policy.ended(false, {}).action);
}

TEST(RestartPolicy, NeverGivesUpWhatHasWorkedAndDoublesThePause) {
  RestartPolicy policy("always");
  EXPECT_EQ(milliseconds(200), policy.ended(false, seconds(5)).pause);
  EXPECT_EQ(milliseconds(400), policy.ended(false, {}).pause);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Action::kRestart, policy.ended(false, {}).action);
  EXPECT_EQ(seconds(30), policy.ended(false, {}).pause);
  EXPECT_EQ(seconds(30), policy.ended(false, seconds(59)).pause);
  EXPECT_EQ(milliseconds(200), policy.ended(false, seconds(60)).pause);
}

TEST(RestartPolicy, KeepsToWhatTheModuleSays) {
  EXPECT_EQ(Action::kRestart, RestartPolicy("always").ended(true, {}).action);
  EXPECT_EQ(Action::kDone, RestartPolicy("on-failure").ended(true, {}).action);
  EXPECT_EQ(Action::kRestart, RestartPolicy("on-failure").ended(false, {}).action);
  EXPECT_EQ(Action::kDone, RestartPolicy("never").ended(true, {}).action);
  EXPECT_EQ(Action::kGiveUp, RestartPolicy("never").ended(false, seconds(100)).action);
}

TEST(Readiness, ReadsTargets) {
  const auto target = parse_http_target("http://node-1:8080/json/?a=b");
  EXPECT_EQ("node-1", target.host);
  EXPECT_EQ(8080, target.port);
  EXPECT_EQ("/json/?a=b", target.path);
  EXPECT_EQ(80, parse_http_target("http://x").port);
  EXPECT_EQ("/", parse_http_target("http://x").path);
  for (const auto* bad : {"https://x/", "http://", "http://x:0/", "http://x:99999/", "http://x:/", "x:80", "http://x/\r\nHost: y"})
    EXPECT_THROW(parse_http_target(bad), Error) << bad;
  EXPECT_EQ((std::pair<std::string, int>("", 7077)), parse_tcp_target("7077"));
  EXPECT_EQ((std::pair<std::string, int>("h", 1)), parse_tcp_target("h:1"));
  for (const auto* bad : {"", "x", "h:", "70770", "-1"}) EXPECT_THROW(parse_tcp_target(bad), Error) << bad;
}

TEST(Readiness, JudgesHttpAnswers) {
  const std::string ok = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
  EXPECT_EQ(HttpVerdict::kMore, judge_http_answer("HTTP/1.1 200 OK\r\n", "", false));
  EXPECT_EQ(HttpVerdict::kNo, judge_http_answer("HTTP/1.1 200 OK\r\n", "", true));
  EXPECT_EQ(HttpVerdict::kYes, judge_http_answer(ok, "", false));
  EXPECT_EQ(HttpVerdict::kMore, judge_http_answer(ok + "{AL", "ALIVE", false));
  EXPECT_EQ(HttpVerdict::kYes, judge_http_answer(ok + "{ALIVE", "ALIVE", false));
  EXPECT_EQ(HttpVerdict::kNo, judge_http_answer(ok + "{STANDBY}", "ALIVE", true));
  EXPECT_EQ(HttpVerdict::kNo, judge_http_answer("HTTP/1.1 503 No\r\n\r\nALIVE", "ALIVE", false));
  EXPECT_EQ(HttpVerdict::kNo, judge_http_answer("rubbish\r\n\r\n", "", false));
}

TEST(Readiness, FindsTextWhereverThePiecesBreak) {
  const std::string text = "Registered with Regist master";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    LineFinder finder("Registered with");
    const bool first = finder.feed(text.substr(0, cut));
    EXPECT_TRUE(first || finder.feed(text.substr(cut))) << cut;
  }
  LineFinder other("xyz");
  EXPECT_FALSE(other.feed("xy"));
  EXPECT_FALSE(other.feed("yz"));
  EXPECT_TRUE(other.feed("..xyz"));
  LineFinder either("first text\nsecond");
  EXPECT_FALSE(either.feed("first tex sec"));
  EXPECT_TRUE(either.feed("ond"));
}

TEST(Script, ChoosesTheInterpreter) {
  using Words = std::vector<std::string>;
  EXPECT_EQ((Words{"/bin/sh", "-eu", "f"}), script_command("echo hi", "f"));
  EXPECT_EQ((Words{"/bin/sh", "-eu", "f"}), script_command("#!/bin/sh", "f"));
  EXPECT_EQ((Words{"/bin/bash", "-e", "f"}), script_command("#! /bin/bash -e ", "f"));
  EXPECT_EQ((Words{"/usr/bin/env", "python3", "f"}), script_command("#!/usr/bin/env python3", "f"));
  EXPECT_EQ((Words{"/bin/sh", "-eu", "f"}), script_command("#!", "f"));
}

TEST(NumberedLog, KeepsTheLast) {
  NumberedLog log(3, 100);
  int told = 0;
  const int id = log.listen([&] { ++told; });
  for (const auto* entry : {"a", "b", "c", "d"}) log.add(entry);
  log.drop(id);
  EXPECT_EQ(4, told);
  EXPECT_EQ(2u, log.first_number());
  EXPECT_EQ(5u, log.next_number());
  EXPECT_EQ(nullptr, log.find(1));
  EXPECT_EQ("b", *log.find(2));
  EXPECT_EQ(nullptr, log.find(5));
  log.add(std::string(200, 'x'));  // more than all: the last one stays anyway
  EXPECT_EQ(5u, log.first_number());
}

TEST(LogFile, RotatesAndKeepsTheTail) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.log";
  LogFile log(path, 100);
  for (int i = 0; i < 50; ++i) log.write(fmt::format("line {:03}\n", i));
  EXPECT_LE(fs::file_size(path), 100u);
  EXPECT_TRUE(fs::exists(LogFile::rotated(path, 2)));
  EXPECT_FALSE(fs::exists(LogFile::rotated(path, 3)));
  EXPECT_EQ("line 048\nline 049", log.tail(2));
  EXPECT_GT(log.generation(), 2);
  log.forget_tail();
  EXPECT_EQ("", log.tail());
  log.write("no end");
  EXPECT_EQ("no end", log.tail());
}

TEST(LogFile, FindsTheLastLines) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.log";
  std::string text;
  for (int i = 0; i < 5000; ++i) text += fmt::format("line {}\n", i);
  write_file_atomically(path, text);
  const Fd fd(::open(path.c_str(), O_RDONLY));
  EXPECT_EQ("line 4998\nline 4999\n", text.substr(start_of_last_lines(fd.get(), 2, 1 << 20)));
  EXPECT_EQ(0u, start_of_last_lines(fd.get(), 6000, 1 << 20));
  EXPECT_EQ(text.size(), start_of_last_lines(fd.get(), 0, 1 << 20));
  EXPECT_EQ(text.size() - 100, start_of_last_lines(fd.get(), 6000, 100));
}

TEST(Loop, KeepsTimersInOrderAndLetsThemBeCancelled) {
  Loop loop;
  std::string order;
  loop.after(milliseconds(20), [&] { order += "b"; });
  const auto cancelled = loop.after(milliseconds(10), [&] { order += "x"; });
  loop.after(milliseconds(5), [&] {
    order += "a";
    loop.cancel(cancelled);
    loop.defer([&] { order += "d"; });
  });
  loop.after(milliseconds(30), [&] { loop.quit(7); });
  EXPECT_EQ(7, loop.run());
  EXPECT_EQ("adb", order);
}

TEST(Loop, KillsWhatAGroupsLeaderLeft) {
  Loop loop;
  Pipe pipe = make_pipe();
  SpawnRequest request;
  request.env = login_environment({});
  request.argv = {"/bin/sh", "-c", "sleep 1000 & exit 5"};
  request.standard_output = pipe.write.get();
  const pid_t pid = spawn(request);
  pipe.write.reset();
  int code = -1;
  bool closed = false;
  loop.on_exit(pid, true, [&](int status) { code = exit_code_of(status); });
  // The child holds the pipe: its end says that the child is gone.
  pump_pipe(loop, std::move(pipe.read), [&](std::string_view bytes) { closed = closed || bytes.empty(); });
  const auto end = Clock::now() + seconds(10);
  while (!(closed && code >= 0) && Clock::now() < end) loop.run_once(milliseconds(100));
  EXPECT_EQ(5, code);
  EXPECT_TRUE(closed);
}

TEST(Spawn, KnowsSignals) {
  EXPECT_EQ(15, signal_number("TERM"));
  EXPECT_EQ(2, signal_number("SIGINT"));
  EXPECT_EQ(9, signal_number("9"));
  EXPECT_EQ(0, signal_number("NONSENSE"));
  EXPECT_EQ(0, signal_number("99999999999"));
  EXPECT_EQ("killed by SIGKILL", describe_status(9));
  EXPECT_EQ("exit code 3", describe_status(3 << 8));
  EXPECT_EQ(137, exit_code_of(9));
}

}  // namespace
}  // namespace kiln::node
