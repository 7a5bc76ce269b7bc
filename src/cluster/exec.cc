#include "cluster/exec.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "base/process.h"
#include "base/strings.h"
#include "base/terminal.h"

namespace kiln::cluster {

namespace {

Json exec_message(const std::string& node, const ExecRequest& request) {
  Json message = {{"do", "exec"},
                  {"node", node},
                  {"argv", request.argv},
                  {"user", request.user},
                  {"directory", request.directory},
                  {"env", request.env},
                  {"terminal", request.terminal}};
  if (request.terminal) {
    const TerminalSize size = terminal_size();
    message["rows"] = size.rows;
    message["columns"] = size.columns;
    const char* term = std::getenv("TERM");
    message["env"]["TERM"] = term == nullptr ? "xterm" : term;
  }
  return message;
}

// A pipe whose ends are closed on exec.
std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
  return {Fd(ends[0]), Fd(ends[1])};
}

}  // namespace

int pump(Channel& channel, int stdin_fd, bool terminal, const ExecOutput& output) {
  RawTerminal raw(terminal);
  bool told = false;
  for (;;) {
    if (raw.size_changed()) {
      const TerminalSize size = terminal_size();
      channel.send(Json{{"resize", {{"rows", size.rows}, {"columns", size.columns}}}});
    }
    if (interrupted() && !told) {
      channel.send(Json{{"signal", "INT"}});
      told = true;
    }
    pollfd polled[] = {{channel.fd(), POLLIN, 0}, {stdin_fd, POLLIN, 0}, {told ? -1 : interrupt_fd(), POLLIN, 0}};
    if (!channel.has_buffered_frame() && ::poll(polled, 3, -1) < 0) continue;  // a signal: look at the flags
    if (stdin_fd >= 0 && (polled[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      char buffer[65536];
      const ssize_t count = ::read(stdin_fd, buffer, sizeof buffer);
      if (count > 0) {
        channel.send('I', {buffer, static_cast<std::size_t>(count)});
      } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
        channel.send('C', {});
        stdin_fd = -1;
      }
    }
    if (!channel.has_buffered_frame() && (polled[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    std::optional<Frame> frame;
    if (told) {
      // The interrupt flag would end the wait at once; the command is being told to end and its last words are still wanted.
      set_interrupted(false);
      frame = channel.receive();
      set_interrupted(true);
    } else {
      frame = channel.receive();
    }
    if (!frame) fail("the connection to the node was lost while the command ran");
    if (frame->type == 'O' || frame->type == 'E') {
      output(frame->type, frame->payload);
      continue;
    }
    const Json message = frame->json();
    throw_if_error(message);
    if (message.contains("exit")) {
      if (told) throw Interrupted();
      return message.at("exit").get<int>();
    }
  }
}

int exec_on_node(Session& session, const std::string& node, const ExecRequest& request, int stdin_fd, const ExecOutput& output) {
  return with_context(fmt::format("running a command on {}", node), [&] {
    auto channel = session.request(exec_message(session.node(node).name, request));
    if (stdin_fd < 0) {
      try {
        channel.send('C', {});
      } catch (const Interrupted&) {
        throw;
      } catch (const Error&) {
        // The agent has refused already: its reason is there to be read.
      }
    }
    return pump(channel, stdin_fd, request.terminal, output);
  });
}

std::vector<int> exec_on_nodes(Session& session, const std::vector<std::string>& nodes, const ExecRequest& request,
                               const std::function<void(const std::string&, char, std::string_view)>& output) {
  std::vector<int> codes(nodes.size(), 0);
  std::mutex lock;
  // One thread a node, as all the work is elsewhere; 32 at a time keep a thousand nodes from needing a thousand stacks.
  parallel_for(nodes.size(), 32, [&](std::size_t index) {
    std::map<char, std::string> pending;
    const auto take = [&](char type, std::string_view bytes) {
      std::string& text = pending[type];
      text += bytes;
      std::size_t start = 0;
      const std::lock_guard guard(lock);
      for (std::size_t end; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
        output(nodes[index], type, std::string_view(text).substr(start, end - start));
      }
      text.erase(0, start);
    };
    codes[index] = exec_on_node(session, nodes[index], request, -1, take);
    const std::lock_guard guard(lock);
    for (const auto& [type, text] : pending) {
      if (!text.empty()) output(nodes[index], type, text);
    }
  });
  return codes;
}

void upload(Session& session, const std::string& node, const std::vector<fs::path>& paths, const std::string& folder,
            const std::string& user) {
  if (paths.empty()) return;
  std::vector<std::string> tar = {"tar", "--create", "--file=-", "--dereference"};
  for (const auto& path : paths) {
    if (!fs::exists(path)) fail_usage("cannot carry '{}' to {}: No such file or directory", path.native(), node);
    const fs::path absolute = fs::canonical(path);
    tar.insert(tar.end(), {"-C", absolute.parent_path().native(), "./" + absolute.filename().native()});
  }
  auto [read_end, write_end] = make_pipe();
  std::exception_ptr local_failure;
  // tar writes into the pipe on its own thread; what comes out is the remote tar's standard input.
  std::jthread writer([&, end = std::move(write_end)]() mutable {
    try {
      ProcessOptions options;
      options.stdout_fd = end.get();
      run_checked(tar, options);
    } catch (...) {
      local_failure = std::current_exception();
    }
    end.reset();
  });
  ExecRequest extract;
  extract.user = user;
  extract.argv = {"sh", "-c", "mkdir -p \"$1\" && exec tar --extract --file=- --no-same-owner -C \"$1\"", "upload", folder};
  std::string complaint;
  int code = 1;
  try {
    code = exec_on_node(session, node, extract, read_end.get(), [&](char, std::string_view bytes) { complaint += bytes; });
  } catch (...) {
    read_end.reset();  // ends the writer, which may be blocked on the pipe
    throw;
  }
  read_end.reset();
  writer.join();
  if (local_failure && code == 0) std::rethrow_exception(local_failure);
  if (code != 0) fail("cannot carry files to {}:{}: {}", node, folder, trim(complaint));
}

void download(Session& session, const std::string& node, const std::string& path, const fs::path& folder) {
  if (!fs::is_directory(folder)) fail_usage("cannot copy to '{}': it is no folder", folder.native());
  auto [read_end, write_end] = make_pipe();
  std::exception_ptr local_failure;
  std::jthread reader([&, end = std::move(read_end)]() mutable {
    try {
      ProcessOptions options;
      options.stdin_fd = end.get();
      run_checked({"tar", "--extract", "--file=-", "--no-same-owner", "-C", folder.native()}, options);
    } catch (...) {
      local_failure = std::current_exception();
    }
  });
  const fs::path remote(path);
  const fs::path trimmed = remote.has_filename() ? remote : remote.parent_path();
  ExecRequest pack;
  pack.argv = {"tar",
               "--create",
               "--file=-",
               "-C",
               trimmed.parent_path().empty() ? "." : trimmed.parent_path().native(),
               "./" + trimmed.filename().native()};
  std::string complaint;
  const int code = exec_on_node(session, node, pack, -1, [&, sink = write_end.get()](char type, std::string_view bytes) {
    if (type == 'E') {
      complaint += bytes;
      return;
    }
    while (!bytes.empty()) {
      const ssize_t count = ::write(sink, bytes.data(), bytes.size());
      if (count < 0 && errno != EINTR) return;  // the local tar ended; its own error says why
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  });
  write_end.reset();
  reader.join();
  if (code != 0) fail("cannot copy '{}' from {}: {}", path, node, trim(complaint));
  if (local_failure) std::rethrow_exception(local_failure);
}

}  // namespace kiln::cluster
