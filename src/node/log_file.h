// The output of one service or script: appended to a file that is rotated by size, its end kept in memory to explain a failure.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "node/loop.h"

namespace kiln::node {

class LogFile {
 public:
  // 10 MiB × 3: a busy node's dozen services stay below half a GiB.
  static constexpr std::size_t kRotateBytes = 10u << 20;
  static constexpr int kKept = 3;
  static constexpr std::size_t kTailBytes = 8u << 10;

  explicit LogFile(std::filesystem::path path, std::size_t rotate_bytes = kRotateBytes);

  // Never throws: a full disk must not stop a service. What can't be written is lost.
  void write(std::string_view bytes);
  const std::filesystem::path& path() const { return path_; }
  // PATH.1 is the one before, and so on.
  static std::filesystem::path rotated(const std::filesystem::path& path, int number);
  // How often it was rotated: a reader at the end of its open file goes on with the new one when this has changed.
  int generation() const { return generation_; }

  // The last lines since forget_tail(), at most `lines` of them and 8 KiB.
  std::string tail(std::size_t lines = 20) const;
  void forget_tail() { tail_.clear(); }

  // `listener` is called after each write, until the id is dropped.
  int listen(std::function<void()> listener);
  void drop(int id) { listeners_.erase(id); }

 private:
  void open();
  void rotate();
  std::filesystem::path path_;
  std::size_t rotate_bytes_, size_bytes_ = 0;
  int generation_ = 0;
  Fd fd_;
  std::string tail_;
  std::map<int, std::function<void()>> listeners_;
  int last_listener_ = 0;
};

// Reads a pipe until its end, in the loop, whoever still holds it: a restarted service's old children too.
// `on_bytes` gets what comes; an empty piece at the end. Lives until then by itself.
void pump_pipe(Loop& loop, Fd pipe, std::function<void(std::string_view)> on_bytes);

// A pipe whose ends are close-on-exec, the reading one non-blocking.
struct Pipe {
  Fd read, write;
};
Pipe make_pipe();

}  // namespace kiln::node
