// Any texts as the documents of an image: chosen from or refused with a kiln::Error (libFuzzer; -DKILN_FUZZ=ON).
// The input is documents with a line "---" between them; "$1" … "$9" in one stands for the digest of that one, so that the search gets
// past the digests.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "oci/manifest.h"

namespace {

std::string fill_in(std::string text, const std::array<std::string, 10>& digests) {
  for (std::size_t at = 0; (at = text.find('$', at)) != std::string::npos && at + 1 < text.size(); ++at) {
    const char digit = text[at + 1];
    if (digit >= '1' && digit <= '9') text.replace(at, 2, digests[static_cast<std::size_t>(digit - '0')]);
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  std::vector<std::string> documents;
  std::string rest(reinterpret_cast<const char*>(data), size);
  for (std::size_t end; documents.size() < 9 && (end = rest.find("\n---\n")) != std::string::npos; rest = rest.substr(end + 5))
    documents.push_back(rest.substr(0, end));
  documents.push_back(rest);
  std::array<std::string, 10> digests;
  std::map<std::string, std::string> blobs;
  // From the last to the first: each may name those behind it.
  for (std::size_t i = documents.size(); i-- > 0;) {
    documents[i] = fill_in(documents[i], digests);
    digests[i] = "sha256:" + sha256_hex(documents[i]);
    blobs[digests[i]] = documents[i];
  }
  try {
    const auto image = oci::choose_image({{"", digests[0], 0}, documents[0]}, "amd64", [&](const oci::Descriptor& blob) {
      const auto found = blobs.find(blob.digest);
      if (found == blobs.end()) fail("there is no {}", blob.digest);
      return found->second;
    });
    if (image.config_text.empty() || image.manifest_text.empty()) std::abort();
    for (const auto& layer : image.layers) {
      if (layer.hex().size() != 64 || layer.size_bytes < 0) std::abort();
    }
  } catch (const Error&) {
  }
  try {
    oci::parse_index(documents[0]);
  } catch (const Error&) {
  }
  return 0;
}
