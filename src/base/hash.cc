#include "base/hash.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/random.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/fd.h"

namespace kiln {

namespace {

// The low-level functions of libcrypto: the EVP ones would make the static agent three times as large.
std::string hex_of(const unsigned char* bytes, std::size_t count) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * count);
  for (std::size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

template <class Update>
void feed_file(const std::filesystem::path& path, Update update) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail("cannot open '{}': {}", path.native(), errno_text(errno));
  std::string buffer(1 << 20, '\0');
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot read '{}': {}", path.native(), errno_text(errno));
    if (count == 0) return;
    update(buffer.data(), static_cast<std::size_t>(count));
  }
}

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest sha256_raw(std::string_view first, std::string_view second) {
  SHA256_CTX context;
  Digest digest;
  SHA256_Init(&context);
  SHA256_Update(&context, first.data(), first.size());
  SHA256_Update(&context, second.data(), second.size());
  SHA256_Final(digest.data(), &context);
  return digest;
}

std::string_view as_text(const Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

}  // namespace

struct Sha256::State {
  SHA256_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { SHA256_Init(&state_->context); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
void Sha256::update(std::string_view bytes) { SHA256_Update(&state_->context, bytes.data(), bytes.size()); }
std::string Sha256::hex() {
  Digest digest;
  SHA256_Final(digest.data(), &state_->context);
  return hex_of(digest.data(), digest.size());
}

std::string sha256_hex(std::string_view bytes) {
  const Digest digest = sha256_raw(bytes, {});
  return hex_of(digest.data(), digest.size());
}

std::string sha256_hex_of_file(const std::filesystem::path& path) {
  Sha256 hash;
  feed_file(path, [&](const char* data, std::size_t size) { hash.update({data, size}); });
  return hash.hex();
}

std::string sha512_hex_of_file(const std::filesystem::path& path) {
  SHA512_CTX context;
  std::array<unsigned char, SHA512_DIGEST_LENGTH> digest;
  SHA512_Init(&context);
  feed_file(path, [&](const char* data, std::size_t size) { SHA512_Update(&context, data, size); });
  SHA512_Final(digest.data(), &context);
  return hex_of(digest.data(), digest.size());
}

std::string hmac_sha256_hex(std::string_view key, std::string_view message) {
  // RFC 2104, section 2: H(K xor opad, H(K xor ipad, text)), K padded to the block size or hashed when it is longer.
  std::string block(SHA256_CBLOCK, '\0');
  if (key.size() > block.size()) {
    const Digest hashed = sha256_raw(key, {});
    block.replace(0, hashed.size(), as_text(hashed));
  } else {
    block.replace(0, key.size(), key);
  }
  std::string inner = block, outer = block;
  for (char& byte : inner) byte = static_cast<char>(byte ^ 0x36);
  for (char& byte : outer) byte = static_cast<char>(byte ^ 0x5c);
  const Digest first = sha256_raw(inner, message);
  const Digest second = sha256_raw(outer, as_text(first));
  return hex_of(second.data(), second.size());
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  return difference == 0;
}

std::string random_hex(std::size_t bytes) {
  std::string raw(bytes, '\0');
  if (::getrandom(raw.data(), raw.size(), 0) != static_cast<ssize_t>(bytes)) fail("cannot get random bytes: {}", errno_text(errno));
  return hex_of(reinterpret_cast<const unsigned char*>(raw.data()), raw.size());
}

}  // namespace kiln
