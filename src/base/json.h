// The JSON library under kiln's own name.
#pragma once

#include <nlohmann/json.hpp>

namespace kiln {
using Json = nlohmann::json;
}
