// Systems Manager, API version 2014-11-06 (JSON 1.1): for its parameters, where AWS and distributions publish their images' ids.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"

namespace kiln::aws {

class Ssm {
 public:
  explicit Ssm(const Session& session);
  Json call(const std::string& operation, const Json& params = Json::object(), const CallOptions& options = {}) const;
  std::vector<Json> call_all(const std::string& operation, const Json& params, std::string_view item_path) const;
  // The parameter's value, decrypted; nothing when there is no such parameter.
  std::optional<std::string> parameter(const std::string& name) const;

 private:
  Client client_;
};

}  // namespace kiln::aws
