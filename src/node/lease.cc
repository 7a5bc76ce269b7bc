#include "node/lease.h"

#include "base/error.h"
#include "base/files.h"

namespace kiln::node {

Json lease_to_json(const Lease& lease) { return {{"until", lease.until ? Json(*lease.until) : Json()}, {"version", lease.version}}; }

Lease lease_from_json(const Json& json) {
  const auto until = json.find("until"), version = json.find("version");
  if (!json.is_object() || until == json.end() || version == json.end() || !version->is_number_integer() ||
      !(until->is_null() || until->is_number_integer()))
    throw Error("this is no lease: it has 'until' and 'version', in seconds since 1970");
  Lease lease{{}, version->get<std::int64_t>()};
  if (!until->is_null()) lease.until = until->get<std::int64_t>();
  return lease;
}

Lease load_lease(const std::filesystem::path& file, const Lease& given) {
  try {
    if (const auto text = read_file_if_there(file)) {
      const Lease kept = lease_from_json(Json::parse(*text));
      if (kept.version > given.version) return kept;
    }
  } catch (const std::exception&) {
    // Cut by a power failure: the document's word is there.
  }
  return given;
}

void save_lease(const std::filesystem::path& file, const Lease& lease) {
  write_file_atomically(file, lease_to_json(lease).dump() + "\n", 0600);
}

}  // namespace kiln::node
