// The registry of providers.
#include "provider/provider.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider {

namespace {
std::vector<ProviderEntry>& registry() {
  static std::vector<ProviderEntry> entries;
  return entries;
}
}  // namespace

Node Provider::replace_master(const std::string& cluster, const std::string& master, const CreateRequest&) {
  Error error(fmt::format("the provider of cluster '{}' cannot replace master '{}'", cluster, master));
  error.set_hint(fmt::format("`kiln stop {0}`, then `kiln start {0}` starts all nodes anew, with their disks", cluster));
  throw error;
}

std::optional<ImageRef> Provider::find_image(const config::ClusterSpec&) { return std::nullopt; }

Cluster Provider::resume(const CreateRequest& request) {
  UsageError error(fmt::format("a launch of provider '{}' cannot be gone on with", request.cluster.provider));
  error.set_hint("what breaks there removes itself: launch again");
  throw error;
}

void Provider::deliver(const std::string& cluster, const std::filesystem::path&, std::chrono::milliseconds) {
  fail("cluster '{}' stands on no stock image: there is nothing to deliver", cluster);
}

std::string_view state_name(State state) {
  switch (state) {
    case State::kCreating:
      return "creating";
    case State::kRunning:
      return "running";
    case State::kStopped:
      return "stopped";
    case State::kLost:
      return "lost";
  }
  return "unknown";
}

RegisterProvider::RegisterProvider(std::string name, std::string doc, Reach reach, std::function<std::unique_ptr<Provider>()> make) {
  auto& entries = registry();
  if (std::any_of(entries.begin(), entries.end(), [&](const ProviderEntry& entry) { return entry.name == name; }))
    fail("two providers are called '{}'", name);
  entries.push_back({std::move(name), std::move(doc), reach, std::move(make)});
  // The order in which files register is the linker's.
  std::sort(entries.begin(), entries.end(),
            [](const ProviderEntry& a, const ProviderEntry& b) { return std::tie(a.reach, a.name) < std::tie(b.reach, b.name); });
}

const std::vector<ProviderEntry>& providers() { return registry(); }

std::unique_ptr<Provider> make_provider(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : providers()) {
    if (entry.name == name) return entry.make();
    names.push_back(entry.name);
  }
  UsageError error(fmt::format("there is no provider '{}'", name));
  const auto near = nearest(name, names);
  error.set_hint(near ? fmt::format("did you mean '{}'?", *near) : fmt::format("there are: {}", join(names, ", ")));
  throw error;
}

}  // namespace kiln::provider
