// One HTTP request and its answer, waited for: what the agent asks before its loop runs (a cloud's metadata service, a file by URL).
// http:// and IPv4 addresses only: a static program has no resolver and no TLS, and a metadata service needs neither.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "node/loop.h"

namespace kiln::node {

// Nobody answered, or not to the end, or not in HTTP: may be otherwise a moment later.
class NoAnswer : public Error {
 public:
  using Error::Error;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::map<std::string, std::string> headers;
  std::size_t max_body_bytes = 1 << 20;
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;
};

// The request as it is sent; the server shall close the connection after its answer. Error for a URL that makes no sense.
std::string http_text(const HttpRequest& request);

// NoAnswer after `timeout` for the whole of it; Error for a body that is too large and for a URL that makes no sense.
HttpAnswer ask_http(const HttpRequest& request, std::chrono::milliseconds timeout);

// The answer in what has come so far (RFC 9112: by length, in chunks, or to the connection's end); nothing as long as there is more to
// come. NoAnswer for what is no HTTP or has ended early (`whole`: nothing more will come); Error for a body beyond the limit.
std::optional<HttpAnswer> parse_http_answer(std::string_view bytes, bool whole, std::size_t max_body_bytes);

}  // namespace kiln::node
