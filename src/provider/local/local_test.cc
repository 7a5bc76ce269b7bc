// The local provider with real cells, networks and containers. A node's agent is this very program in another part: started as
// /usr/lib/kiln/kiln-node it answers at port 7099 with what it sees. Runs as root and as an ordinary user alike.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "container/cell.h"
#include "provider/local/control.h"
#include "provider/local/machine.h"
#include "provider/local/record.h"
#include "provider/provider.h"

namespace kiln::provider::local {
namespace {

using namespace std::chrono_literals;

// --- the toy agent ---

volatile sig_atomic_t told_to_stop = 0;

std::string ask_at(int socket, const std::string& request) {
  [[maybe_unused]] const ssize_t ignored = ::write(socket, request.data(), request.size());
  ::shutdown(socket, SHUT_WR);
  std::string answer;
  char bytes[4096];
  for (ssize_t count; (count = ::read(socket, bytes, sizeof bytes)) > 0;) answer.append(bytes, static_cast<std::size_t>(count));
  return answer;
}

std::string ask_peer(const std::string& name, const std::string& request) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(name.c_str(), "7099", &hints, &found) != 0) return "unknown";
  const Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
  std::string answer = "unreachable";
  if (::connect(socket.get(), found->ai_addr, found->ai_addrlen) == 0) answer = ask_at(socket.get(), request);
  ::freeaddrinfo(found);
  return answer;
}

std::string agent_answer(const std::string& request) {
  const auto words = split(request, ' ');
  char name[256] = "";
  ::gethostname(name, sizeof name);
  if (words[0] == "name") return name;
  if (words[0] == "peer") return ask_peer(words.at(1), "name");
  if (words[0] == "end") {
    ::kill(::getppid(), SIGTERM);
    return "";
  }
  if (words[0] == "file") return read_file_if_there(words.at(1)).value_or("absent");
  if (words[0] == "net") {
    const Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in address = socket_address(words.at(1), std::stoi(words.at(2)));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return errno_text(errno);
    return ask_at(socket.get(), "hello from " + std::string(name));
  }
  if (words[0] == "write") {
    std::ofstream(words.at(1)) << words.at(2);
    return "ok";
  }
  return "";
}

[[noreturn]] void be_agent() {
  struct sigaction action {};
  action.sa_handler = [](int) { told_to_stop = 1; };
  ::sigaction(SIGTERM, &action, nullptr);
  const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in any = socket_address("0.0.0.0", 7099);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || ::listen(listener.get(), 64) != 0) ::_exit(3);
  std::printf("agent listens\n");
  std::fflush(nullptr);
  while (told_to_stop == 0) {
    pollfd polled{listener.get(), POLLIN, 0};
    if (::poll(&polled, 1, 20) <= 0) continue;  // a signal just before poll() is seen soon
    const Fd client(::accept(listener.get(), nullptr, nullptr));
    if (!client) continue;
    // Asking a peer that is oneself must not wait for itself.
    if (::fork() != 0) continue;
    std::string request;
    char byte;
    while (::read(client.get(), &byte, 1) == 1) request += byte;
    const std::string answer = agent_answer(request);
    [[maybe_unused]] const ssize_t ignored = ::write(client.get(), answer.data(), answer.size());
    ::_exit(0);
  }
  std::ofstream("/stopped-in-order") << "yes";
  ::_exit(0);
}

[[gnu::constructor]] void maybe_be_agent(int, char** argv, char**) {
  if (argv != nullptr && argv[0] != nullptr && std::string_view(argv[0]) == kAgent) be_agent();
}

// --- the tests ---

int keepers() {
  int count = 0;
  for (const auto& process : list_folder("/proc")) {
    const std::string command = read_file_if_there(process / "cmdline").value_or("");  // it may end meanwhile
    if (command.find("local-cluster") != std::string::npos) ++count;
  }
  return count;
}

// Control groups in `folder`, at every depth; a cluster that is ending may take its own away meanwhile.
std::string groups_in(const fs::path& folder) {
  std::string all;
  std::error_code ignored;
  for (const auto& group : list_folder(folder)) {
    if (fs::is_directory(group, ignored)) all += group.native() + "\n" + groups_in(group);
  }
  return all;
}

// What a cluster could leave on the host.
std::string traces() {
  std::string all = read_file("/proc/self/mountinfo");
  for (const auto& device : list_folder("/sys/class/net")) all += device.filename().native() + "\n";
  for (const auto& network : list_folder("/run/netns")) all += network.native() + "\n";
  for (const auto& controller : list_folder("/sys/fs/cgroup")) all += groups_in(controller / "kiln");
  return all;
}

void expect_soon(const std::function<bool()>& condition, const std::string& what) {
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!condition() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(2ms);
  EXPECT_TRUE(condition()) << what;
}

class LocalProviderTest : public testing::Test {
 protected:
  // One image for all tests: this program with its libraries.
  static void SetUpTestSuite() {
    base_ = std::make_unique<TemporaryFolder>();
    image_ = base_->path() / "image";
    const fs::path self = fs::read_symlink("/proc/self/exe");
    make_folder(image_ / "usr/lib/kiln");
    for (const char* folder : {"etc", "proc", "dev", "sys", "run", "tmp"}) make_folder(image_ / folder);
    fs::copy_file(self, image_ / "usr/lib/kiln/kiln-node");
    for (const auto& line : split(run_checked({"ldd", self}).output, '\n')) {
      const auto start = line.find('/');
      if (start == std::string::npos) continue;
      const fs::path library = line.substr(start, line.find(' ', start) - start);
      make_folder(image_ / library.relative_path().parent_path());
      fs::copy_file(library, image_ / library.relative_path(), fs::copy_options::overwrite_existing);
    }
    for (const auto& entry : fs::directory_iterator("/lib/x86_64-linux-gnu")) {
      if (entry.path().filename().native().starts_with("libnss_files"))
        fs::copy_file(entry.path(), image_ / entry.path().relative_path(), fs::copy_options::overwrite_existing);
    }
    write_file_atomically(image_ / "etc/nsswitch.conf", "hosts: files dns\n");
    // A link that leads out of the image must not be followed.
    fs::create_symlink("/tmp/kiln-test-outside", image_ / "etc/resolv.conf");
  }
  static void TearDownTestSuite() { base_.reset(); }

  void SetUp() override {
    home_ = std::make_unique<TemporaryFolder>();
    ::setenv("KILN_HOME", home_->path().c_str(), 1);
    before_ = traces();
    keepers_before_ = keepers();
    provider_ = make_provider("local");
  }
  void TearDown() override {
    for (const auto& cluster : provider_->list()) provider_->destroy(cluster.name);
    provider_->collect_garbage(false);
    expect_soon([&] { return keepers() == keepers_before_; }, "no keeper is left");
    EXPECT_EQ(traces(), before_);
    // A keeper that ended by its lease may have met collect_garbage() over the same folder: the next call finishes it.
    const auto only_the_lock = [&] {
      provider_->collect_garbage(false);
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(home_->path() / "clusters", ignored)) {
        if (entry.path().filename() != ".lock") return false;
      }
      return true;
    };
    expect_soon(only_the_lock, "no folder of a cluster is left");
  }

  static CreateRequest request(const std::string& name, int workers = 2) {
    CreateRequest request;
    request.cluster.name = name;
    request.cluster.secret = "00ff";
    request.cluster.image = "toy";
    request.image = {"toy", "digest", {"key"}, {image_.native()}};
    request.nodes.push_back({"master-1", "master", {}});
    for (int i = 1; i <= workers; ++i) request.nodes.push_back({"worker-" + std::to_string(i), "worker", {}});
    request.document = [name](const Node& node, const std::vector<Node>& known) {
      config::NodeDocument document;
      document.cluster = name;
      document.node = node.name;
      document.role = node.role;
      document.address = node.address;
      document.secret = "00ff";
      for (const auto& other : known) document.nodes.push_back({other.name, other.role, other.address});
      return document;
    };
    return request;
  }

  std::string ask_node(const std::string& cluster, const std::string& node, const std::string& question) {
    const Fd socket = provider_->connect(cluster, node, 7099, 5s);
    return ask_at(socket.get(), question);
  }

  static std::unique_ptr<TemporaryFolder> base_;
  static fs::path image_;
  std::unique_ptr<TemporaryFolder> home_;
  std::unique_ptr<Provider> provider_;
  std::string before_;
  int keepers_before_ = 0;
};
std::unique_ptr<TemporaryFolder> LocalProviderTest::base_;
fs::path LocalProviderTest::image_;

TEST_F(LocalProviderTest, NodesRunKnowEachOtherAndAreReachedFromTheHost) {
  const auto started = std::chrono::steady_clock::now();
  const Cluster cluster = provider_->create(request("demo"));
  const auto created = std::chrono::steady_clock::now();
  for (const auto& node : cluster.nodes) EXPECT_EQ(ask_node("demo", node.name, "name"), node.name);
  RecordProperty("create_ms", static_cast<int>((created - started) / 1ms));
  std::printf("create: %.0Lf ms, all answer: %.0Lf ms\n", (created - started) / 1.0ms,
              (std::chrono::steady_clock::now() - started) / 1.0ms);
  EXPECT_EQ(ask_node("demo", "master-1", "peer worker-2"), "worker-2");
  EXPECT_EQ(ask_node("demo", "worker-2", "peer worker-1"), "worker-1");
  const Json document = Json::parse(ask_node("demo", "worker-1", "file /run/kiln/node.json"));
  EXPECT_EQ(document["node"], "worker-1");
  EXPECT_EQ(document["address"], cluster.nodes[1].address);
  EXPECT_NE(ask_node("demo", "worker-1", "file /etc/resolv.conf"), "absent");
  EXPECT_FALSE(fs::exists("/tmp/kiln-test-outside"));

  EXPECT_EQ(provider_->find("demo")->state, State::kCreating);
  provider_->commit("demo", {{"spec", 1}});
  const auto found = provider_->find("demo");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state, State::kRunning);
  EXPECT_EQ(found->notes, (Json{{"spec", 1}}));
  EXPECT_EQ(found->secret, "00ff");
  for (const auto& node : found->nodes) {
    EXPECT_TRUE(node.running);
    EXPECT_GE(node.resources.memory_bytes, 1LL << 30);
    EXPECT_GE(node.resources.cpus, 1);
  }

  const std::string at = provider_->forward("demo", "worker-2", 7099);
  EXPECT_EQ(provider_->forward("demo", "worker-2", 7099), at) << "the same answer for the same port";
  for (int i = 0; i < 3; ++i) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in address = socket_address("127.0.0.1", std::stoi(at.substr(at.find(':') + 1)));
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(ask_at(socket.get(), "name"), "worker-2");
  }
  const auto destroying = std::chrono::steady_clock::now();
  provider_->destroy("demo");
  std::printf("destroy: %.0Lf ms\n", (std::chrono::steady_clock::now() - destroying) / 1.0ms);
  EXPECT_FALSE(provider_->find("demo"));
  provider_->destroy("demo");
}

// An address of the host that is not its loopback, or nothing.
std::string own_address() {
  ifaddrs* all = nullptr;
  std::string found;
  ::getifaddrs(&all);
  for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN];
    found = ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text, sizeof text);
  }
  ::freeifaddrs(all);
  return found;
}

TEST_F(LocalProviderTest, NodesReachTheHostsNetworkButNotItsLoopback) {
  provider_->create(request("demo", 1));
  provider_->commit("demo", {});
  const auto folder = cluster_folder("demo");
  if (!ask(folder, {{"do", "status"}}, 1s).at("way_out").get<bool>() || own_address().empty()) {
    EXPECT_EQ(ask_node("demo", "worker-1", "file /etc/resolv.conf"), "") << "a silent name server would hold Spark up";
    EXPECT_EQ(ask_node("demo", "worker-1", "net 192.0.2.77 80"), errno_text(ENETUNREACH));
    GTEST_SKIP() << "this host has no way out";
  }
  EXPECT_NE(ask_node("demo", "worker-1", "file /etc/resolv.conf").find("nameserver 10.0.2.3"), std::string::npos);
  const auto serve = [](const std::string& at) {
    Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = socket_address(at, 0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener.get(), 8), 0);
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return std::pair(std::move(listener), ntohs(address.sin_port));
  };
  const auto started = std::chrono::steady_clock::now();
  auto [listener, port] = serve(own_address());
  std::thread host([fd = listener.get()] {
    const Fd client(::accept(fd, nullptr, nullptr));
    char bytes[64];
    std::string greeting;
    for (ssize_t count; (count = ::read(client.get(), bytes, sizeof bytes)) > 0;) greeting.append(bytes, static_cast<std::size_t>(count));
    greeting += "!";
    [[maybe_unused]] const ssize_t ignored = ::write(client.get(), greeting.data(), greeting.size());
  });
  std::string answer;
  expect_soon(
      [&, port = port] {
        if (answer != "hello from worker-1!") answer = ask_node("demo", "worker-1", fmt::format("net {} {}", own_address(), port));
        return answer == "hello from worker-1!";
      },
      "the way out opens");
  std::printf("way out after %.0Lf ms\n", (std::chrono::steady_clock::now() - started) / 1.0ms);
  ::shutdown(listener.get(), SHUT_RDWR);
  host.join();
  EXPECT_EQ(answer, "hello from worker-1!");
  auto [loopback, hidden_port] = serve("127.0.0.1");
  EXPECT_EQ(ask_node("demo", "worker-1", fmt::format("net 10.0.2.2 {}", hidden_port)).find("hello"), std::string::npos);
}

TEST_F(LocalProviderTest, LimitsHoldWhereTheKernelGivesThem) {
  auto limited = request("demo", 1);
  limited.nodes[1].resources = {0.5, 256LL << 20};
  const Cluster cluster = provider_->create(limited);
  EXPECT_EQ(cluster.nodes[1].resources.memory_bytes, 256LL << 20);
  EXPECT_EQ(ask_node("demo", "worker-1", "name"), "worker-1");
  if (container::is_rootless()) GTEST_SKIP() << "an ordinary user has no control groups";
  const auto record = load_record(cluster_folder("demo"));
  const fs::path v1 = "/sys/fs/cgroup/memory" + record->cgroup + "/worker-1/memory.limit_in_bytes",
                 v2 = "/sys/fs/cgroup" + record->cgroup + "/worker-1/memory.max";
  EXPECT_EQ(std::string(trim(read_file(fs::exists(v1) ? v1 : v2))), std::to_string(256LL << 20));
  const fs::path quota_v1 = "/sys/fs/cgroup/cpu" + record->cgroup + "/worker-1/cpu.cfs_quota_us";
  if (fs::exists(quota_v1)) {
    EXPECT_EQ(std::string(trim(read_file(quota_v1))), "50000");
  }
}

TEST_F(LocalProviderTest, DeadNodeIsSeen) {
  provider_->create(request("demo", 1));
  provider_->commit("demo", {});
  EXPECT_EQ(ask_node("demo", "worker-1", "end"), "");
  expect_soon([&] { return !provider_->find("demo")->nodes[1].running; }, "the end of a node is noticed");
  EXPECT_TRUE(provider_->find("demo")->nodes[0].running);
  EXPECT_EQ(provider_->find("demo")->state, State::kRunning);
  EXPECT_THROW(provider_->connect("demo", "worker-1", 7099, 5s), Error);
  provider_->remove_nodes("demo", {"worker-1"});
  EXPECT_EQ(provider_->find("demo")->nodes.size(), 1u);
}

TEST_F(LocalProviderTest, SixteenWorkers) {
  const auto started = std::chrono::steady_clock::now();
  const Cluster cluster = provider_->create(request("many", 16));
  const auto created = std::chrono::steady_clock::now();
  for (const auto& node : cluster.nodes) EXPECT_EQ(ask_node("many", node.name, "name"), node.name);
  EXPECT_EQ(ask_node("many", "worker-16", "peer worker-9"), "worker-9");
  const auto destroying = std::chrono::steady_clock::now();
  provider_->destroy("many");
  std::printf("create 1+16: %.0Lf ms, destroy: %.0Lf ms\n", (created - started) / 1.0ms,
              (std::chrono::steady_clock::now() - destroying) / 1.0ms);
}

TEST_F(LocalProviderTest, TwoClustersDoNotClash) {
  provider_->create(request("one", 1));
  provider_->create(request("two", 1));
  provider_->commit("one", {});
  provider_->commit("two", {});
  EXPECT_EQ(provider_->find("one")->nodes[0].address, provider_->find("two")->nodes[0].address);
  EXPECT_EQ(Json::parse(ask_node("one", "worker-1", "file /run/kiln/node.json"))["cluster"], "one");
  EXPECT_EQ(Json::parse(ask_node("two", "worker-1", "file /run/kiln/node.json"))["cluster"], "two");
  EXPECT_EQ(provider_->list().size(), 2u);
  EXPECT_THROW(provider_->create(request("one", 1)), UsageError);
  EXPECT_EQ(ask_node("one", "worker-1", "name"), "worker-1") << "a taken name leaves its owner alone";
}

TEST_F(LocalProviderTest, LauncherKilledBeforeCommitLeavesNothing) {
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    provider_->create(request("demo"));
    for (;;) ::pause();
  }
  const auto runs = [&] {
    const auto cluster = provider_->find("demo");  // asked once: it may change between two calls
    return cluster && !cluster->nodes.empty() && cluster->nodes[0].running;
  };
  expect_soon(runs, "it is being launched");
  ::kill(launcher, SIGKILL);
  ::waitpid(launcher, nullptr, 0);
  expect_soon([&] { return keepers() == keepers_before_; }, "the keeper has ended");
  expect_soon([&] { return !fs::exists(cluster_folder("demo")) && provider_->list().empty(); }, "nothing is left");
}

TEST_F(LocalProviderTest, LauncherKilledAtAnyMomentLetsTheNextLaunchWork) {
  for (int delay_ms = 0; delay_ms < 60; delay_ms += 6) {
    const pid_t launcher = ::fork();
    if (launcher == 0) {
      provider_->create(request("demo", 1));
      for (;;) ::pause();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));  // the moment is what this test varies
    ::kill(launcher, SIGKILL);
    ::waitpid(launcher, nullptr, 0);
    // A cell that was just being started still holds the lock, and may not be called a keeper yet.
    expect_soon([&] { return !is_locked(cluster_folder("demo")) && keepers() == keepers_before_ && provider_->list().empty(); },
                "it has ended");
  }
  provider_->create(request("demo", 1));
  provider_->commit("demo", {});
  EXPECT_EQ(ask_node("demo", "master-1", "name"), "master-1");
  EXPECT_EQ(ask_node("demo", "worker-1", "peer master-1"), "master-1");
}

TEST_F(LocalProviderTest, FailedCreateLeavesNothingAndSaysWhy) {
  auto broken = request("demo");
  broken.image.layer_folders.push_back("/no/such/layer");
  try {
    provider_->create(broken);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("/no/such/layer"), std::string::npos) << error.what();
    ASSERT_FALSE(error.context().empty());
    EXPECT_NE(error.context()[0].find("starting node"), std::string::npos);
  }
  EXPECT_FALSE(fs::exists(cluster_folder("demo")));
}

TEST_F(LocalProviderTest, KilledKeeperIsLostAndStartsAgainWithItsDisks) {
  provider_->create(request("demo", 1));
  provider_->commit("demo", {});
  EXPECT_EQ(ask_node("demo", "worker-1", "write /kept hello"), "ok");
  expect_soon([&] { return ask_node("demo", "worker-1", "file /kept") == "hello"; }, "written");
  const Fd keeper = keeper_process(cluster_folder("demo"));
  ASSERT_TRUE(keeper);
  ::syscall(424 /* pidfd_send_signal */, keeper.get(), SIGKILL, nullptr, 0);
  expect_soon([&] { return provider_->find("demo")->state == State::kLost; }, "lost");
  EXPECT_EQ(keepers(), keepers_before_);
  EXPECT_THROW(provider_->connect("demo", "worker-1", 7099, 100ms), Error);
  const auto leftovers = provider_->collect_garbage(true);
  ASSERT_EQ(leftovers.size(), 1u);
  EXPECT_EQ(leftovers[0].what, "cluster demo: its machines are gone");
  EXPECT_FALSE(leftovers[0].removed);
  EXPECT_TRUE(provider_->find("demo"));

  const std::string address = provider_->find("demo")->nodes[1].address;
  provider_->start("demo", request("demo", 1));
  provider_->commit("demo", {});
  EXPECT_EQ(ask_node("demo", "worker-1", "file /kept"), "hello");
  EXPECT_EQ(provider_->find("demo")->nodes[1].address, address);
}

TEST_F(LocalProviderTest, StopKeepsDisksAndStartBringsThemBack) {
  provider_->create(request("demo", 1));
  provider_->commit("demo", {{"a", 1}});
  EXPECT_EQ(ask_node("demo", "worker-1", "write /kept hello"), "ok");
  EXPECT_EQ(ask_node("demo", "master-1", "name"), "master-1");
  provider_->stop("demo");
  EXPECT_EQ(keepers(), keepers_before_);
  auto found = provider_->find("demo");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state, State::kStopped);
  EXPECT_FALSE(found->nodes[0].running);
  EXPECT_TRUE(provider_->collect_garbage(false).empty()) << "a stopped cluster is no garbage";
  provider_->stop("demo");

  const Cluster again = provider_->start("demo", request("demo", 1));
  EXPECT_EQ(ask_node("demo", "worker-1", "file /kept"), "hello");
  EXPECT_EQ(ask_node("demo", "worker-1", "file /stopped-in-order"), "yes");
  EXPECT_EQ(again.notes, (Json{{"a", 1}}));
  EXPECT_EQ(ask_node("demo", "master-1", "name"), "master-1");
  // Given up before commit: stopped again, not removed.
  provider_->stop("demo");
  EXPECT_EQ(provider_->find("demo")->state, State::kStopped);
}

TEST_F(LocalProviderTest, NodesComeAndGo) {
  provider_->create(request("demo", 1));
  provider_->commit("demo", {});
  const auto how = request("demo", 0);
  const auto added = provider_->add_nodes("demo", {{"worker-2", "worker", {}}, {"worker-3", "worker", {}}}, how);
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(provider_->find("demo")->nodes.size(), 4u);
  EXPECT_THROW(provider_->add_nodes("demo", {{"worker-3", "worker", {}}}, how), Error);
  for (const char* node : {"master-1", "worker-1", "worker-2"}) EXPECT_EQ(ask_node("demo", node, "name"), node);
  provider_->remove_nodes("demo", {"worker-1", "worker-2", "nobody"});
  const auto found = provider_->find("demo");
  ASSERT_EQ(found->nodes.size(), 2u);
  EXPECT_EQ(found->nodes[1].name, "worker-3");
  EXPECT_FALSE(fs::exists(cluster_folder("demo") / "nodes/worker-1"));
  EXPECT_EQ(ask_node("demo", "worker-3", "peer master-1"), "master-1");
  EXPECT_THROW(provider_->connect("demo", "worker-1", 7099, 100ms), Error);
}

TEST_F(LocalProviderTest, LeaseEndsTheClusterByItself) {
  auto leased = request("demo", 1);
  leased.cluster.lease_until = ::time(nullptr) + 2;
  provider_->create(leased);
  provider_->commit("demo", {});
  EXPECT_EQ(provider_->find("demo")->state, State::kRunning);
  expect_soon([&] { return !fs::exists(cluster_folder("demo")); }, "removed by itself");
  EXPECT_FALSE(provider_->find("demo"));
}

TEST_F(LocalProviderTest, FolderRemovedByHandEndsTheCluster) {
  provider_->create(request("demo", 1));
  provider_->commit("demo", {{"again", 1}});
  EXPECT_EQ(ask_node("demo", "worker-1", "name"), "worker-1");
  container::remove_tree_in_cell(cluster_folder("demo"));
  expect_soon([&] { return keepers() == keepers_before_; }, "a keeper that nobody can find any more ends");
}

TEST_F(LocalProviderTest, BrokenRecordIsLostAndDestroyedAllTheSame) {
  make_folder(cluster_folder("bad"));
  write_file_atomically(cluster_folder("bad") / "cluster.json", "{");
  make_folder(cluster_folder("half"));
  const auto all = provider_->list();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].name, "bad");
  EXPECT_EQ(all[0].state, State::kLost);
  provider_->destroy("bad");
  const auto leftovers = provider_->collect_garbage(false);
  ASSERT_EQ(leftovers.size(), 1u);
  EXPECT_EQ(leftovers[0].what, "cluster half: interrupted launch");
}

TEST(LocalRecord, SharesTheMachine) {
  const auto share = share_of_machine({}, 3, 8, 24LL << 30);
  EXPECT_EQ(share.cpus, 8);
  EXPECT_EQ(share.memory_bytes, 6LL << 30);
  EXPECT_EQ(share_of_machine({}, 100, 8, 24LL << 30).memory_bytes, 1LL << 30);
  EXPECT_EQ(share_of_machine({2, 5}, 3, 8, 24LL << 30).memory_bytes, 5);
}

TEST(LocalRecord, AddressesAreNotGivenTwice) {
  Record record;
  EXPECT_EQ(take_address(record), "10.88.0.2");
  EXPECT_EQ(take_address(record), "10.88.0.3");
  record.next_host = 258;
  EXPECT_EQ(take_address(record), "10.88.1.2");
  Node node;
  node.address = "10.88.0.2";
  record.cluster.nodes.push_back(node);
  record.next_host = 65534;
  EXPECT_EQ(take_address(record), "10.88.0.3");
}

TEST(LocalRecord, SubnetKeepsClearOfTheHostsRoutes) {
  const std::string head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
  const std::string fallback = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
  EXPECT_EQ(choose_subnet(head + fallback), "10.88");
  EXPECT_TRUE(has_default_route(head + fallback));
  EXPECT_FALSE(has_default_route(head));
  EXPECT_EQ(choose_subnet(head + "eth0\t0000580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"), "10.188") << "10.88.0.0/24 is the host's";
  EXPECT_EQ(choose_subnet(head + "tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"), "172.29") << "10.0.0.0/8 is the host's";
}

}  // namespace
}  // namespace kiln::provider::local
