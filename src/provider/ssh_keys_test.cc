#include "provider/ssh_keys.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::provider {
namespace {

TEST(SshKeysTest, AreReadByOpenSsh) {
  if (!find_program("ssh-keygen")) GTEST_SKIP() << "ssh-keygen is not installed";
  const TemporaryFolder folder;
  for (const char* secret : {"", "a", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}) {
    const SshKey key = derive_ssh_key(secret, "host");
    const auto file = folder.path() / "key";
    write_file_atomically(file, key.private_text, 0600);
    EXPECT_EQ(trim(run_checked({"ssh-keygen", "-y", "-f", file.native()}).output), key.public_line);
  }
}

TEST(SshKeysTest, FollowFromSecretAndPurpose) {
  const SshKey key = derive_ssh_key("secret", "host");
  EXPECT_EQ(derive_ssh_key("secret", "host").private_text, key.private_text);
  EXPECT_NE(derive_ssh_key("secret", "user").public_line, key.public_line);
  EXPECT_NE(derive_ssh_key("Secret", "host").public_line, key.public_line);
}

}  // namespace
}  // namespace kiln::provider
