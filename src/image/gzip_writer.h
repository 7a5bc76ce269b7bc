// Gzip of what is half compressed already, on all processors. An image with Spark is jars for the most part: to deflate them again
// takes a processor ten seconds and wins a twentieth. So each stretch of 256 KiB is tried by a sample of it, and stored as it is where
// that hardly shrinks.
//
// Each stretch is a gzip member of its own, so that they can be made side by side; readers take the members as one stream (RFC 1952,
// 2.2). What is lost for want of a common dictionary is less than a hundredth.
#pragma once

#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::image {

class GzipWriter {
 public:
  // The same bytes give the same bytes, however they are cut into calls and on however many processors: no name and no time are in it.
  // `sink` is called by the thread that writes.
  explicit GzipWriter(std::function<void(std::string_view bytes)> sink);
  ~GzipWriter();
  GzipWriter(const GzipWriter&) = delete;
  GzipWriter& operator=(const GzipWriter&) = delete;
  void write(std::string_view bytes);
  void finish();

 private:
  void start_batch();
  void end_batch();
  std::function<void(std::string_view)> sink_;
  std::size_t jobs_;
  // While one batch of stretches is compressed, the next is gathered.
  std::vector<std::string> gathered_, batch_, members_;
  std::future<void> running_;
  bool empty_ = true;
};

}  // namespace kiln::image
