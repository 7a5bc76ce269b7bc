// Any text as a module's manifest: refused with a kiln::Error, or read, and then its JSON comes back the same. Nothing else may happen.
#include <cstdint>
#include <cstdlib>

#include "config/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln::config;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const kiln::Json json = module_to_json(parse_module("fuzz", "module.yaml", text));
    if (module_to_json(module_from_json(kiln::Json::parse(json.dump()))) != json) std::abort();
  } catch (const kiln::Error&) {
  }
  // Collecting goes on behind every mistake, so it reaches what the first error hides above.
  try {
    std::vector<ConfigError> found;
    Problems problems(&found);
    read_manifest("fuzz", Value::parse("module.yaml", text), problems);
    for (const auto& problem : found) {
      if (problem.one_line().empty()) std::abort();
    }
  } catch (const kiln::Error&) {
  }
  return 0;
}
