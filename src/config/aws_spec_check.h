// What EC2 would refuse of a cluster's `aws:`, found before anything is asked of it. Bounds are those of "Amazon EBS volume types"
// (EBS user guide, 2025) and "Tag your Amazon EC2 resources" (EC2 user guide).
#pragma once

#include <string>

namespace kiln::config {

// "203.0.113.0/24"; UsageError for what is none, and for a range that is the whole world, or nearly: that is how clusters get miners.
void check_range(const std::string& range);
// UsageError for keys that AWS or kiln keeps for itself, and for what is too long.
void check_tag(const std::string& key, const std::string& value);

}  // namespace kiln::config
