#include "aws/sigv4.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::aws {

const char* const kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string hmac(std::string_view key, std::string_view message) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int length = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(message.data()), message.size(),
           out.data(), &length) == nullptr)
    fail("cannot sign a request: OpenSSL refuses HMAC-SHA-256");
  return {reinterpret_cast<const char*>(out.data()), length};
}

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

// "20261121T172325Z"
std::string compact_time(Time time) {
  std::string text = iso_time(time);
  std::erase_if(text, [](char letter) { return letter == '-' || letter == ':'; });
  return text;
}

// RFC 3986, 5.2.4, and "//" made one: what all services but S3 sign.
std::string normalised_path(std::string_view path) {
  if (path.empty()) return "/";
  std::vector<std::string> kept;
  for (const auto& part : split(path, '/')) {
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (!part.empty() && part != ".") {
      kept.push_back(part);
    }
  }
  std::string out = path.front() == '/' ? "/" : "";
  out += join(kept, "/");
  if (path.back() == '/' && !kept.empty()) out += '/';
  return out.empty() ? "/" : out;
}

std::string encoded_again(std::string_view path) {
  std::vector<std::string> parts = split(path, '/');
  for (auto& part : parts) part = percent_encode(part);
  return join(parts, "/");
}

// Sorted by name, then by value: bytes, as encoded. "a" without "=" counts as "a=".
std::string canonical_query(std::string_view query) {
  if (query.empty()) return {};
  Pairs pairs;
  for (const auto& part : split(query, '&')) {
    const std::size_t equals = part.find('=');
    pairs.emplace_back(part.substr(0, equals), equals == std::string::npos ? "" : part.substr(equals + 1));
  }
  std::sort(pairs.begin(), pairs.end());
  std::vector<std::string> out;
  for (const auto& [name, value] : pairs) out.push_back(name + "=" + value);
  return join(out, "&");
}

bool is_signed(const std::string& name) {
  static constexpr std::array kUnsigned{
      "connection",        "expect",  "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
      "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id"};
  return std::find(kUnsigned.begin(), kUnsigned.end(), name) == kUnsigned.end();
}

// Runs of blanks are one blank, none at the ends.
std::string folded(std::string_view value) {
  std::string out;
  for (const char letter : value) {
    const bool blank = letter == ' ' || (letter >= '\t' && letter <= '\r');
    if (!blank)
      out += letter;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

Pairs sign(const SigningInput& input, const SigningScope& scope, const Credentials& credentials) {
  const std::string time = compact_time(scope.time);
  const std::string date = time.substr(0, 8);
  Pairs added{{"X-Amz-Date", time}};
  if (!credentials.session_token.empty()) added.emplace_back("X-Amz-Security-Token", credentials.session_token);
  if (scope.payload_header) added.emplace_back("X-Amz-Content-SHA256", input.payload_sha256);

  // Sorted by whole names: of two where one begins the other the shorter is first, which sorting "name:value" lines gets wrong.
  std::map<std::string, std::string> headers{{"host", input.host}};
  const auto take = [&](const Pairs& pairs) {
    for (const auto& [name, value] : pairs) {
      const std::string lower = to_lower(name);
      if (lower == "host" || !is_signed(lower)) continue;
      const auto [place, is_new] = headers.emplace(lower, folded(value));
      if (!is_new) place->second += "," + folded(value);
    }
  };
  take(input.headers);
  take(added);
  std::string canonical_headers;
  std::vector<std::string> names;
  for (const auto& [name, value] : headers) {
    canonical_headers += name + ":" + value + "\n";
    names.push_back(name);
  }
  const std::string signed_names = join(names, ";");
  const std::string path = scope.s3_path ? (input.path.empty() ? "/" : input.path) : encoded_again(normalised_path(input.path));
  const std::string canonical = input.method + "\n" + path + "\n" + canonical_query(input.query) + "\n" + canonical_headers + "\n" +
                                signed_names + "\n" + input.payload_sha256;

  const std::string place = date + "/" + scope.region + "/" + scope.service + "/aws4_request";
  const std::string to_sign = "AWS4-HMAC-SHA256\n" + time + "\n" + place + "\n" + sha256_hex(canonical);
  std::string key = hmac("AWS4" + credentials.secret_access_key, date);
  for (const std::string_view part : {std::string_view(scope.region), std::string_view(scope.service), std::string_view("aws4_request")})
    key = hmac(key, part);
  added.emplace_back("Authorization", fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                                                  credentials.access_key_id, place, signed_names, to_hex(hmac(key, to_sign))));
  return added;
}

}  // namespace kiln::aws
