// Who we are to a registry, as docker, podman and skopeo keep it: `auths` and credential helpers in
// $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, $DOCKER_CONFIG/config.json or ~/.docker/config.json, the first that knows it.
#pragma once

#include <optional>
#include <string>

namespace kiln::oci {

// "user:password", or nothing. Error naming the file that is no such configuration, or the helper that failed; never what is in it.
std::optional<std::string> find_credentials(const std::string& registry);

}  // namespace kiln::oci
