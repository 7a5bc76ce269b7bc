#include "bake/http.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "base/interrupt.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

constexpr std::size_t kMaxDocumentBytes = 256u << 20;  // PyPI's largest index page is under 40 MB
constexpr long kStallSeconds = 60;
constexpr long kConnectSeconds = 20;
constexpr long kMostRetryAfterSeconds = 30;

struct EasyFree {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyFree>;

Easy make_easy() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  Easy easy(initialised == CURLE_OK ? curl_easy_init() : nullptr);
  if (!easy) fail("cannot set libcurl up");
  return easy;
}

// One transfer: where its bytes go, and what was learnt on the way.
struct Transfer {
  CURL* easy = nullptr;
  std::function<bool(const char*, std::size_t)> take;
  std::function<void(std::int64_t, std::int64_t)> on_progress;
  std::int64_t received = 0, offset = 0;
  std::string write_error;
};

std::size_t on_body(char* bytes, std::size_t, std::size_t count, void* data) {
  auto& transfer = *static_cast<Transfer*>(data);
  transfer.received += static_cast<std::int64_t>(count);
  return transfer.take(bytes, count) ? count : 0;
}

int on_transfer_progress(void* data, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
  const auto& transfer = *static_cast<Transfer*>(data);
  if (transfer.on_progress && now > 0) transfer.on_progress(transfer.offset + now, total > 0 ? transfer.offset + total : 0);
  return interrupted() ? 1 : 0;
}

struct Outcome {
  CURLcode code = CURLE_OK;
  long status = 0;
  long retry_after = 0;
  std::string words;
};

Outcome perform(Transfer& transfer, const std::string& url, const curl_slist* headers) {
  CURL* easy = transfer.easy;
  char words[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "kiln/" KILN_VERSION);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 10L);
  // A redirect must not lead to file: or worse.
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https,ftp,ftps");
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps,file");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, words);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_transfer_progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
  // The curl program knows these variables, the library does not; users set them for companies' own certificates.
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* bundle = std::getenv(name); bundle != nullptr && *bundle != '\0') {
      curl_easy_setopt(easy, CURLOPT_CAINFO, bundle);
      break;
    }
  }
  Outcome outcome;
  outcome.code = curl_easy_perform(easy);
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &outcome.status);
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
  outcome.retry_after = std::min<long>(static_cast<long>(retry_after), kMostRetryAfterSeconds);
  outcome.words = words[0] != '\0' ? words : curl_easy_strerror(outcome.code);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, nullptr);
  return outcome;
}

bool is_transient(const Outcome& outcome) {
  switch (outcome.code) {
    case CURLE_HTTP_RETURNED_ERROR:
      return outcome.status == 408 || outcome.status == 425 || outcome.status == 429 || outcome.status >= 500;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

void wait_or_interrupt(std::chrono::milliseconds delay) {
  pollfd interrupt{interrupt_fd(), POLLIN, 0};
  ::poll(&interrupt, 1, static_cast<int>(delay.count()));
  throw_if_interrupted();
}

[[noreturn]] void fail_transfer(const std::string& url, const Outcome& outcome) {
  std::string reason = outcome.words;
  if (outcome.code == CURLE_HTTP_RETURNED_ERROR)
    reason = fmt::format("the server answered {}{}", outcome.status, outcome.status == 404 ? " (not found)" : "");
  throw HttpError(fmt::format("cannot fetch '{}': {}", without_credentials(url), reason), outcome.status);
}

// Calls `attempt` until it succeeds; `progressed` tells whether the last one brought anything.
void with_retries(const std::string& url, const HttpOptions& options, const std::function<Outcome(bool& progressed)>& attempt) {
  auto delay = options.first_delay;
  for (int left = options.attempts;;) {
    throw_if_interrupted();
    bool progressed = false;
    const Outcome outcome = attempt(progressed);
    throw_if_interrupted();
    if (outcome.code == CURLE_OK) return;
    if (progressed) {
      left = options.attempts;
      delay = options.first_delay;
    }
    if (!is_transient(outcome) || --left <= 0) fail_transfer(url, outcome);
    wait_or_interrupt(std::max<std::chrono::milliseconds>(delay, std::chrono::seconds(outcome.retry_after)));
    delay *= 2;
  }
}

}  // namespace

std::string without_credentials(const std::string& url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos) return url;
  const std::size_t host = scheme + 3;
  const std::size_t end = std::min(url.find_first_of("/?#", host), url.size());
  const std::size_t at = url.rfind('@', end);
  if (at == std::string::npos || at < host || at >= end) return url;
  return url.substr(0, host) + url.substr(at + 1);
}

HttpDocument http_get(const std::string& url, const std::map<std::string, std::string>& headers, const HttpOptions& options) {
  const Easy easy = make_easy();
  std::unique_ptr<curl_slist, ListFree> list;
  for (const auto& [name, value] : headers) list.reset(curl_slist_append(list.release(), (name + ": " + value).c_str()));
  curl_easy_setopt(easy.get(), CURLOPT_ACCEPT_ENCODING, "");

  HttpDocument document;
  with_retries(url, options, [&](bool&) {
    document.body.clear();
    Transfer transfer;
    transfer.easy = easy.get();
    transfer.take = [&](const char* bytes, std::size_t count) {
      if (document.body.size() + count > kMaxDocumentBytes) return false;
      document.body.append(bytes, count);
      return true;
    };
    return perform(transfer, url, list.get());
  });
  const char* text = nullptr;
  if (curl_easy_getinfo(easy.get(), CURLINFO_CONTENT_TYPE, &text) == CURLE_OK && text != nullptr) document.content_type = text;
  if (curl_easy_getinfo(easy.get(), CURLINFO_EFFECTIVE_URL, &text) == CURLE_OK && text != nullptr) document.url = text;
  return document;
}

bool http_download(const std::string& url, const std::filesystem::path& path, const HttpOptions& options) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!file) fail("cannot open '{}': {}", path.native(), errno_text(errno));
  const auto size_of_file = [&] {
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) fail("cannot look at '{}': {}", path.native(), errno_text(errno));
    return static_cast<std::int64_t>(status.st_size);
  };
  const auto restart = [&] {
    if (::ftruncate(file.get(), 0) != 0) fail("cannot empty '{}': {}", path.native(), errno_text(errno));
  };
  const Easy easy = make_easy();
  bool resumed = false, may_resume = true;

  with_retries(url, options, [&](bool& progressed) {
    Transfer transfer;
    transfer.easy = easy.get();
    transfer.offset = std::exchange(may_resume, true) ? size_of_file() : 0;
    transfer.on_progress = options.on_progress;
    if (transfer.offset == 0) restart();
    // A plain Range header, not CURLOPT_RESUME_FROM: with that, libcurl takes a server that sends the whole file for an error.
    const std::string range = fmt::format("{}-", transfer.offset);
    curl_easy_setopt(easy.get(), CURLOPT_RANGE, transfer.offset > 0 ? range.c_str() : nullptr);
    bool first = true;
    transfer.take = [&](const char* bytes, std::size_t count) {
      if (first) {
        first = false;
        long status = 0;
        curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
        // 200: the server ignored the range and sends all of it.
        if (transfer.offset > 0 && status == 200) {
          restart();
          transfer.offset = 0;
        }
        resumed = transfer.offset > 0;
        if (::lseek(file.get(), transfer.offset, SEEK_SET) < 0) return false;
      }
      while (count > 0) {
        const ssize_t written = ::write(file.get(), bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
          transfer.write_error = errno_text(errno);
          return false;
        }
        bytes += written;
        count -= static_cast<std::size_t>(written);
      }
      return true;
    };
    Outcome outcome = perform(transfer, url, nullptr);
    if (!transfer.write_error.empty()) fail("cannot write '{}': {}", path.native(), transfer.write_error);
    progressed = transfer.received > 0;
    // 416: we have all of it (the digest will tell), or the file became shorter. Only a fresh start is sure to be right.
    if (outcome.code == CURLE_HTTP_RETURNED_ERROR && outcome.status == 416 && transfer.offset > 0) {
      may_resume = false;
      outcome.status = 503;
    }
    return outcome;
  });
  return resumed;
}

}  // namespace kiln::bake
