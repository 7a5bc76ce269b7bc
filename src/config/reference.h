// Names of images in registries: "HOST[:PORT]/NAME[:TAG][@DIGEST]", as the distribution spec and docker write them.
#pragma once

#include <string>

namespace kiln::config {

struct Reference {
  std::string registry;    // host, with port where one was given
  std::string repository;  // "library/debian"
  std::string tag;         // "latest" when neither tag nor digest is given
  std::string digest;      // "sha256:…", or empty
  // What stands for the image in a manifest's URL.
  const std::string& manifest() const { return digest.empty() ? tag : digest; }
  std::string text() const;
};

// A name without a host is one of Docker's own registry. UsageError naming what is wrong.
Reference parse_reference(const std::string& text);

}  // namespace kiln::config
