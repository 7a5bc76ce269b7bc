// Any bytes as a node document: on clouds it comes from the metadata service, and the agent that reads it is root.
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "config/node_document.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln::config;
  try {
    const kiln::Json json = node_document_to_json(parse_node_document(std::string(reinterpret_cast<const char*>(data), size)));
    if (node_document_to_json(parse_node_document(json.dump())) != json) std::abort();
  } catch (const kiln::Error&) {
  }
  return 0;
}
