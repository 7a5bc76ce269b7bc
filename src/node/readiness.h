// When is a service ready? By a line of its output (nothing polls), or by asking it over HTTP, TCP or a command, with pauses that
// double from 20 to 500 ms: a service that starts in a second is noticed at most a fraction of that later, a slow one costs little.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/module.h"
#include "node/loop.h"
#include "node/spawn.h"

namespace kiln::node {

// Waits until it calls `on_ready` once; destroying it gives up.
class Probe {
 public:
  virtual ~Probe() = default;
  // The service's output as it comes.
  virtual void on_output(std::string_view) {}
};

struct ProbeContext {
  Loop& loop;
  // The address of a host's name, where known.
  std::function<std::optional<std::string>(const std::string& host)> resolve;
  std::string own_address;
  SpawnRequest command;  // for Kind::kExec: everything but argv
};

// Nothing for a service that is ready when it has started. Error for a target that makes no sense.
std::unique_ptr<Probe> make_probe(const config::Ready& ready, ProbeContext context, std::function<void()> on_ready);

// "http://host:port/path" in parts; Error for what is none.
struct HttpTarget {
  std::string host, path;
  int port = 80;
};
HttpTarget parse_http_target(const std::string& url);
// "7077" or "host:7077"; an empty host where none is named.
std::pair<std::string, int> parse_tcp_target(const std::string& target);
// Whether an answer, as far as it has come, says yes: status 2xx or 3xx and `contains` in the body. `whole`: nothing more will come.
enum class HttpVerdict { kYes, kNo, kMore };
HttpVerdict judge_http_answer(std::string_view answer, const std::string& contains, bool whole);

// Finds a text within lines of a stream, wherever the pieces break.
class LineFinder {
 public:
  // Several texts, of which any will do, have line breaks between them.
  explicit LineFinder(const std::string& needles);
  bool feed(std::string_view bytes);

 private:
  std::vector<std::string> needles_;
  std::size_t longest_ = 0;
  std::string rest_;
};

// A non-blocking connection on its way to host:port. An invalid Fd when it failed at once.
Fd start_connect(const std::string& address, int port);
// Once writable: whether it came about.
bool connect_succeeded(int fd);

}  // namespace kiln::node
