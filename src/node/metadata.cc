#include "node/metadata.h"

#include <zlib.h>

#include <charconv>

#include "base/strings.h"

namespace kiln::node {

namespace {

// The service is on the machine's own host and answers in milliseconds; whatever takes 2 s is not there (yet).
constexpr std::chrono::milliseconds kTimeout{2000};
// EC2 gives 16 KiB, Compute Engine 256 KiB for one value.
constexpr std::size_t kMaxUserDataBytes = 256 << 10;

bool is_compute_engine(const HttpAnswer& answer) {
  const auto flavor = answer.headers.find("metadata-flavor");
  return flavor != answer.headers.end() && flavor->second == "Google";
}

// Servers that are starting, overloaded or moved say so with these.
bool may_pass(int status) { return status >= 500 || status == 429 || status == 408; }

[[noreturn]] void fail_with_hint(std::string message, std::string hint) {
  Error error(std::move(message));
  error.set_hint(std::move(hint));
  throw error;
}

// One answer's body; what it says about itself goes into host files and names, so no line breaks.
class Service {
 public:
  Service(std::string url, std::map<std::string, std::string> headers) : url_(std::move(url)), headers_(std::move(headers)) {}

  // Nothing for 404.
  std::optional<std::string> get(const std::string& path) const {
    HttpRequest request{"GET", url_ + path, headers_, kMaxUserDataBytes};
    const HttpAnswer answer = ask_http(request, kTimeout);
    if (answer.status == 200) return answer.body;
    if (answer.status == 404) return {};
    // 401: the token has run out, the machine was suspended meanwhile; another round gets a new one.
    if (may_pass(answer.status) || answer.status == 401) throw NoAnswer(fmt::format("{} was answered {}", request.url, answer.status));
    fail("{} was answered {}", request.url, answer.status);
  }
  std::string get_line(const std::string& path) const {
    const auto body = get(path);
    return body ? std::string(trim(*body)) : std::string();
  }

 private:
  std::string url_;
  std::map<std::string, std::string> headers_;
};

Metadata read_ec2(const std::string& url, const std::string& token) {
  const Service service(url, {{"X-aws-ec2-metadata-token", token}});
  const auto data = service.get("/latest/user-data");
  if (!data || trim(*data).empty())
    fail_with_hint("the instance has no user data", "launch it with the node document as its user data (kiln launch does)");
  Metadata found;
  found.cloud = "EC2";
  found.document = with_context("reading the instance's user data", [&] { return unpack_user_data(*data, false); });
  found.machine.id = service.get_line("/latest/meta-data/instance-id");
  found.machine.address = service.get_line("/latest/meta-data/local-ipv4");
  const std::string index = service.get_line("/latest/meta-data/ami-launch-index");
  std::int64_t place = 0;
  const auto [end, problem] = std::from_chars(index.data(), index.data() + index.size(), place);
  if (problem == std::errc() && end == index.data() + index.size() && place >= 0 && place < 1000000) found.machine.launch_index = place;
  // One on demand that was asked for as spot is none: the machine knows, the document may not.
  found.machine.spot = service.get_line("/latest/meta-data/instance-life-cycle") == "spot";
  return found;
}

Metadata read_compute_engine(const std::string& url) {
  const Service service(url + "/computeMetadata/v1/instance", {{"Metadata-Flavor", "Google"}});
  const auto data = service.get(std::string("/attributes/") + kDocumentAttribute);
  if (!data || trim(*data).empty())
    fail_with_hint(fmt::format("the instance has no metadata '{}'", kDocumentAttribute),
                   fmt::format("create it with the node document as the value of '{}' (kiln launch does)", kDocumentAttribute));
  Metadata found;
  found.cloud = "Compute Engine";
  found.document =
      with_context(fmt::format("reading the instance's metadata '{}'", kDocumentAttribute), [&] { return unpack_user_data(*data, true); });
  found.machine.id = service.get_line("/id");
  found.machine.name = service.get_line("/name");
  found.machine.address = service.get_line("/network-interfaces/0/ip");
  return found;
}

std::string gunzip(const std::string& packed) {
  z_stream stream{};
  // 15: the largest window; + 16: a gzip header is demanded.
  if (::inflateInit2(&stream, 15 + 16) != Z_OK) throw Error("cannot unpack gzip: no memory");
  std::string text;
  char piece[16 << 10];
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  int result = Z_OK;
  while (result == Z_OK && text.size() <= config::kMaxDocumentBytes) {
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof piece;
    result = ::inflate(&stream, Z_NO_FLUSH);
    text.append(piece, sizeof piece - stream.avail_out);
  }
  ::inflateEnd(&stream);
  if (text.size() > config::kMaxDocumentBytes)
    fail("unpacked it is larger than the {} bytes of the largest node document", config::kMaxDocumentBytes);
  if (result != Z_STREAM_END) throw Error("it is broken gzip");
  return text;
}

bool is_gzip(std::string_view data) { return data.starts_with("\x1f\x8b"); }
bool is_object(std::string_view text) { return trim(text).starts_with('{'); }

// base64 of a document or of gzip.
std::optional<std::string> from_packed_base64(const std::string& data) {
  std::string letters;
  for (const char letter : data)
    if (letter != '\n' && letter != '\r' && letter != ' ') letters += letter;
  auto bytes = from_base64(letters);
  if (!bytes || !(is_gzip(*bytes) || is_object(*bytes))) return {};
  return bytes;
}

// Only what it is, no part of it: there may be secrets in it.
std::string kind_of(std::string_view text) {
  if (text.starts_with("#!")) return "a script";
  if (text.starts_with("#cloud-config")) return "a cloud-init configuration";
  if (text.starts_with("Content-Type:") || text.starts_with("MIME-Version:")) return "a MIME message";
  return "something else";
}

}  // namespace

std::string unpack_user_data(const std::string& data, bool allow_base64) {
  if (is_gzip(data)) return gunzip(data);
  if (is_object(data)) return data;
  if (const auto bytes = from_packed_base64(data)) {
    if (allow_base64) return is_gzip(*bytes) ? gunzip(*bytes) : *bytes;
    fail_with_hint("it is no node document, but base64 of one", "the cloud's API takes base64 and undoes it: encode it once, not twice");
  }
  fail_with_hint(fmt::format("it is no node document (a JSON object, or gzip of one), but {}", kind_of(trim(data))),
                 "this image takes its node document from there, and nothing else");
}

Metadata read_metadata(const std::string& service) {
  // 300 s: far more than the few requests that follow take.
  const HttpAnswer token =
      ask_http({"PUT", service + "/latest/api/token", {{"X-aws-ec2-metadata-token-ttl-seconds", "300"}}, 4096}, kTimeout);
  const std::string key(trim(token.body));
  if (token.status == 200 && !key.empty() && key.find_first_of("\r\n") == std::string::npos && !is_compute_engine(token))
    return read_ec2(service, key);
  if (may_pass(token.status)) throw NoAnswer(fmt::format("{}/latest/api/token was answered {}", service, token.status));
  const HttpAnswer google = ask_http({"GET", service + "/computeMetadata/v1/instance/id", {{"Metadata-Flavor", "Google"}}, 4096}, kTimeout);
  if (is_compute_engine(google)) return read_compute_engine(service);
  if (may_pass(google.status)) throw NoAnswer(fmt::format("{}/computeMetadata/v1/instance/id was answered {}", service, google.status));
  fail_with_hint(fmt::format("{} is neither EC2's metadata service (PUT /latest/api/token was answered {}) nor Compute Engine's", service,
                             token.status),
                 "on EC2 the instance's metadata options must have the service enabled, with IMDSv2");
}

}  // namespace kiln::node
