// The tree behind Value (yaml.h), and the one function that makes it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "config/diagnostic.h"

namespace kiln::config {

struct YamlItem {
  enum class Kind { kNull, kScalar, kList, kMap };
  struct Member {
    std::string key;
    Position key_at;
    std::shared_ptr<const YamlItem> value;
  };
  Kind kind = Kind::kNull;
  Position at;
  std::string scalar;
  std::vector<std::shared_ptr<const YamlItem>> items;
  std::vector<Member> members;
  std::size_t weight = 1;  // values in it, aliases followed
};

// The document's root. ConfigError for all that Value::parse refuses.
std::shared_ptr<const YamlItem> parse_yaml_tree(const Source& source);

}  // namespace kiln::config
