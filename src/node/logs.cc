#include "node/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace kiln::node {

std::size_t start_of_last_lines(int fd, std::size_t lines, std::size_t max_bytes) {
  struct stat status {};
  if (::fstat(fd, &status) < 0) return 0;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (lines == 0) return size;
  const std::size_t limit = size > max_bytes ? size - max_bytes : 0;
  std::size_t found = 0, at = size;
  char bytes[16 << 10];
  while (at > limit) {
    const std::size_t want = std::min(sizeof bytes, at - limit);
    if (::pread(fd, bytes, want, static_cast<off_t>(at - want)) != static_cast<ssize_t>(want)) break;
    for (std::size_t i = want; i > 0; --i) {
      // The last byte ends the last line: it does not begin another.
      if (bytes[i - 1] != '\n' || at - want + i == size) continue;
      if (++found == lines) return at - want + i;
    }
    at -= want;
  }
  return limit;
}

namespace {

class LogSession : public std::enable_shared_from_this<LogSession> {
 public:
  LogSession(Loop& loop, std::shared_ptr<Connection> connection, bool prefix, bool follow)
      : loop_(loop), connection_(std::move(connection)), prefix_(prefix), follow_(follow) {}

  void start(const std::vector<LogSource>& sources, std::size_t lines) {
    const auto self = shared_from_this();
    for (const auto& source : sources) {
      Reader reader{source, Fd(::open(source.file->path().c_str(), O_RDONLY | O_CLOEXEC)), source.file->generation(), 0, {}, 0};
      if (reader.fd) reader.offset = start_of_last_lines(reader.fd.get(), lines, 4u << 20);
      readers_.push_back(std::move(reader));
    }
    if (follow_) {
      for (auto& reader : readers_) reader.listener = reader.source.file->listen([self] { self->wake(); });
    }
    connection_->set_handlers({nullptr, [](const Frame&) {}, [self](const std::string&) { self->end(); }, [self] { self->pump(); }});
    pump();
  }

 private:
  struct Reader {
    LogSource source;
    Fd fd;
    int generation;
    std::size_t offset;
    std::string line;  // begun, when lines are prefixed
    int listener;
  };

  // Once for all that is written in one round of the loop.
  void wake() {
    if (woken_) return;
    woken_ = true;
    loop_.defer([self = shared_from_this()] {
      self->woken_ = false;
      self->pump();
    });
  }

  void pump() {
    if (ended_) return;
    for (auto& reader : readers_) {
      while (pump_once(reader))
        if (connection_->is_full()) return;
    }
    if (follow_ || connection_->is_closed()) return;
    for (auto& reader : readers_)
      if (!reader.line.empty()) connection_->send('O', reader.source.name + ": " + reader.line + "\n");
    connection_->send(Json{{"exit", 0}});
    end();
    connection_->close_after_sending();
  }

  bool pump_once(Reader& reader) {
    char bytes[64 << 10];
    const ssize_t count = reader.fd ? ::pread(reader.fd.get(), bytes, sizeof bytes, static_cast<off_t>(reader.offset)) : 0;
    if (count > 0) {
      reader.offset += static_cast<std::size_t>(count);
      send(reader, {bytes, static_cast<std::size_t>(count)});
      return true;
    }
    // The file that we have open may be the rotated one, read to its end now.
    if (reader.fd && reader.generation == reader.source.file->generation()) return false;
    reader.generation = reader.source.file->generation();
    reader.fd = Fd(::open(reader.source.file->path().c_str(), O_RDONLY | O_CLOEXEC));
    reader.offset = 0;
    return static_cast<bool>(reader.fd);
  }

  void send(Reader& reader, std::string_view bytes) {
    if (!prefix_) {
      connection_->send('O', bytes);
      return;
    }
    std::string text;
    for (const char c : bytes) {
      reader.line += c;
      if (c != '\n' && reader.line.size() < (64u << 10)) continue;
      text += reader.source.name + ": " + reader.line;
      if (c != '\n') text += '\n';
      reader.line.clear();
    }
    if (!text.empty()) connection_->send('O', text);
  }

  void end() {
    if (ended_) return;
    ended_ = true;
    for (auto& reader : readers_)
      if (reader.listener != 0) reader.source.file->drop(reader.listener);
  }

  Loop& loop_;
  std::shared_ptr<Connection> connection_;
  bool prefix_, follow_, woken_ = false, ended_ = false;
  std::vector<Reader> readers_;
};

}  // namespace

void serve_logs(Loop& loop, std::shared_ptr<Connection> connection, std::vector<LogSource> sources, bool prefix, std::size_t lines,
                bool follow) {
  std::make_shared<LogSession>(loop, std::move(connection), prefix, follow)->start(sources, lines);
}

}  // namespace kiln::node
