// The instance metadata service of a cloud: the node document in it, and what it says about this machine.
//
// EC2:            PUT /latest/api/token, then GET /latest/user-data and /latest/meta-data/{local-ipv4,instance-id,ami-launch-index,
//                 instance-life-cycle} with the token (IMDSv2; a service without tokens is not asked: any program that can be made to fetch
//                 a URL could read it).
// Compute Engine: GET /computeMetadata/v1/instance/attributes/kiln-node-document and …/{id,name,network-interfaces/0/ip}
//                 with `Metadata-Flavor: Google`, which its answers carry too.
// Both live at 169.254.169.254. Sources: EC2 User Guide, "Use IMDSv2"; Compute Engine documentation, "View and query VM metadata".
#pragma once

#include <string>

#include "config/node_document.h"
#include "node/http_client.h"

namespace kiln::node {

inline constexpr const char* kMetadataService = "http://169.254.169.254";
inline constexpr const char* kDocumentAttribute = "kiln-node-document";

struct Metadata {
  std::string cloud;     // "EC2", "Compute Engine"
  std::string document;  // unpacked text; not yet parsed
  config::MachineFacts machine;
};

// Asks once. NoAnswer when it may work a moment later (nobody answers, "too many requests", an error of the service's own);
// Error when it will not: no document there, what is there is none, no service of these two.
Metadata read_metadata(const std::string& service);

// User data as the document's text: as it is, or packed with gzip (it may be up to 16 KiB on EC2); where the cloud's values are text
// (`allow_base64`), gzip's bytes stand there in base64. Error telling what it seems to be instead, without showing it.
std::string unpack_user_data(const std::string& data, bool allow_base64);

}  // namespace kiln::node
