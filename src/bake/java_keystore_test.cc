#include "bake/java_keystore.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>

namespace kiln::bake {
namespace {

// A store of two certificates, as keytool would write it at `time` (its last byte).
std::string keystore(char time, bool reversed = false) {
  using namespace std::string_literals;
  const auto entry = [&](const std::string& alias) {
    return "\0\0\0\2"s + "\0"s + static_cast<char>(alias.size()) + alias + "\0\0\0\0\0\0\0"s + time + "\0\5X.509"s + "\0\0\0\3"s + "DER"s;
  };
  std::string text = "\xfe\xed\xfe\xed\0\0\0\2\0\0\0\2"s + (reversed ? entry("b") + entry("a") : entry("a") + entry("b"));
  const std::string signed_text = "\0c\0h\0a\0n\0g\0e\0i\0tMighty Aphrodite"s + text;
  unsigned char digest[SHA_DIGEST_LENGTH];
  ::SHA1(reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size(), digest);
  return text + std::string(reinterpret_cast<const char*>(digest), sizeof digest);
}

TEST(JavaKeystore, SameCertificatesGiveTheSameBytesWhenEverTheyWereAdded) {
  const auto first = clamp_keystore(keystore(1), 1000);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(clamp_keystore(keystore(2, true), 1000), first);
  EXPECT_EQ(clamp_keystore(*first, 1000), first) << "the digest is right again";
  EXPECT_NE(clamp_keystore(keystore(1), 2000), first);
}

TEST(JavaKeystore, AnythingElseIsLeftAlone) {
  EXPECT_FALSE(clamp_keystore("", 0).has_value());
  EXPECT_FALSE(clamp_keystore("no keystore at all, but long enough", 0).has_value());
  std::string broken = keystore(1);
  broken[20] ^= 1;
  EXPECT_FALSE(clamp_keystore(broken, 0).has_value());
  for (std::size_t length = 0; length < broken.size(); ++length) EXPECT_FALSE(clamp_keystore(keystore(1).substr(0, length), 0).has_value());
}

}  // namespace
}  // namespace kiln::bake
