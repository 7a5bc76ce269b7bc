// The registry of providers.
#include "provider/provider.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider {

namespace {
std::vector<ProviderEntry>& registry() {
  static std::vector<ProviderEntry> entries;
  return entries;
}
}  // namespace

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

RegisterProvider::RegisterProvider(std::string name, std::string doc, std::function<std::unique_ptr<Provider>()> make) {
  auto& entries = registry();
  // In the order of their names, since the order in which files register is the linker's.
  const auto at = std::lower_bound(entries.begin(), entries.end(), name,
                                   [](const ProviderEntry& entry, const std::string& key) { return entry.name < key; });
  if (at != entries.end() && at->name == name) fail("two providers are called '{}'", name);
  entries.insert(at, {std::move(name), std::move(doc), std::move(make)});
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
