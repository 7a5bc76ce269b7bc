// Distributions' own images: by name (debian-13, ubuntu-24.04, amazon-linux-2023), by any public SSM parameter (ssm:/aws/service/…), or by
// their id. Which image is a distribution's today its makers say in SSM.
#pragma once

#include <optional>
#include <string>

#include "aws/session.h"
#include "config/aws_spec.h"
#include "provider/provider.h"

namespace kiln::provider::on_aws {

// Nothing for what is neither a stock image's name (with -amd64 or -arm64 where it is not for amd64) nor ssm:NAME. UsageError when there is
// no such parameter in the region, or when what it names is no image of a distribution that kiln knows.
std::optional<ImageRef> find_stock_image(const kiln::aws::Session& session, const std::string& name, const config::AwsSpec& wish);

// What an image is by its name, as the makers of distributions name theirs; nothing for any other. `image`: as DescribeImages gives it.
std::optional<StockImage> read_stock_image(const Json& image, const config::AwsSpec& wish);

}  // namespace kiln::provider::on_aws
