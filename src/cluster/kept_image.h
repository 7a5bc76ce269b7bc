// An image that one launch wants and its provider does not have yet: another version, a module more. Made once, and kept there under a name
// of its own, which is the image's with the beginning of the new one's digest: spark-3fa9c1d2e4b5. `kiln image list --on` shows it, `rm`
// removes it.
#pragma once

#include "bake/bake.h"
#include "config/cluster_spec.h"
#include "provider/provider.h"

namespace kiln::cluster {

// `image`: of this machine's store, its layers there; its name is that of the provider's image that it comes from, and whose blocks are not
// sent again. Errors as of a bake with that target.
provider::ImageRef keep_image(bake::Store& store, provider::Provider& provider, const config::ClusterSpec& spec, const bake::Image& image,
                              const bake::BakeOptions& options);

}  // namespace kiln::cluster
