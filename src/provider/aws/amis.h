// Which AMI a cluster starts from.
#pragma once

#include <string>

#include "aws/session.h"
#include "provider/provider.h"

namespace kiln::provider::on_aws {

// `image`: an AMI's id, or the name of an image that `kiln bake --target ami` made in the region: the newest of that name for the
// architecture of the cluster's instance types, by the tags that it gives (kiln:image, kiln:digest); or a distribution's own
// (stock_images.h). UsageError, with what there is, when there is none.
ImageRef find_ami(const kiln::aws::Session& session, const std::string& image, const config::AwsSpec& wish);

}  // namespace kiln::provider::on_aws
