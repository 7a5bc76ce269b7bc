// Fetching over HTTP(S) (and file:, ftp:), by libcurl: what sources need and no more.
//
// Retries: 5 attempts, 0.5 + 1 + 2 + 4 = 7.5 s of waiting in all; an attempt that brought bytes starts the count anew, so a long
// download over a bad line goes on as long as it moves. A transfer that brings nothing for 60 s is cut and tried again.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/error.h"

namespace kiln::bake {

// The server's answer made trying again pointless: 404, 403 …
class HttpError : public Error {
 public:
  HttpError(std::string message, long status) : Error(std::move(message)), status_(status) {}
  long status() const { return status_; }

 private:
  long status_;
};

struct HttpOptions {
  int attempts = 5;
  std::chrono::milliseconds first_delay{500};                              // doubled each time
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;  // bytes; total 0: unknown
};

struct HttpDocument {
  std::string body;
  std::string content_type;
  std::string url;  // after redirects
};

// A document of at most 256 MiB (an index page).
HttpDocument http_get(const std::string& url, const std::map<std::string, std::string>& headers, const HttpOptions& options = {});

// Downloads to `path`, which may hold the beginning from an earlier, cut attempt: it goes on from there if the server can.
// True when such a beginning was used. Error with the URL and the reason; what has arrived stays in `path`.
bool http_download(const std::string& url, const std::filesystem::path& path, const HttpOptions& options = {});

// The URL without user name and password: for messages and records.
std::string without_credentials(const std::string& url);

}  // namespace kiln::bake
