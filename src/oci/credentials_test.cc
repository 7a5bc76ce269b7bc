#include "oci/credentials.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::oci {
namespace {

class Credentials : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"}) ::unsetenv(name);
    ::setenv("HOME", folder_.path().c_str(), 1);
    make_folder(folder_.path() / ".docker");
  }
  void configure(const std::string& text) { write_file_atomically(folder_.path() / ".docker/config.json", text); }
  // The error's words, or "" when there was none.
  static std::string error_of(const std::string& registry) {
    try {
      find_credentials(registry);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  TemporaryFolder folder_;
};

TEST_F(Credentials, AreFoundByTheRegistrysName) {
  EXPECT_FALSE(find_credentials("registry.example").has_value());
  configure("{\"auths\": {\"registry.example\": {\"auth\": \"" + to_base64("me:pass:word") +
            "\"}, \"https://other.example/v2/\": {\"auth\": \"" + to_base64("you:x") +
            "\"}, \"https://index.docker.io/v1/\": {\"auth\": \"" + to_base64("hub:y") + "\"}}}");
  EXPECT_EQ(find_credentials("registry.example"), "me:pass:word");
  EXPECT_EQ(find_credentials("other.example"), "you:x");
  EXPECT_EQ(find_credentials("registry-1.docker.io"), "hub:y");
  EXPECT_FALSE(find_credentials("third.example").has_value());
}

TEST_F(Credentials, ComeFromAHelper) {
  write_file_atomically(
      folder_.path() / "docker-credential-toy",
      "#!/bin/sh\nread -r name\n[ \"$name\" = registry.example ] || exit 1\necho '{\"Username\": \"me\", \"Secret\": \"s\"}'\n", 0755);
  ::setenv("PATH", (folder_.path().native() + ":" + std::getenv("PATH")).c_str(), 1);
  configure("{\"credHelpers\": {\"registry.example\": \"toy\"}}");
  EXPECT_EQ(find_credentials("registry.example"), "me:s");
  configure("{\"credsStore\": \"toy\"}");
  EXPECT_EQ(find_credentials("registry.example"), "me:s");
  EXPECT_FALSE(find_credentials("other.example").has_value());
}

TEST_F(Credentials, WhatIsWrongIsToldAndNothingOfIt) {
  configure("auths: none");
  EXPECT_NE(error_of("registry.example").find("holds no JSON object"), std::string::npos);
  configure("{\"auths\": {\"registry.example\": {\"auth\": \"c2VjcmV0\"}}}");  // no ':' in it
  const auto words = error_of("registry.example");
  EXPECT_NE(words.find("not base64 of NAME:PASSWORD"), std::string::npos) << words;
  EXPECT_EQ(words.find("c2VjcmV0"), std::string::npos) << words;
  configure("{\"credHelpers\": {\"registry.example\": \"../evil\"}}");
  EXPECT_NE(error_of("registry.example").find("no credential helper's name"), std::string::npos);
}

// RFC 4648's own examples.
TEST(Base64, ThereAndBack) {
  for (const auto& [plain, encoded] : {std::pair{"", ""},
                                       {"f", "Zg=="},
                                       {"fo", "Zm8="},
                                       {"foo", "Zm9v"},
                                       {"foob", "Zm9vYg=="},
                                       {"fooba", "Zm9vYmE="},
                                       {"foobar", "Zm9vYmFy"}}) {
    EXPECT_EQ(to_base64(plain), encoded);
    EXPECT_EQ(from_base64(encoded), plain);
  }
  EXPECT_FALSE(from_base64("a*b").has_value());
  EXPECT_EQ(percent_encode("a b/ü:~"), "a%20b%2F%C3%BC%3A~");
}

}  // namespace
}  // namespace kiln::oci
