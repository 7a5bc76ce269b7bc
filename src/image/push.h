// An OCI image to a registry: layers side by side, those that the registry has not at all, the manifest last.
#pragma once

#include <string>
#include <vector>

#include "image/oci.h"
#include "oci/registry.h"

namespace kiln::image {

using config::parse_reference;
using config::Reference;
using oci::RegistryOptions;

struct PushResult {
  std::string digest;                 // of the manifest, or of the index when there are several images
  std::size_t sent = 0, present = 0;  // blobs
  std::int64_t sent_bytes = 0;
};

// Until the manifest is there nobody sees anything of it; a push that was cut is finished by the next one.
PushResult push_image(const bake::Store& store, const std::vector<OciImage>& images, const Reference& reference,
                      const RegistryOptions& options);

}  // namespace kiln::image
