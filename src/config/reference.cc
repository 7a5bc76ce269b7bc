#include "config/reference.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::config {

namespace {

constexpr std::size_t kMaxTag = 128, kMaxRepository = 255, kSha256Hex = 64;

bool only(const std::string& text, const char* allowed) { return text.find_first_not_of(allowed) == std::string::npos; }

constexpr const char* kRepositoryLetters = "abcdefghijklmnopqrstuvwxyz0123456789._-/";
constexpr const char* kTagLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  UsageError error(fmt::format("'{}' is no image reference: {}", text, why));
  error.set_hint("HOST[:PORT]/NAME[:TAG], for example registry.example/spark:4.1");
  throw error;
}

}  // namespace

std::string Reference::text() const {
  std::string all = registry + "/" + repository;
  if (!tag.empty()) all += ":" + tag;
  if (!digest.empty()) all += "@" + digest;
  return all;
}

Reference parse_reference(const std::string& text) {
  Reference reference;
  std::string rest = text;
  if (rest.find("://") != std::string::npos) refuse(text, "it is written without a scheme");
  if (const auto at = rest.find('@'); at != std::string::npos) {
    reference.digest = rest.substr(at + 1);
    rest.resize(at);
    if (!reference.digest.starts_with("sha256:") || reference.digest.size() != 7 + kSha256Hex ||
        !only(reference.digest.substr(7), "0123456789abcdef"))
      refuse(text, "behind '@' stands a digest, sha256: and 64 hex digits");
  }
  // The first part is a host when it looks like one: a dot, a port, or this machine.
  const auto slash = rest.find('/');
  const std::string first = rest.substr(0, slash);
  if (slash != std::string::npos && (first.find_first_of(".:") != std::string::npos || first == "localhost")) {
    reference.registry = first;
    rest = rest.substr(slash + 1);
  } else {
    reference.registry = "registry-1.docker.io";
    if (slash == std::string::npos) rest = "library/" + rest;
  }
  if (const auto colon = rest.rfind(':'); colon != std::string::npos) {
    reference.tag = rest.substr(colon + 1);
    rest.resize(colon);
    if (reference.tag.empty() || reference.tag.size() > kMaxTag || !only(reference.tag, kTagLetters) || reference.tag[0] == '.' ||
        reference.tag[0] == '-')
      refuse(text, fmt::format("'{}' is no tag", reference.tag));
  } else if (reference.digest.empty()) {
    reference.tag = "latest";
  }
  if (rest.empty() || rest.size() > kMaxRepository || !only(rest, kRepositoryLetters) || rest.starts_with('/') || rest.ends_with('/') ||
      rest.find("//") != std::string::npos)
    refuse(text, fmt::format("'{}' is no repository's name (lower case)", rest));
  reference.repository = rest;
  return reference;
}

}  // namespace kiln::config
