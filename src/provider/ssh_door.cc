#include "provider/ssh_door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/files.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/process.h"
#include "base/strings.h"
#include "provider/ssh_keys.h"

namespace kiln::provider {

namespace {

using std::chrono::milliseconds;

// What boots refuses some hundred times in the time it takes; an attempt costs a process.
constexpr milliseconds kFirstPause{100}, kLongestPause{1000};

// Starts a program whose standard input and output are `stream` and which nobody waits for: it ends when the other end is closed.
void start_alone(const std::vector<std::string>& words, int stream, int error_file) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t between = ::fork();
  if (between < 0) fail("cannot start a process: {}", errno_text(errno));
  if (between == 0) {
    // Only what is safe after a fork of a process with threads.
    if (::fork() != 0) ::_exit(0);
    ::setsid();  // Ctrl-C is kiln's to handle
    ::dup2(stream, STDIN_FILENO);
    ::dup2(stream, STDOUT_FILENO);
    ::dup2(error_file, STDERR_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  wait_for_child(between);
}

enum class Outcome { kTalks, kEnded, kSilent };

// Until something can be read, the stream ends or the time is over.
Outcome wait_for_word(int stream, milliseconds at_most) {
  pollfd polled[] = {{stream, POLLIN, 0}, {interrupt_fd(), POLLIN, 0}};
  const int ready = ::poll(polled, 2, static_cast<int>(std::max<std::int64_t>(0, at_most.count())));
  throw_if_interrupted();
  if (ready <= 0) return Outcome::kSilent;
  char byte = 0;
  return ::recv(stream, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 ? Outcome::kTalks : Outcome::kEnded;
}

void pause_for(milliseconds time) {
  pollfd user{interrupt_fd(), POLLIN, 0};
  ::poll(&user, 1, static_cast<int>(time.count()));
  throw_if_interrupted();
}

void throw_if_wrong_host(const std::string& said, const std::string& cluster, const SshDoor::Host& host) {
  if (said.find("Host key verification failed") == std::string::npos && said.find("host key for") == std::string::npos) return;
  WrongHost error(fmt::format("the machine at {} is not one of cluster '{}': it has another SSH host key", host.address, cluster));
  error.set_hint("nothing was sent to it; somebody may be listening in between, or the address belongs to another machine by now");
  throw error;
}

int free_port() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!listener || ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail("cannot listen at 127.0.0.1: {}", errno_text(errno));
  return ntohs(address.sin_port);
}

void write_if_other(const fs::path& file, const std::string& text) {
  if (read_file_if_there(file) != text) write_file_atomically(file, text, 0600);
}

}  // namespace

SshDoor::SshDoor(fs::path folder, std::string cluster, std::string_view secret) : folder_(std::move(folder)), cluster_(std::move(cluster)) {
  if (!find_program("ssh")) {
    Error error("'ssh' is not installed, by which clusters in a cloud are reached");
    error.set_hint("sudo apt-get install openssh-client");
    throw error;
  }
  make_folder(folder_, 0700);
  write_if_other(folder_ / "key", derive_ssh_key(secret, "user").private_text);
  write_if_other(folder_ / "known_hosts", fmt::format("kiln-{} {}\n", cluster_, derive_ssh_key(secret, "host").public_line));
}

// A socket's path may have 107 characters, of which ssh takes 17 for a name of its own while it makes it.
fs::path SshDoor::session_socket(const Host& host, const std::string& session) const {
  const std::string id =
      sha256_hex(fmt::format("{} {}@{}:{} {}", folder_.native(), host.user, host.address, host.port, session)).substr(0, 16);
  return folder_ / ("s-" + id);
}

std::vector<std::string> SshDoor::options(const Host& host, const std::string& session) const {
  std::vector<std::string> words = {
      "ssh", "-F", "none", "-p", std::to_string(host.port), "-l", host.user, "-i", (folder_ / "key").native()};
  std::vector<std::string> settings = {"BatchMode=yes",
                                       "IdentitiesOnly=yes",
                                       "StrictHostKeyChecking=yes",
                                       "GlobalKnownHostsFile=/dev/null",
                                       "UserKnownHostsFile=" + (folder_ / "known_hosts").native(),
                                       "HostKeyAlias=kiln-" + cluster_,
                                       "HostKeyAlgorithms=ssh-ed25519",
                                       "ConnectTimeout=5",
                                       "ServerAliveInterval=15",
                                       "LogLevel=ERROR"};
  const fs::path socket = session_socket(host, session);
  if (constexpr std::size_t kLongest = 107 - 17; !session.empty() && socket.native().size() <= kLongest) {
    settings.insert(settings.end(), {"ControlMaster=auto", "ControlPath=" + socket.native(), "ControlPersist=600"});
  }
  for (const auto& setting : settings) words.insert(words.end(), {"-o", setting});
  return words;
}

Fd SshDoor::connect(const Host& host, const std::string& address, int port, milliseconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const TemporaryFolder work;
  std::string said;
  for (milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("cannot make a pair of sockets: {}", errno_text(errno));
    Fd ours(ends[0]), theirs(ends[1]);
    const fs::path error_path = work.path() / "error";
    {
      const Fd error_file(::open(error_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
      auto words = options(host, "channel");
      words.insert(words.end(), {"-W", fmt::format("{}:{}", address, port), host.address});
      start_alone(words, theirs.get(), error_file.get());
      theirs.reset();
    }
    const auto left = [&] { return std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now()); };
    const Outcome outcome = wait_for_word(ours.get(), left());
    if (outcome == Outcome::kTalks) return ours;
    said = trim(read_file_if_there(error_path).value_or(""));
    throw_if_wrong_host(said, cluster_, host);
    if (outcome == Outcome::kSilent || left() <= pause) break;
    pause_for(pause);
  }
  Error error(fmt::format("cannot reach port {} of {} by SSH to {}{}", port, address, host.address, said.empty() ? "" : ": " + said));
  throw error;
}

std::string SshDoor::forward(const Host& host, const std::string& address, int port) const {
  const int local = free_port();
  auto words = options(host, "");
  words.insert(words.end(),
               {"-f", "-N", "-o", "ExitOnForwardFailure=yes", "-S", session_socket(host, fmt::format("{}:{}", address, port)).native(),
                "-M", "-L", fmt::format("127.0.0.1:{}:{}:{}", local, address, port), host.address});
  ProcessOptions process;
  process.die_with_parent = false;
  const ProcessResult result = run(words, process);
  throw_if_wrong_host(result.error, cluster_, host);
  if (!result.ok()) fail("cannot forward port {} of {} by SSH to {}: {}", port, address, host.address, trim(result.error));
  return fmt::format("127.0.0.1:{}", local);
}

ProcessResult SshDoor::feed(const Host& host, const std::vector<std::string>& command, const fs::path& input) const {
  const Fd file(::open(input.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) fail("cannot open '{}': {}", input.native(), errno_text(errno));
  auto words = options(host, "");
  words.insert(words.end(), {host.address, "--"});
  for (const auto& word : command) words.push_back(shell_quote(word));
  ProcessOptions process;
  process.stdin_fd = file.get();
  ProcessResult result = run(words, process);
  throw_if_wrong_host(result.error, cluster_, host);
  return result;
}

std::string SshDoor::socks_proxy(const Host& host, int port) const {
  const std::string socket = session_socket(host, "socks").native();
  const auto to_session = [&](const char* what) { return run({"ssh", "-F", "none", "-S", socket, "-O", what, "kiln"}, {}).ok(); };
  const std::string last(trim(read_file_if_there(folder_ / "socks").value_or("")));
  if (!last.empty() && to_session("check")) {
    if (port == 0 || last == std::to_string(port)) return "127.0.0.1:" + last;
    to_session("exit");
  }
  const int local = port == 0 ? free_port() : port;
  auto words = options(host, "");
  words.insert(words.end(),
               {"-f", "-N", "-o", "ExitOnForwardFailure=yes", "-S", socket, "-M", "-D", fmt::format("127.0.0.1:{}", local), host.address});
  ProcessOptions process;
  process.die_with_parent = false;
  const ProcessResult result = run(words, process);
  throw_if_wrong_host(result.error, cluster_, host);
  if (!result.ok()) fail("cannot start a SOCKS proxy at port {} by SSH to {}: {}", local, host.address, trim(result.error));
  write_if_other(folder_ / "socks", std::to_string(local) + "\n");
  return fmt::format("127.0.0.1:{}", local);
}

std::vector<std::string> SshDoor::command_line(const Host& host, const std::string& address,
                                               const std::vector<std::string>& command) const {
  // All machines of a cluster have one host key and one name to check it by.
  auto words = options(host, address.empty() ? "channel" : "");
  if (!address.empty()) {
    std::string way;
    for (const auto& word : options(host, "channel")) way += shell_quote(word) + " ";
    words.insert(words.end(), {"-o", fmt::format("ProxyCommand={}-W {}:22 {}", way, address, host.address)});
  }
  words.push_back(address.empty() ? host.address : address);
  if (command.empty()) return words;
  words.emplace_back("--");
  for (const auto& word : command) words.push_back(shell_quote(word));
  return words;
}

void SshDoor::close(const fs::path& folder) {
  std::error_code ignored;
  std::vector<fs::path> sockets;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().native().starts_with("s-")) sockets.push_back(entry.path());
  }
  for (const auto& socket : sockets) {
    try {
      run({"ssh", "-F", "none", "-S", socket.native(), "-O", "exit", "kiln"}, {});
    } catch (const std::exception&) {
      // Gone already.
    }
    fs::remove(socket, ignored);
  }
}

}  // namespace kiln::provider
