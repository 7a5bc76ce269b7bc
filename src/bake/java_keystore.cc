#include "bake/java_keystore.h"

#include <openssl/sha.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln::bake {

namespace {

constexpr std::uint32_t kMagic = 0xfeedfeed;
constexpr std::size_t kDigestBytes = 20;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  std::string_view take(std::size_t count) {
    if (count > text_.size() - at_) throw std::out_of_range("keystore");
    at_ += count;
    return text_.substr(at_ - count, count);
  }
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (const char c : take(bytes)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::string_view utf() { return take(number(2)); }
  void skip_certificate(std::uint32_t version) {
    if (version == 2) utf();
    take(number(4));
  }
  std::size_t at() const { return at_; }
  bool at_end() const { return at_ == text_.size(); }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

std::string number_to_bytes(std::uint64_t value) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

std::string digest_of(std::string_view store) {
  std::string bytes;
  for (const char c : std::string_view("changeit")) bytes += {'\0', c};
  bytes += "Mighty Aphrodite";
  bytes += store;
  unsigned char digest[SHA_DIGEST_LENGTH];
  ::SHA1(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return {reinterpret_cast<const char*>(digest), sizeof digest};
}

}  // namespace

std::optional<std::string> clamp_keystore(const std::string& content, std::int64_t epoch) {
  if (content.size() < 12 + kDigestBytes) return std::nullopt;
  const std::string_view store = std::string_view(content).substr(0, content.size() - kDigestBytes);
  Reader reader(store);
  try {
    if (reader.number(4) != kMagic || digest_of(store) != std::string_view(content).substr(store.size())) return std::nullopt;
    const auto version = static_cast<std::uint32_t>(reader.number(4));
    const std::uint64_t count = reader.number(4);
    const std::string time = number_to_bytes(static_cast<std::uint64_t>(epoch) * 1000);
    std::vector<std::pair<std::string, std::string>> entries;  // alias, bytes
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::size_t start = reader.at();
      const std::uint64_t tag = reader.number(4);
      std::string alias(reader.utf());
      const std::size_t time_at = reader.at() - start;
      reader.number(8);
      if (tag == 2) {
        reader.skip_certificate(version);
      } else if (tag == 1) {
        reader.take(reader.number(4));
        for (std::uint64_t left = reader.number(4); left > 0; --left) reader.skip_certificate(version);
      } else {
        return std::nullopt;
      }
      std::string bytes(store.substr(start, reader.at() - start));
      bytes.replace(time_at, time.size(), time);
      entries.emplace_back(std::move(alias), std::move(bytes));
    }
    if (!reader.at_end()) return std::nullopt;
    std::sort(entries.begin(), entries.end());
    std::string clamped(store.substr(0, 12));
    for (const auto& [alias, bytes] : entries) clamped += bytes;
    return clamped + digest_of(clamped);
  } catch (const std::out_of_range&) {
    return std::nullopt;
  }
}

}  // namespace kiln::bake
