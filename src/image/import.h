// An image that others hold (a registry, a layout, an archive) as an image of the store.
//
// One that kiln made comes back with its modules and parameters, layer by layer. Its own words for its layers, their keys, are not
// believed: a key says of which inputs a layer was made, and whoever could bring files under the key of another's layer would be in
// that one's next bake. A layer that is in this store already, and is the same, is that layer; any other is kept under a key made of the
// digest of its bytes. All other images come as a single layer, the same that `base: {oci: …}` makes, to stand others on, to export or to
// push.
#pragma once

#include <string>

#include "bake/store.h"

namespace kiln::image {

struct ImportOptions {
  std::string name;          // empty: what the image calls itself, or the last word of the source
  std::string architecture;  // empty: this machine's
};

// `source`: a reference, or the path of a layout folder or archive, with ":TAG" where it holds several. A registry is asked also when the
// reference was resolved before.
bake::Image import_image(bake::Store& store, const std::string& source, const ImportOptions& options);

}  // namespace kiln::image
