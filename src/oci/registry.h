// A client of container registries (OCI distribution spec 1.1) that sends and gets blobs and manifests. What it gets is what its digest
// says, or an error.
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

#include "config/reference.h"
#include "oci/manifest.h"

namespace kiln::oci {

// How long a registry may be silent: $KILN_REGISTRY_TIMEOUT in seconds (1 to 86400; UsageError for anything else), else 60 s, which is far
// beyond what a registry needs to check a large layer's digest, the longest that it has nothing to say.
std::chrono::seconds silence_limit();

struct RegistryOptions {
  const char* actions = "pull";  // what a token is asked for; to send: "pull,push"
  bool plain_http = false;       // else https; this machine's own name (localhost, 127.…) is tried by http too
  int attempts = 5;              // for what may be the network's fault
  std::chrono::milliseconds first_delay{500};
  // After so long without a byte in either direction a connection is cut, and it is tried again as after other faults of the network; it
  // counts as two attempts, as it takes so long: by default it is over after three silences (60 + 0.5 + 60 + 1 + 60 s).
  std::chrono::seconds silence = silence_limit();
};

class Registry {
 public:
  explicit Registry(const config::Reference& reference, RegistryOptions options = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  bool has_blob(const std::string& digest);
  // Sends the file as the blob `digest`, in chunks: when a connection breaks, it goes on from where the registry says it is.
  void push_blob(const std::string& digest, const std::filesystem::path& file, const std::function<void(std::int64_t done)>& on_progress);
  void push_manifest(const std::string& name, const std::string& media_type, const std::string& text);

  // The manifest or index that `name` (a tag or a digest) stands for: of at most 4 MiB, its digest checked where one is known.
  Document get_manifest(const std::string& name);
  // Gets the blob into `file`, which may hold its beginning from an attempt that was cut: it goes on from there. The file is the blob,
  // whole and with the right digest; else an Error, and of a blob that is not what its descriptor says nothing is left.
  void get_blob(const Descriptor& blob, const std::filesystem::path& file, const std::function<void(std::int64_t done)>& on_progress);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::oci
