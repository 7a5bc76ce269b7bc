#include "config/reference.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::config {
namespace {

TEST(Reference, IsReadAsDockerReadsIt) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  struct Case {
    std::string text, registry, repository, tag, digest;
  };
  for (const auto& [text, registry, repository, tag, expected_digest] :
       {Case{"registry.example/spark:4.1", "registry.example", "spark", "4.1", ""},
        Case{"registry.example:5000/team/spark", "registry.example:5000", "team/spark", "latest", ""},
        Case{"localhost/x", "localhost", "x", "latest", ""}, Case{"localhost:5000/x:1", "localhost:5000", "x", "1", ""},
        Case{"debian", "registry-1.docker.io", "library/debian", "latest", ""},
        Case{"team/spark:2", "registry-1.docker.io", "team/spark", "2", ""},
        Case{"registry.example/spark@" + digest, "registry.example", "spark", "", digest},
        Case{"registry.example/spark:4.1@" + digest, "registry.example", "spark", "4.1", digest}}) {
    const auto reference = parse_reference(text);
    EXPECT_EQ(reference.registry, registry) << text;
    EXPECT_EQ(reference.repository, repository) << text;
    EXPECT_EQ(reference.tag, tag) << text;
    EXPECT_EQ(reference.digest, expected_digest) << text;
    EXPECT_EQ(reference.manifest(), expected_digest.empty() ? tag : expected_digest);
  }
}

TEST(Reference, WhatIsNoneIsToldWhy) {
  for (const auto& [text, why] : {std::pair{"https://registry.example/spark", "without a scheme"},
                                  {"registry.example/Spark", "is no repository's name"},
                                  {"registry.example/", "is no repository's name"},
                                  {"registry.example/spark:", "is no tag"},
                                  {"registry.example/spark:a b", "is no tag"},
                                  {"registry.example/spark@sha256:12", "stands a digest"},
                                  {"registry.example//spark", "is no repository's name"},
                                  {"", "is no repository's name"}}) {
    try {
      parse_reference(text);
      ADD_FAILURE() << text << ": no error";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace kiln::config
