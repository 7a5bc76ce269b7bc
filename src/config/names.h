// What may be called what. Each check throws UsageError naming the value, the rule and, where it is easy, a name that would do.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace kiln::config {

// Clusters: 1–32 of a-z 0-9 -, starting with a letter, not ending in '-' (they become host names and cloud tags).
void check_cluster_name(std::string_view name);
// Networks: the same rule.
void check_network_name(std::string_view name);
// Images and modules: 1–64 of a-z 0-9 . _ -, starting with a letter or digit.
void check_image_name(std::string_view name);
void check_module_name(std::string_view name);

// "512m", "2g", "1.5GiB" → bytes; "90s", "15m", "8h", "2d" → seconds. `what` names the option or key in the error.
std::int64_t parse_size_bytes(std::string_view what, std::string_view text);
std::chrono::seconds parse_duration(std::string_view what, std::string_view text);

}  // namespace kiln::config
