// SHA-2 digests and HMAC, in lower-case hex, by OpenSSL's libcrypto.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace kiln {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  void update(std::string_view bytes);
  // 64 hex digits; the object is spent.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view bytes);
std::string sha256_hex_of_file(const std::filesystem::path& path);
std::string sha512_hex_of_file(const std::filesystem::path& path);
// HMAC-SHA-256 (RFC 2104), 64 hex digits.
std::string hmac_sha256_hex(std::string_view key, std::string_view message);
// Compares in a time that does not depend on where they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);
// `bytes` random bytes from the kernel, in hex.
std::string random_hex(std::size_t bytes);

}  // namespace kiln
