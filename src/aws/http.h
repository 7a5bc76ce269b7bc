// One HTTP request and its answer, by libcurl: connections are kept and shared by all threads, bodies are in memory, redirects are not
// followed (AWS's services send none that a client may follow unsigned; S3's are handled there).
//
// Time limits: 10 s to connect (a far region is 0.3 s away); 60 s in which nothing moves (AWS's own clients wait as long for an answer),
// each of them one attempt of several.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace kiln::aws {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;
  std::string_view body;  // must live as long as the call
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{60'000};
  bool proxy = true;       // false for addresses that only this machine knows (metadata)
  bool may_repeat = true;  // false: over a new connection, since libcurl itself repeats what a kept one, just closed, did not answer
};

struct HttpResponse {
  int status = 0;
  Headers headers;  // names in lower case
  std::string body;

  // The header's value; "" when absent. `name` in lower case.
  std::string header(std::string_view name) const;
};

// There was no whole answer.
class HttpFailure : public Error {
 public:
  enum class Stage { kName, kConnect, kTrust, kSent };
  HttpFailure(const std::string& message, Stage stage, bool timed_out) : Error(message), stage_(stage), timed_out_(timed_out) {}
  // kSent: the server may have got the request, which was sent at least in part. Before that it cannot have acted. kTrust: its certificate
  // is not one to trust.
  Stage stage() const { return stage_; }
  bool timed_out() const { return timed_out_; }

 private:
  Stage stage_;
  bool timed_out_;
};

// A URL's parts; nothing for what does not begin with http:// or https:// and a host.
struct UrlParts {
  std::string scheme;  // "https"
  std::string host;    // in lower case, with the port unless it is the scheme's own: as the Host header says it
  std::string path;    // without a slash at its end; "" for none
};
std::optional<UrlParts> parse_url(const std::string& url);

class Http {
 public:
  // `ca_bundle`: a file with the certificates to trust instead of the machine's; empty: those.
  explicit Http(std::string ca_bundle = {});
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  // The answer, whatever its status. HttpFailure when there is none; Interrupted when the user ends kiln. Thread-safe.
  HttpResponse send(const HttpRequest& request);

 private:
  struct EasyFree {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  using Easy = std::unique_ptr<CURL, EasyFree>;
  Easy take();
  void give_back(Easy handle);

  std::string ca_bundle_;
  std::mutex lock_;
  std::vector<Easy> idle_;
};

}  // namespace kiln::aws
