// The registry of providers that have networks.
#include "provider/networks.h"

#include <map>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider {

namespace {
using Make = std::function<std::unique_ptr<Networks>(const NetworkPlace&)>;
std::map<std::string, Make>& network_registry() {
  static std::map<std::string, Make> entries;
  return entries;
}
}  // namespace

RegisterNetworks::RegisterNetworks(std::string provider, Make make) {
  if (!network_registry().emplace(provider, std::move(make)).second) fail("two providers of networks are called '{}'", provider);
}

std::vector<std::string> providers_with_networks() {
  std::vector<std::string> names;
  for (const auto& [name, make] : network_registry()) names.push_back(name);
  return names;
}

std::unique_ptr<Networks> make_networks(const std::string& provider, const NetworkPlace& place) {
  const auto found = network_registry().find(provider);
  if (found != network_registry().end()) return found->second(place);
  UsageError error(fmt::format("the provider '{}' has no networks of its own", provider));
  error.set_hint(fmt::format("there are networks on: {}", join(providers_with_networks(), ", ")));
  throw error;
}

}  // namespace kiln::provider
