// A client of container registries (OCI distribution spec 1.1) that sends blobs and manifests.
//
// Credentials are those of docker, podman and skopeo: $DOCKER_CONFIG/config.json, ~/.docker/config.json or $REGISTRY_AUTH_FILE, in them
// `auths` and the credential helpers. They never appear in a message or on a command line.
// TLS by the system's authorities, and those in /etc/docker/certs.d/HOST/ca.crt or ~/.config/containers/certs.d/HOST/ca.crt.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "image/reference.h"

namespace kiln::image {

struct RegistryOptions {
  bool plain_http = false;  // else https; this machine's own name (localhost, 127.…) is tried by http too
  int attempts = 5;         // for what may be the network's fault
  std::chrono::milliseconds first_delay{500};
};

class Registry {
 public:
  Registry(const Reference& reference, RegistryOptions options = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  bool has_blob(const std::string& digest);
  // Sends the file as the blob `digest`, in chunks: when a connection breaks, it goes on from where the registry says it is.
  void push_blob(const std::string& digest, const std::filesystem::path& file, const std::function<void(std::int64_t done)>& on_progress);
  void push_manifest(const std::string& name, const std::string& media_type, const std::string& text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::image
