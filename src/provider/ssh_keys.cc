#include "provider/ssh_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <array>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::provider {

namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::string_view kType = "ssh-ed25519";

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// RFC 4251, chapter 5: uint32 and string.
void add_number(std::string& out, std::size_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((number >> shift) & 0xff);
}
void add_string(std::string& out, std::string_view text) {
  add_number(out, text.size());
  out += text;
}

std::string public_half(std::string_view seed) {
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key(
      ::EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(seed.data()), seed.size()),
      ::EVP_PKEY_free);
  std::array<unsigned char, kKeyBytes> half{};
  std::size_t size = half.size();
  if (!key || ::EVP_PKEY_get_raw_public_key(key.get(), half.data(), &size) != 1) fail("cannot make an Ed25519 key");
  return {reinterpret_cast<const char*>(half.data()), size};
}

}  // namespace

SshKey derive_ssh_key(std::string_view secret, std::string_view purpose) {
  std::string seed = bytes_of_hex(hmac_sha256_hex(secret, fmt::format("kiln ssh key: {}", purpose)));
  const std::string half = public_half(seed);
  std::string blob;
  add_string(blob, kType);
  add_string(blob, half);

  std::string secret_part;
  // Two equal numbers, by which a reader sees that it has the right passphrase; there is none.
  for (int i = 0; i < 2; ++i) add_number(secret_part, 0);
  secret_part += blob;
  add_string(secret_part, seed + half);
  add_string(secret_part, "");  // comment
  for (char pad = 1; secret_part.size() % 8 != 0; ++pad) secret_part += pad;

  std::string text("openssh-key-v1\0", 15);
  for (const char* none : {"none", "none", ""}) add_string(text, none);  // cipher, key derivation, its options
  add_number(text, 1);
  add_string(text, blob);
  add_string(text, secret_part);

  SshKey key{fmt::format("{} {}", kType, to_base64(blob)), "-----BEGIN OPENSSH PRIVATE KEY-----\n"};
  const std::string encoded = to_base64(text);
  for (std::size_t i = 0; i < encoded.size(); i += 70) key.private_text += encoded.substr(i, 70) + "\n";
  key.private_text += "-----END OPENSSH PRIVATE KEY-----\n";
  for (auto* used : {&seed, &secret_part, &text}) ::OPENSSL_cleanse(used->data(), used->size());
  return key;
}

}  // namespace kiln::provider
