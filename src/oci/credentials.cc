#include "oci/credentials.h"

#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::oci {

namespace {

std::vector<fs::path> configurations() {
  std::vector<fs::path> files;
  const auto add = [&](const char* variable, const char* below) {
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') files.push_back(fs::path(value) / below);
  };
  if (const char* file = std::getenv("REGISTRY_AUTH_FILE"); file != nullptr && *file != '\0') files.emplace_back(file);
  add("XDG_RUNTIME_DIR", "containers/auth.json");
  add("DOCKER_CONFIG", "config.json");
  add("HOME", ".docker/config.json");
  return files;
}

// Docker keeps its own registry under a URL, others under the host.
std::vector<std::string> names_of(const std::string& registry) {
  if (registry == "registry-1.docker.io") return {"https://index.docker.io/v1/", "docker.io", "index.docker.io", registry};
  return {registry, "https://" + registry, "https://" + registry + "/v1/", "https://" + registry + "/v2/", "http://" + registry};
}

std::optional<std::string> ask_helper(const std::string& helper, const std::string& name) {
  const std::string program = "docker-credential-" + helper;
  if (helper.find('/') != std::string::npos) fail("'{}' is no credential helper's name", helper);
  ProcessOptions options;
  options.standard_input = name;
  const auto result = run({program, "get"}, options);
  if (!result.ok()) return std::nullopt;  // as docker does: it has none
  const Json json = Json::parse(result.output, nullptr, false);
  if (!json.is_object()) fail("the credential helper '{}' did not answer as one", program);
  return json.value("Username", "") + ":" + json.value("Secret", "");
}

std::optional<std::string> look_in(const fs::path& file, const std::string& registry) {
  const auto text = read_file_if_there(file);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) fail("'{}' is no docker configuration: it holds no JSON object", file.native());
  try {
    const Json helpers = json.value("credHelpers", Json::object()), auths = json.value("auths", Json::object());
    for (const auto& name : names_of(registry)) {
      if (const auto helper = helpers.find(name); helper != helpers.end()) return ask_helper(helper->get<std::string>(), name);
      const auto found = auths.find(name);
      if (found == auths.end()) continue;
      const std::string encoded = found->value("auth", "");
      if (encoded.empty()) continue;  // kept by the credential store
      const auto plain = from_base64(encoded);
      if (!plain || plain->find(':') == std::string::npos)
        fail("'{}': the credentials for {} are not base64 of NAME:PASSWORD", file.native(), registry);
      return plain;
    }
    const std::string store = json.value("credsStore", "");
    if (!store.empty()) return ask_helper(store, names_of(registry).front());
  } catch (const Json::exception&) {
    fail("'{}' is no docker configuration", file.native());
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_credentials(const std::string& registry) {
  for (const auto& file : configurations()) {
    if (auto found = look_in(file, registry)) return found;
  }
  return std::nullopt;
}

}  // namespace kiln::oci
