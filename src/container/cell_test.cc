// What a job in a cell can do and how a cell ends. The same tests run as root and as an ordinary user with subordinate ids.
#include "container/cell.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <thread>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/process.h"
#include "container/overlay.h"
#include "container/runc.h"

namespace kiln::container {
namespace {

const RegisterCellJob who_job{"test-who", [](const Json& arguments) {
                                Json answer = {{"self", ::getpid()}, {"uid", ::getuid()}, {"echo", arguments}};
                                for (const char* kind : {"pid", "mnt", "net", "ipc", "uts", "user"}) {
                                  answer[kind] = fs::read_symlink(std::string("/proc/self/ns/") + kind).native();
                                }
                                answer["run"] = std::distance(fs::directory_iterator("/run"), fs::directory_iterator());
                                return answer;
                              }};
const RegisterCellJob fail_job{"test-fail", [](const Json&) -> Json {
                                 say("about to fail");
                                 UsageError error("no such thing");
                                 error.set_hint("try another");
                                 error.add_context("looking");
                                 throw error;
                               }};
const RegisterCellJob die_job{"test-die", [](const Json&) -> Json { ::_exit(7); }};
// Leaves a child that would live for long, and tells how to recognise it.
const RegisterCellJob linger_job{"test-linger", [](const Json& arguments) -> Json {
                                   if (::fork() == 0) {
                                     for (;;) ::pause();
                                   }
                                   if (arguments.value("ready", false)) cell_ready({{"fd", ::fcntl(3, F_GETFD) >= 0}});
                                   for (;;) ::pause();
                                 }};
// An overlay over two layers, changed from within: what a bake step is.
const RegisterCellJob overlay_job{"test-overlay", [](const Json& arguments) {
                                    const fs::path work = arguments.at("work").get<std::string>();
                                    for (const char* name : {"low", "high", "upper", "work", "root"}) make_folder(work / name);
                                    write_file_atomically(work / "low/a", "low");
                                    write_file_atomically(work / "low/b", "low");
                                    write_file_atomically(work / "high/b", "high");
                                    mount_overlay({work / "low", work / "high"}, work / "upper", work / "work", work / "root");
                                    Json answer = {{"a", read_file(work / "root/a")}, {"b", read_file(work / "root/b")}};
                                    write_file_atomically(work / "root/c", "new");
                                    fs::remove(work / "root/a");
                                    if (::chown((work / "root/c").c_str(), 1000, 1000) != 0) fail("chown: {}", errno_text(errno));
                                    struct stat status {};
                                    ::lstat((work / "upper/a").c_str(), &status);
                                    answer["whiteout"] = S_ISCHR(status.st_mode) && status.st_rdev == 0;
                                    return answer;
                                  }};
// A container whose root is the host's own /usr, seen through an overlay.
const RegisterCellJob container_job{"test-container", [](const Json& arguments) {
                                      const fs::path work = arguments.at("work").get<std::string>();
                                      for (const char* name : {"layer/usr", "layer/proc", "layer/dev", "layer/sys", "layer/run",
                                                               "layer/tmp", "layer/etc", "upper", "work", "root"})
                                        make_folder(work / name);
                                      for (const char* name : {"bin", "lib", "lib64", "sbin"}) {
                                        std::error_code ignored;
                                        fs::create_symlink(std::string("usr/") + name, work / "layer" / name, ignored);
                                      }
                                      mount_overlay({work / "layer"}, work / "upper", work / "work", work / "root");
                                      ContainerSpec spec;
                                      spec.id = "test";
                                      spec.root = work / "root";
                                      spec.hostname = "box";
                                      spec.network = arguments.value("network", "");
                                      spec.binds = {{"/usr", "/usr"}};
                                      spec.argv = {"/bin/sh", "-c", arguments.at("script").get<std::string>()};
                                      const ProcessResult result = run_container(spec, work / "bundle");
                                      return Json{{"exit", result.exit_code}, {"output", result.output}, {"error", result.error}};
                                    }};

class Collector : public EventSink {
 public:
  void on_event(const Event& event) override { texts += event.text + "\n"; }
  std::string texts;
};

// How many processes of ours are inside the PID namespace of cell jobs called `job`.
int processes_of(const std::string& job) {
  int count = 0;
  for (const auto& process : list_folder("/proc")) {
    const std::string command = read_file_if_there(process / "cmdline").value_or("");  // it may end meanwhile
    if (command.find("__cell") != std::string::npos && command.find(job) != std::string::npos) ++count;
  }
  return count;
}

void expect_soon(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!condition() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_TRUE(condition());
}

// A cell closes what it did not ask for; waiting for a program in it must not take another file for Ctrl-C, and turn in circles.
const RegisterCellJob wait_job("test-wait", [](const Json&) {
  const Fd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  pollfd polled{interrupt_fd(), POLLIN, 0};
  return Json{{"ready", ::poll(&polled, 1, 0)}, {"other", interrupt_fd() != file.get()}};
});

TEST(Cell, WaitingInItIsQuiet) {
  const Json answer = run_in_cell("test-wait", {});
  EXPECT_EQ(answer.at("ready"), 0);
  EXPECT_EQ(answer.at("other"), true);
}

TEST(Cell, IsRootOfItsOwnNamespaces) {
  CellOptions options;
  options.network_namespace = true;
  const Json answer = run_in_cell("test-who", {{"x", 1}}, std::move(options));
  EXPECT_EQ(answer["self"], 1);
  EXPECT_EQ(answer["uid"], 0);
  EXPECT_EQ(answer["echo"]["x"], 1);
  for (const char* kind : {"pid", "mnt", "net", "ipc", "uts"}) {
    EXPECT_NE(answer[kind].get<std::string>(), fs::read_symlink(std::string("/proc/self/ns/") + kind).native()) << kind;
  }
  EXPECT_LE(answer["run"].get<int>(), 3) << "only what resolv.conf may point to";
}

TEST(Cell, ErrorsAndEventsReachTheOwner) {
  const auto sink = std::make_shared<Collector>();
  add_sink(sink);
  try {
    run_in_cell("test-fail", Json::object());
    ADD_FAILURE() << "no error";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.message(), "no such thing");
    EXPECT_EQ(error.hint_text(), "try another");
    EXPECT_EQ(error.context(), std::vector<std::string>{"looking"});
  }
  remove_sink(sink);
  EXPECT_EQ(sink->texts, "about to fail\n");
}

TEST(Cell, UnknownJobAndSilentEndAreErrors) {
  EXPECT_THROW(run_in_cell("nothing", Json::object()), Error);
  try {
    run_in_cell("test-die", Json::object());
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "the cell for 'test-die' ended without an answer (exit code 7)");
  }
}

TEST(Cell, CtrlCEndsItWithAllInside) {
  std::thread user([] {
    expect_soon([] { return processes_of("test-linger") == 3; });
    set_interrupted(true);
    ::raise(SIGINT);
  });
  catch_interrupts();
  EXPECT_THROW(run_in_cell("test-linger", Json::object()), Interrupted);
  user.join();
  set_interrupted(false);
  EXPECT_EQ(processes_of("test-linger"), 0);
}

TEST(Cell, EndsWithAnOwnerThatIsKilled) {
  const pid_t owner = ::fork();
  if (owner == 0) {
    run_in_cell("test-linger", Json::object());
    ::_exit(0);
  }
  expect_soon([] { return processes_of("test-linger") == 3; });
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  expect_soon([] { return processes_of("test-linger") == 0; });
}

TEST(Cell, EndsWhenItsFirstProcessIsKilled) {
  const pid_t owner = ::fork();
  if (owner == 0) {
    try {
      run_in_cell("test-linger", Json::object());
    } catch (const Error&) {
      ::_exit(0);
    }
    ::_exit(1);
  }
  expect_soon([] { return processes_of("test-linger") == 3; });
  // The owner's only child is the first process.
  const std::string first = read_file(fmt::format("/proc/{}/task/{}/children", owner, owner));
  ::kill(std::stoi(first), SIGKILL);
  int status = 0;
  ::waitpid(owner, &status, 0);
  EXPECT_EQ(status, 0);
  expect_soon([] { return processes_of("test-linger") == 0; });
}

TEST(Cell, StartedOneGoesOnUntilKilled) {
  const TemporaryFolder folder;
  CellOptions options;
  options.die_with_parent = false;
  options.log_file = folder.path() / "log";
  options.pass_fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const StartedCell cell = start_cell("test-linger", {{"ready", true}}, std::move(options));
  EXPECT_TRUE(cell.answer["fd"].get<bool>());
  EXPECT_EQ(::kill(cell.pid, 0), 0);
  EXPECT_EQ(processes_of("test-linger"), 2);
  ::kill(cell.pid, SIGKILL);
  expect_soon([] { return processes_of("test-linger") == 0; });
}

TEST(Cell, OverlayMergesLayersAndWritesWhiteouts) {
  const TemporaryFolder folder;
  const Json answer = run_in_cell("test-overlay", {{"work", folder.path().native()}});
  EXPECT_EQ(answer["a"], "low");
  EXPECT_EQ(answer["b"], "high");
  EXPECT_TRUE(answer["whiteout"].get<bool>());
  EXPECT_FALSE(fs::exists(folder.path() / "root/a")) << "mounts end with the cell";
  remove_tree_in_cell(folder.path() / "upper");
  remove_tree_in_cell(folder.path() / "work");
  EXPECT_FALSE(fs::exists(folder.path() / "upper"));
}

TEST(Cell, ContainerRunsInsideWithNothingOfTheHost) {
  const TemporaryFolder folder;
  const Json answer = run_in_cell("test-container", {{"work", folder.path().native()},
                                                     {"script",
                                                      "hostname; id -u; ls /etc /run | grep -v : | grep . ; cat /proc/net/dev | grep -c :; "
                                                      "touch /tmp/x && chown 33:33 /tmp/x && stat -c %u /tmp/x; exit 3"}});
  EXPECT_EQ(answer["exit"], 3) << answer;
  EXPECT_EQ(answer["output"], "box\n0\n1\n33\n") << answer;
  const Json host = run_in_cell(
      "test-container", {{"work", folder.path().native()}, {"network", "host"}, {"script", "ls /sys; cat /proc/net/dev | grep -c :"}});
  EXPECT_EQ(host["exit"], 0) << host;
  remove_tree_in_cell(folder.path());
  make_folder(folder.path());
}

}  // namespace
}  // namespace kiln::container
