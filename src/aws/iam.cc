#include "aws/iam.h"

#include "aws/query.h"

namespace kiln::aws {

Iam::Iam(const Session& session) : client_(session.client("iam")) {}

Json Iam::call(const std::string& operation, const Json& params, const CallOptions& options) const {
  return query_call(client_, operation, "2010-05-08", params, QueryLists::kMember, options);
}

std::vector<Json> Iam::call_all(const std::string& operation, const Json& params, std::string_view item_path) const {
  return all_pages([&](const Json& page) { return call(operation, page); }, params, item_path, {"Marker", "Marker"});
}

}  // namespace kiln::aws
