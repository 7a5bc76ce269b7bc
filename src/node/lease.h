// Until when this node may run. What the document says holds until a master says otherwise: a launch gives its nodes a short lease, which
// only a launcher that lived to see the cluster ready makes longer, and whoever prolongs a cluster tells it to a master too. The newest
// word is kept on the node's disk, so that a machine that is started again does not go by its old document.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/json.h"

namespace kiln::node {

struct Lease {
  std::optional<std::int64_t> until;  // seconds since 1970; nothing: for as long as anybody wants
  std::int64_t version = 0;           // the time at which it was given: a later word wins

  bool operator==(const Lease&) const = default;
};

// {"until": 1767225600 or null, "version": 1767222000}. Error for what is none.
Json lease_to_json(const Lease& lease);
Lease lease_from_json(const Json& json);

// The newest word in `file`, or `given` where there is none (or one that cannot be read).
Lease load_lease(const std::filesystem::path& file, const Lease& given);
void save_lease(const std::filesystem::path& file, const Lease& lease);

}  // namespace kiln::node
