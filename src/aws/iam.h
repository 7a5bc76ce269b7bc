// IAM, API version 2010-05-08: one endpoint a partition, whatever the session's region. Lists are given as Json arrays (answers: "Roles",
// "Tags" …); call_all() follows Marker.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"

namespace kiln::aws {

class Iam {
 public:
  explicit Iam(const Session& session);
  Json call(const std::string& operation, const Json& params = Json::object(), const CallOptions& options = {}) const;
  std::vector<Json> call_all(const std::string& operation, const Json& params, std::string_view item_path) const;

 private:
  Client client_;
};

}  // namespace kiln::aws
