// A node document as EC2's user data: packed with gzip and in base64. EC2 takes 16 KiB before the base64.
#pragma once

#include <string>

#include "config/node_document.h"
#include "provider/provider.h"

namespace kiln::provider::on_aws {

// Error when it does not fit.
std::string user_data_of(const config::NodeDocument& document);
// The same for a machine of a stock image, whose cloud-init reads it: host key and authorized keys, what waits for the parcel, and the
// document for that (modules/stock).
std::string stock_user_data_of(const config::NodeDocument& document, const ParcelRef& parcel, const std::string& host_public_key);
// The document's text from what DescribeInstanceAttribute gives. Error for what is none.
std::string document_text_of(const std::string& user_data);

}  // namespace kiln::provider::on_aws
