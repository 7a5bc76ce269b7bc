#include "aws/http.h"

#include <algorithm>
#include <cstdlib>

#include "base/interrupt.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

// The largest answers are pages of a thousand images (some MB); a snapshot's block is 0.5 MiB. A server gone mad must not fill the memory.
constexpr std::size_t kMostBytes = 256u << 20;

struct Transfer {
  HttpResponse response;
  bool sent = false;  // a byte of the request has left
  bool too_long = false;
};

std::size_t on_body(char* bytes, std::size_t, std::size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  if (transfer.response.body.size() + count > kMostBytes) {
    transfer.too_long = true;
    return 0;
  }
  transfer.response.body.append(bytes, count);
  return count;
}

std::size_t on_header(char* bytes, std::size_t, std::size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  const std::string_view line(bytes, count);
  // A new status line: the answer before it was a "100 Continue".
  if (line.starts_with("HTTP/")) transfer.response.headers.clear();
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos)
    transfer.response.headers.emplace_back(to_lower(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  return count;
}

int on_progress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return interrupted() ? 1 : 0; }

// Says that the request's head was sent: what fails earlier (name, connection, TLS) cannot have acted.
int on_debug(CURL*, curl_infotype type, char*, std::size_t, void* data) {
  if (type == CURLINFO_HEADER_OUT || type == CURLINFO_DATA_OUT) static_cast<Transfer*>(data)->sent = true;
  return 0;
}

HttpFailure::Stage stage_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return HttpFailure::Stage::kName;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return HttpFailure::Stage::kTrust;
    default:
      return HttpFailure::Stage::kConnect;
  }
}

struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListFree>;

List to_list(const Headers& headers) {
  List list;
  const auto append = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    list.release();
    list.reset(longer);
  };
  bool has_type = false;
  for (const auto& [name, value] : headers) {
    if (value.find_first_of("\r\n") != std::string::npos || name.find_first_of(":\r\n") != std::string::npos)
      fail("cannot send the header '{}': it has a line break", name);
    has_type = has_type || to_lower(name) == "content-type";
    append(value.empty() ? name + ";" : name + ": " + value);
  }
  // What libcurl would add by itself and nobody signed.
  append("Expect:");
  append("Accept:");
  if (!has_type) append("Content-Type:");
  return list;
}

void set_body(CURL* easy, const HttpRequest& request) {
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    return;
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    // Read from where it lies, not copied.
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

void set_limits(CURL* easy, const HttpRequest& request) {
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  if (request.stall_timeout < std::chrono::seconds(5)) {
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.stall_timeout.count()));
  } else {
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_timeout.count() / 1000));
  }
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
}

}  // namespace

std::string HttpResponse::header(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& one) { return one.first == name; });
  return found == headers.end() ? std::string() : found->second;
}

std::optional<UrlParts> parse_url(const std::string& url) {
  UrlParts parts;
  for (const char* scheme : {"https", "http"}) {
    if (parts.scheme.empty() && to_lower(url).starts_with(std::string(scheme) + "://")) parts.scheme = scheme;
  }
  if (parts.scheme.empty()) return std::nullopt;
  const std::size_t start = parts.scheme.size() + 3;
  const std::size_t slash = std::min(url.find('/', start), url.size());
  parts.host = to_lower(url.substr(start, slash - start));
  parts.path = url.substr(slash);
  while (parts.path.ends_with('/')) parts.path.pop_back();
  const std::string own_port = parts.scheme == "https" ? ":443" : ":80";
  if (parts.host.ends_with(own_port)) parts.host.resize(parts.host.size() - own_port.size());
  const bool odd =
      parts.host.find_first_of("@?# \t\r\n\"'<>\\%") != std::string::npos || parts.path.find_first_of("?# \t\r\n") != std::string::npos;
  if (parts.host.empty() || parts.host.front() == ':' || odd) return std::nullopt;
  return parts;
}

Http::Http(std::string ca_bundle) : ca_bundle_(std::move(ca_bundle)) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) fail("cannot set libcurl up");
}

Http::~Http() = default;

Http::Easy Http::take() {
  {
    const std::lock_guard guard(lock_);
    if (!idle_.empty()) {
      Easy handle = std::move(idle_.back());
      idle_.pop_back();
      return handle;
    }
  }
  Easy handle(curl_easy_init());
  if (!handle) fail("cannot set libcurl up");
  return handle;
}

void Http::give_back(Easy handle) {
  curl_easy_reset(handle.get());  // keeps the connections
  const std::lock_guard guard(lock_);
  idle_.push_back(std::move(handle));
}

HttpResponse Http::send(const HttpRequest& request) {
  throw_if_interrupted();
  Easy handle = take();
  CURL* easy = handle.get();
  Transfer transfer;
  const List headers = to_list(request.headers);
  char words[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  // "." and ".." are parts of keys, and the path was signed as it is.
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "kiln/" KILN_VERSION);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, words);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_debug);
  curl_easy_setopt(easy, CURLOPT_DEBUGDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
  if (!ca_bundle_.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, ca_bundle_.c_str());
  if (!request.proxy) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  if (!request.may_repeat) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  set_body(easy, request);
  set_limits(easy, request);

  const CURLcode code = curl_easy_perform(easy);
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  // A handle whose transfer failed is not kept: its connections may be in any state.
  if (code == CURLE_OK) give_back(std::move(handle));
  throw_if_interrupted();
  if (code == CURLE_OK) return std::move(transfer.response);
  std::string why = words[0] != '\0' ? words : curl_easy_strerror(code);
  if (transfer.too_long) why = fmt::format("the answer is longer than {} MiB", kMostBytes >> 20);
  const auto stage = transfer.sent ? HttpFailure::Stage::kSent : stage_of(code);
  throw HttpFailure(why, stage, code == CURLE_OPERATION_TIMEDOUT);
}

}  // namespace kiln::aws
