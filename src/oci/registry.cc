#include "oci/registry.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/strings.h"
#include "oci/credentials.h"

namespace kiln::oci {

namespace {

constexpr std::int64_t kChunkBytes = 16 << 20;
constexpr std::size_t kMaxTextBytes = kMaxManifestBytes;  // of a manifest or an error
constexpr long kConnectSeconds = 20, kMostRedirects = 10;
constexpr int kDefaultSilenceSeconds = 60, kLongestSilenceSeconds = 86400, kAttemptsOfSilence = 2;
constexpr int kPartialContent = 206, kUnauthorized = 401, kNotFound = 404, kRangeNotSatisfiable = 416, kTooManyRequests = 429,
              kServerFault = 500;

struct EasyFree {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Request {
  std::string method = "GET", url;
  std::map<std::string, std::string> headers = {};
  std::string body = {};
  // Bytes of a file as the body.
  int file = -1;
  std::int64_t offset = 0, length = 0;
  // Takes the body of an answer 200 or 206 as it comes; false ends the transfer.
  std::function<bool(long status, std::string_view bytes)> take = {};
};

struct Answer {
  long status = 0;  // 0: there was none
  std::string body;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string fault;                           // the network's
  bool silent = false;                         // nothing came for as long as the options say
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct Transfer {
  const Request* request = nullptr;
  Answer* answer = nullptr;
  std::int64_t sent = 0;
};

std::size_t on_body(char* bytes, std::size_t, std::size_t size, void* data) {
  const auto* transfer = static_cast<Transfer*>(data);
  auto* answer = transfer->answer;
  if (transfer->request->take && (answer->status == 200 || answer->status == kPartialContent))
    return transfer->request->take(answer->status, {bytes, size}) ? size : 0;
  if (answer->body.size() + size > kMaxTextBytes) return 0;
  answer->body.append(bytes, size);
  return size;
}

std::size_t on_header(char* bytes, std::size_t, std::size_t size, void* data) {
  auto* answer = static_cast<Transfer*>(data)->answer;
  const std::string line(bytes, size);
  if (line.starts_with("HTTP/")) {
    answer->headers.clear();
    const auto space = line.find(' ');
    answer->status = space == std::string::npos ? 0 : std::strtol(line.c_str() + space, nullptr, 10);
  } else if (const auto colon = line.find(':'); colon != std::string::npos) {
    answer->headers[to_lower(line.substr(0, colon))] = trim(line.substr(colon + 1));
  }
  return size;
}

std::size_t on_send(char* bytes, std::size_t, std::size_t room, void* data) {
  auto* transfer = static_cast<Transfer*>(data);
  const auto& request = *transfer->request;
  const auto want = std::min<std::int64_t>(static_cast<std::int64_t>(room), request.length - transfer->sent);
  const ssize_t count = ::pread(request.file, bytes, static_cast<std::size_t>(want), request.offset + transfer->sent);
  if (count < 0) return CURL_READFUNC_ABORT;
  transfer->sent += count;
  return static_cast<std::size_t>(count);
}

int on_progress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return interrupted() ? 1 : 0; }

bool is_this_machine(const std::string& registry) {
  const std::string host = registry.substr(0, registry.rfind(':'));
  return host == "localhost" || host.starts_with("127.") || registry.starts_with("[::1]");
}

// An authority of one registry's own, where docker and podman look for it.
std::string authority_of(const std::string& registry) {
  std::vector<fs::path> folders = {"/etc/docker/certs.d", "/etc/containers/certs.d"};
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    folders.insert(folders.begin(), fs::path(home) / ".config/containers/certs.d");
  for (const auto& folder : folders) {
    const fs::path file = folder / registry / "ca.crt";
    std::error_code error;
    if (fs::exists(file, error)) return file;
  }
  return {};
}

// `Bearer realm="https://…",service="…",scope="…"` → its parts.
std::map<std::string, std::string> challenge_parts(const std::string& text) {
  std::map<std::string, std::string> parts;
  std::size_t at = text.find(' ');
  while (at != std::string::npos && at < text.size()) {
    at = text.find_first_not_of(" ,", at);
    const auto equals = text.find('=', at);
    if (at == std::string::npos || equals == std::string::npos || equals + 1 >= text.size()) break;
    const std::string name = to_lower(text.substr(at, equals - at));
    if (text[equals + 1] == '"') {
      const auto end = text.find('"', equals + 2);
      parts[name] = text.substr(equals + 2, end == std::string::npos ? end : end - equals - 2);
      at = end == std::string::npos ? end : end + 1;
    } else {
      const auto end = text.find(',', equals);
      parts[name] = text.substr(equals + 1, end == std::string::npos ? end : end - equals - 1);
      at = end;
    }
  }
  return parts;
}

// What a registry says of an error: {"errors": [{"code", "message"}]}.
std::string error_words(const Answer& answer) {
  const Json json = Json::parse(answer.body, nullptr, false);
  if (json.is_object() && json.contains("errors") && json["errors"].is_array() && !json["errors"].empty() &&
      json["errors"][0].is_object()) {
    const auto& first = json["errors"][0];
    const std::string code = first.value("code", ""),
                      message = first.contains("message") && first["message"].is_string() ? first["message"].get<std::string>() : "";
    return fmt::format("{} ({}{}{})", answer.status, code, code.empty() || message.empty() ? "" : ": ", message);
  }
  return std::to_string(answer.status);
}

}  // namespace

namespace {

bool is_transient(const Answer& answer) { return answer.status == 0 || answer.status == kTooManyRequests || answer.status >= kServerFault; }

// Waits longer each time, as often as the options say.
class Backoff {
 public:
  explicit Backoff(const RegistryOptions& options) : options_(options) { reset(); }
  void reset() {
    left_ = options_.attempts;
    delay_ = options_.first_delay;
  }
  // After an answer that may be the network's fault; false when it was often enough.
  bool wait(const Answer& answer) {
    left_ -= answer.silent ? kAttemptsOfSilence : 1;
    if (left_ <= 0) return false;
    pollfd interrupt{interrupt_fd(), POLLIN, 0};
    ::poll(&interrupt, 1, static_cast<int>(delay_.count()));
    throw_if_interrupted();
    delay_ *= 2;
    return true;
  }

 private:
  const RegistryOptions& options_;
  int left_ = 0;
  std::chrono::milliseconds delay_{0};
};

}  // namespace

std::chrono::seconds silence_limit() {
  const char* value = std::getenv("KILN_REGISTRY_TIMEOUT");
  if (value == nullptr || *value == '\0') return std::chrono::seconds(kDefaultSilenceSeconds);
  int seconds = 0;
  const std::string_view text(value);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size() || seconds < 1 || seconds > kLongestSilenceSeconds)
    fail_usage("KILN_REGISTRY_TIMEOUT is '{}': expected whole seconds, 1 to {}", text, kLongestSilenceSeconds);
  return std::chrono::seconds(seconds);
}

struct Registry::State {
  config::Reference reference;
  RegistryOptions options;
  std::string base;  // https://HOST/v2/REPOSITORY
  std::string authority;
  std::mutex lock;
  std::string authorization;  // the header's value, once the registry asked for it

  Answer once(const Request& request, const std::string& credentials = {});
  Answer send(const Request& request);
  void authorize(const Answer& refused);
  std::string absolute(const std::string& location) const;
  [[noreturn]] void fail_answer(const std::string& what, const Answer& answer) const;
  std::string start_upload();
  bool send_chunks(std::string& url, int file, std::int64_t size_bytes, const std::function<void(std::int64_t done)>& on_progress);
};

Answer Registry::State::once(const Request& request, const std::string& credentials) {
  const std::unique_ptr<CURL, EasyFree> easy(curl_easy_init());
  if (!easy) fail("cannot set up libcurl");
  Answer answer;
  Transfer transfer{&request, &answer, 0};
  std::unique_ptr<curl_slist, ListFree> list;
  const auto add = [&](const std::string& line) { list.reset(curl_slist_append(list.release(), line.c_str())); };
  for (const auto& [name, value] : request.headers) add(name + ": " + value);
  {
    const std::lock_guard guard(lock);
    // With the slash behind the host: "registry.example" must not send to "registry.example.org", wherever a registry sends us.
    if (credentials.empty() && !authorization.empty() && request.url.starts_with(base.substr(0, base.find("/v2/") + 1)))
      add("Authorization: " + authorization);
  }
  add("Expect:");
  char words[CURL_ERROR_SIZE] = "";
  auto* handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "kiln/" KILN_VERSION);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  // Registries send those who get layers elsewhere. libcurl takes our Authorization header to no other host, port or scheme.
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, request.url.starts_with("https://") ? "https" : "http,https");
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, kMostRedirects);
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, request.method == "GET" || request.method == "HEAD" ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, std::min<long>(kConnectSeconds, options.silence.count()));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.silence.count()));
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, words);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, list.get());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  if (!authority.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, authority.c_str());
  if (!credentials.empty()) {
    curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(handle, CURLOPT_USERPWD, credentials.c_str());
  }
  if (request.method == "HEAD") curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  if (request.file >= 0) {
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(handle, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.length));
  } else if (request.method != "GET" && request.method != "HEAD") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  if (request.method != "GET" && request.method != "HEAD") curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  const CURLcode code = curl_easy_perform(handle);
  throw_if_interrupted();
  if (code != CURLE_OK) {
    answer.fault = words[0] != '\0' ? words : curl_easy_strerror(code);
    // A certificate that is not trusted stays so however often one asks.
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
      Error error(fmt::format("the registry {} is not trusted: {}", reference.registry, answer.fault));
      error.set_hint(fmt::format("put its authority's certificate into /etc/docker/certs.d/{}/ca.crt", reference.registry));
      throw error;
    }
    answer.silent = code == CURLE_OPERATION_TIMEDOUT;
    answer.status = 0;
  }
  return answer;
}

// The registry says how it wants to be asked: by name and password, or by a token that another server gives for them.
void Registry::State::authorize(const Answer& refused) {
  const std::string challenge = refused.header("www-authenticate");
  const auto credentials = find_credentials(reference.registry);
  if (to_lower(challenge).starts_with("basic")) {
    if (!credentials) {
      Error error(fmt::format("the registry {} wants a name and a password", reference.registry));
      error.set_hint(fmt::format("`docker login {0}` or `skopeo login {0}` keeps them where kiln looks", reference.registry));
      throw error;
    }
    const std::lock_guard guard(lock);
    authorization = "Basic " + to_base64(*credentials);
    return;
  }
  const auto parts = challenge_parts(challenge);
  const auto realm = parts.find("realm");
  if (!to_lower(challenge).starts_with("bearer") || realm == parts.end())
    fail("the registry {} refuses, and asks for credentials in a way that kiln does not know: '{}'", reference.registry, challenge);
  if (base.starts_with("https://") && !realm->second.starts_with("https://"))
    fail("the registry {} wants the password sent in the clear to '{}': refused", reference.registry, realm->second);
  std::string url = realm->second + (realm->second.find('?') == std::string::npos ? "?" : "&") +
                    "scope=" + percent_encode(fmt::format("repository:{}:{}", reference.repository, options.actions));
  if (const auto service = parts.find("service"); service != parts.end()) url += "&service=" + percent_encode(service->second);
  Request ask;
  ask.url = url;
  const Answer answer = once(ask, credentials.value_or(""));
  const Json json = Json::parse(answer.body, nullptr, false);
  std::string token;
  for (const char* name : {"access_token", "token"}) {
    if (json.is_object() && json.contains(name) && json[name].is_string()) token = json[name].get<std::string>();
  }
  if (answer.status != 200 || token.empty()) fail_answer("asking for a token", answer);
  const std::lock_guard guard(lock);
  authorization = "Bearer " + token;
}

void Registry::State::fail_answer(const std::string& what, const Answer& answer) const {
  if (answer.silent) {
    Error error(fmt::format("{} at {}: the registry keeps silent: {}", what, reference.registry, answer.fault));
    error.set_hint("try again later: layers that went through are kept; KILN_REGISTRY_TIMEOUT=SECONDS has more patience");
    throw error;
  }
  if (answer.status == 0) fail("{} at {}: {}", what, reference.registry, answer.fault);
  Error error(fmt::format("{} at {}: the registry answered {}", what, reference.registry, error_words(answer)));
  if (answer.status == kUnauthorized || answer.status == 403)
    error.set_hint(
        fmt::format("the credentials for {} may be wrong, or lack the right: `docker login {}`", reference.registry, reference.registry));
  throw error;
}

// With credentials once they are asked for, and again what may be the network's fault.
Answer Registry::State::send(const Request& request) {
  Backoff backoff(options);
  bool authorized = false;
  for (;;) {
    Answer answer = once(request);
    if (answer.status == kUnauthorized && !authorized) {
      authorized = true;
      authorize(answer);
      continue;
    }
    if (!is_transient(answer) || !backoff.wait(answer)) return answer;
  }
}

std::string Registry::State::absolute(const std::string& location) const {
  if (location.starts_with("http://") || location.starts_with("https://")) return location;
  return base.substr(0, base.find("/v2/")) + location;
}

std::string Registry::State::start_upload() {
  Request start;
  start.method = "POST";
  start.url = base + "/blobs/uploads/";
  const Answer answer = send(start);
  if (answer.status != 202 || answer.header("location").empty()) fail_answer("starting to send a layer", answer);
  return absolute(answer.header("location"));
}

Registry::Registry(const config::Reference& reference, RegistryOptions options) : state_(std::make_unique<State>()) {
  state_->reference = reference;
  state_->options = options;
  state_->authority = authority_of(reference.registry);
  const auto base = [&](bool plain) {
    return fmt::format("{}://{}/v2/{}", plain ? "http" : "https", reference.registry, reference.repository);
  };
  state_->base = base(options.plain_http);
  if (options.plain_http || !is_this_machine(reference.registry)) return;
  // A registry of this machine without TLS is a test's or a developer's: nobody can listen in.
  Request probe;
  probe.url = state_->base.substr(0, state_->base.find("/v2/")) + "/v2/";
  if (state_->once(probe).status == 0) {
    state_->base = base(true);
    probe.url = state_->base.substr(0, state_->base.find("/v2/")) + "/v2/";
    if (state_->once(probe).status == 0) state_->base = base(false);
  }
}

Registry::~Registry() = default;

bool Registry::has_blob(const std::string& digest) {
  Request request;
  request.method = "HEAD";
  request.url = state_->base + "/blobs/" + digest;
  const Answer answer = state_->send(request);
  if (answer.status == 200) return true;
  if (answer.status == kNotFound) return false;
  state_->fail_answer("looking for a layer", answer);
}

// Sends what is missing of the upload at `url` and moves `url` on. False when the registry does not know the upload any more.
bool Registry::State::send_chunks(std::string& url, int file, std::int64_t size_bytes,
                                  const std::function<void(std::int64_t done)>& on_progress) {
  std::int64_t offset = 0;
  Backoff backoff(options);
  while (offset < size_bytes) {
    Request chunk;
    chunk.method = "PATCH";
    chunk.url = url;
    chunk.file = file;
    chunk.offset = offset;
    chunk.length = std::min(kChunkBytes, size_bytes - offset);
    chunk.headers = {{"Content-Type", "application/octet-stream"},
                     {"Content-Range", fmt::format("{}-{}", offset, offset + chunk.length - 1)}};
    const Answer answer = once(chunk);
    if (answer.status == 202) {
      offset += chunk.length;
      if (!answer.header("location").empty()) url = absolute(answer.header("location"));
      backoff.reset();
      if (on_progress) on_progress(offset);
      continue;
    }
    if (answer.status == kNotFound) return false;
    const bool may_pass = is_transient(answer) || answer.status == kUnauthorized || answer.status == kRangeNotSatisfiable;
    if (!may_pass || !backoff.wait(answer)) fail_answer("sending a layer", answer);
    if (answer.status == kUnauthorized) {
      authorize(answer);  // a token's time was over
      continue;
    }
    // Where is it?
    Request where;
    where.url = url;
    const Answer state = send(where);
    if (state.status != 204) return false;
    const std::string range = state.header("range");
    const auto dash = range.find('-');
    offset = dash == std::string::npos || range == "0-0" ? 0 : std::strtoll(range.c_str() + dash + 1, nullptr, 10) + 1;
    if (!state.header("location").empty()) url = absolute(state.header("location"));
  }
  return true;
}

void Registry::push_blob(const std::string& digest, const fs::path& file, const std::function<void(std::int64_t done)>& on_progress) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail("cannot open '{}': {}", file.native(), errno_text(errno));
  const auto size_bytes = static_cast<std::int64_t>(fs::file_size(file));
  Backoff backoff(state_->options);
  for (;;) {
    std::string url = state_->start_upload();
    Answer answer;
    if (state_->send_chunks(url, fd.get(), size_bytes, on_progress)) {
      Request finish;
      finish.method = "PUT";
      finish.url = url + (url.find('?') == std::string::npos ? "?" : "&") + "digest=" + percent_encode(digest);
      finish.headers = {{"Content-Type", "application/octet-stream"}};
      answer = state_->send(finish);
      if (answer.status == 201) return;
    } else {
      answer.status = kNotFound;
    }
    // A registry that was started anew does not know its uploads; one that died after it had the layer does know that.
    if (answer.status != kNotFound) state_->fail_answer("finishing a layer", answer);
    if (has_blob(digest)) return;
    if (!backoff.wait(answer)) state_->fail_answer("sending a layer", answer);
  }
}

void Registry::push_manifest(const std::string& name, const std::string& media_type, const std::string& text) {
  Request request;
  request.method = "PUT";
  request.url = state_->base + "/manifests/" + name;
  request.headers = {{"Content-Type", media_type}};
  request.body = text;
  const Answer answer = state_->send(request);
  if (answer.status != 201) state_->fail_answer("sending the manifest", answer);
}

Document Registry::get_manifest(const std::string& name) {
  Request request;
  request.url = state_->base + "/manifests/" + name;
  request.headers = {{"Accept", join(manifest_types(), ", ")}};
  const Answer answer = state_->send(request);
  if (answer.status == kNotFound) fail("there is no '{}' at {}", state_->reference.text(), state_->reference.registry);
  if (answer.status != 200) state_->fail_answer("getting the manifest", answer);
  const std::string digest = "sha256:" + sha256_hex(answer.body);
  const std::string wanted = name.starts_with("sha256:") ? name : answer.header("docker-content-digest");
  if (wanted.starts_with("sha256:") && wanted != digest)
    fail("the manifest that {} sent is corrupt: its digest is {}, expected {}", state_->reference.registry, digest, wanted);
  const std::string type = answer.header("content-type");
  return {{std::string(trim(type.substr(0, type.find(';')))), digest, static_cast<std::int64_t>(answer.body.size())}, answer.body};
}

namespace {

// A blob's file as it arrives, and the digest of what is in it.
class ArrivingBlob {
 public:
  ArrivingBlob(const Descriptor& blob, const fs::path& path)
      : blob_(blob), path_(path), fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)), hash_(std::make_unique<Sha256>()) {
    if (!fd_) fail("cannot open '{}': {}", path.native(), errno_text(errno));
    std::vector<char> bytes(1 << 20);
    for (ssize_t count; (count = ::pread(fd_.get(), bytes.data(), bytes.size(), size_bytes_)) > 0; size_bytes_ += count)
      hash_->update({bytes.data(), static_cast<std::size_t>(count)});
    if (size_bytes_ > blob.size_bytes) restart();
  }
  std::int64_t size_bytes() const { return size_bytes_; }
  void restart() {
    if (::ftruncate(fd_.get(), 0) != 0) fail("cannot empty '{}': {}", path_.native(), errno_text(errno));
    hash_ = std::make_unique<Sha256>();
    size_bytes_ = 0;
  }
  // False when it is more than the descriptor says, or cannot be written.
  bool add(std::string_view bytes) {
    if (size_bytes_ + static_cast<std::int64_t>(bytes.size()) > blob_.size_bytes) {
      too_long_ = true;
      return false;
    }
    hash_->update(bytes);
    while (!bytes.empty()) {
      const ssize_t count = ::pwrite(fd_.get(), bytes.data(), bytes.size(), size_bytes_);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        write_error_ = errno;
        return false;
      }
      size_bytes_ += count;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  void throw_if_refused() const {
    if (write_error_ != 0) fail("cannot write '{}': {}", path_.native(), errno_text(write_error_));
    if (too_long_) {
      ::unlink(path_.c_str());
      fail("the blob {} is longer than the {} bytes that the manifest says", blob_.digest, blob_.size_bytes);
    }
  }
  // Empty, or what is wrong.
  std::string complaint() {
    const std::string digest = "sha256:" + hash_->hex();
    return digest == blob_.digest ? "" : fmt::format("its digest is {}, expected {}", digest, blob_.digest);
  }
  void sync() const {
    if (::fsync(fd_.get()) != 0) fail("cannot write '{}': {}", path_.native(), errno_text(errno));
  }

 private:
  const Descriptor& blob_;
  fs::path path_;
  Fd fd_;
  std::unique_ptr<Sha256> hash_;
  std::int64_t size_bytes_ = 0;
  int write_error_ = 0;
  bool too_long_ = false;
};

}  // namespace

void Registry::get_blob(const Descriptor& blob, const fs::path& file, const std::function<void(std::int64_t done)>& on_progress) {
  ArrivingBlob arriving(blob, file);
  bool resumed = arriving.size_bytes() > 0;
  Backoff backoff(state_->options);
  for (bool authorized = false;;) {
    if (arriving.size_bytes() == blob.size_bytes) {
      const std::string complaint = arriving.complaint();
      if (complaint.empty()) break;
      arriving.restart();
      // The beginning may have been a broken disk's: once more, all of it.
      if (!std::exchange(resumed, false)) {
        ::unlink(file.c_str());
        fail("the blob {} from {} is corrupt: {}", blob.digest, state_->reference.registry, complaint);
      }
    }
    const std::int64_t offset = arriving.size_bytes();
    Request request;
    request.url = state_->base + "/blobs/" + blob.digest;
    if (offset > 0) request.headers["Range"] = fmt::format("bytes={}-", offset);
    request.take = [&, first = true](long status, std::string_view bytes) mutable {
      // 200: the server ignored the range and sends all of it.
      if (std::exchange(first, false) && status == 200 && arriving.size_bytes() > 0) arriving.restart();
      const bool taken = arriving.add(bytes);
      if (taken && on_progress) on_progress(arriving.size_bytes());
      return taken;
    };
    const Answer answer = state_->once(request);
    arriving.throw_if_refused();
    if (answer.status == kUnauthorized && !authorized) {
      authorized = true;
      state_->authorize(answer);
      continue;
    }
    if (arriving.size_bytes() == blob.size_bytes) continue;
    if (arriving.size_bytes() > offset) {
      backoff.reset();
      authorized = false;  // a token's time may be over before a large layer is here
    }
    if (answer.status == kRangeNotSatisfiable && offset > 0) {
      arriving.restart();
      continue;
    }
    const bool cut = answer.status == 200 || answer.status == kPartialContent;
    if (cut && arriving.size_bytes() < blob.size_bytes && answer.fault.empty()) {
      ::unlink(file.c_str());
      fail("the blob {} from {} ends after {} of {} bytes", blob.digest, state_->reference.registry, arriving.size_bytes(),
           blob.size_bytes);
    }
    if ((!cut && !is_transient(answer)) || !backoff.wait(answer)) state_->fail_answer("getting the blob " + blob.digest, answer);
  }
  arriving.sync();
}

}  // namespace kiln::oci
