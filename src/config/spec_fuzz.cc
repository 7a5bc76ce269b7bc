// Any text as an image spec and as a cluster spec. What an image spec extends is the same text again, so `extends` is exercised
// without touching the disk.
#include <cstdint>
#include <cstdlib>

#include "config/cluster_spec.h"
#include "config/image_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln::config;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const ImageSpec spec = parse_image_spec("/specs/image.yaml", text, [&](const std::string&) { return text; });
    // What was read can be written, and the written one be read.
    const std::string written = image_spec_to_json(spec).dump();
    parse_image_spec("/specs/image.yaml", written, [](const std::string&) { return std::string(); });
  } catch (const kiln::Error&) {
  }
  try {
    const ClusterSpec spec = parse_cluster_spec("/specs/cluster.yaml", text);
    const kiln::Json json = cluster_spec_to_json(spec);
    if (cluster_spec_to_json(cluster_spec_from_json(kiln::Json::parse(json.dump()))) != json) std::abort();
  } catch (const kiln::Error&) {
  }
  return 0;
}
