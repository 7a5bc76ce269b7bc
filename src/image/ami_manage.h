// AMIs that kiln has made, listed, removed, copied and thinned out (remote_images.h). What carries the tag kiln:image and is the account's
// own is kiln's; nothing else is touched, whatever it is called.
#pragma once

#include <memory>

#include "image/remote_images.h"

namespace kiln::image {

std::unique_ptr<RemoteImages> open_amis(const RemoteOptions& options);

}  // namespace kiln::image
