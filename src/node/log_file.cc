#include "node/log_file.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace kiln::node {

LogFile::LogFile(std::filesystem::path path, std::size_t rotate_bytes) : path_(std::move(path)), rotate_bytes_(rotate_bytes) { open(); }

void LogFile::open() {
  fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  struct stat status {};
  size_bytes_ = fd_ && ::fstat(fd_.get(), &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
}

std::filesystem::path LogFile::rotated(const std::filesystem::path& path, int number) {
  return number == 0 ? path : std::filesystem::path(path.native() + "." + std::to_string(number));
}

void LogFile::rotate() {
  for (int number = kKept - 1; number > 0; --number) ::rename(rotated(path_, number - 1).c_str(), rotated(path_, number).c_str());
  open();
  ++generation_;
}

void LogFile::write(std::string_view bytes) {
  if (size_bytes_ + bytes.size() > rotate_bytes_ && size_bytes_ > 0) rotate();
  tail_ += bytes;
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  if (fd_) {
    size_bytes_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  // A listener may drop itself.
  for (auto it = listeners_.begin(); it != listeners_.end();) (it++)->second();
}

std::string LogFile::tail(std::size_t lines) const {
  std::string_view text = tail_;
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::size_t start = text.size();
  for (std::size_t found = 0; start > 0; --start)
    if (text[start - 1] == '\n' && ++found == lines) break;
  text.remove_prefix(start);
  if (text.size() > kTailBytes) text.remove_prefix(text.size() - kTailBytes);
  return std::string(text);
}

int LogFile::listen(std::function<void()> listener) {
  listeners_[++last_listener_] = std::move(listener);
  return last_listener_;
}

Pipe make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) < 0) fail("cannot make a pipe: {}", errno_text(errno));
  Pipe pipe{Fd(fds[0]), Fd(fds[1])};
  ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
  return pipe;
}

void pump_pipe(Loop& loop, Fd pipe, std::function<void(std::string_view)> on_bytes) {
  const int fd = pipe.get();
  auto owned = std::make_shared<Fd>(std::move(pipe));
  loop.watch(fd, EPOLLIN, [&loop, owned, on_bytes = std::move(on_bytes)](std::uint32_t) {
    char bytes[32 << 10];
    const ssize_t count = ::read(owned->get(), bytes, sizeof bytes);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    on_bytes({bytes, count > 0 ? static_cast<std::size_t>(count) : 0});
    if (count > 0) return;
    loop.unwatch(owned->get());
    owned->reset();
  });
}

}  // namespace kiln::node
