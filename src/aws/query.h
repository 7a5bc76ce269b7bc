// The query protocol of EC2, IAM and STS: a form is posted, XML comes back.
#pragma once

#include <string>
#include <string_view>

#include "aws/client.h"

namespace kiln::aws {

enum class QueryLists {
  kFlat,    // EC2: Filter.1.Name
  kMember,  // IAM, STS: Tags.member.1.Key
};

// "Action=…&Version=…&Filter.1.Name=…", percent-encoded. Nulls are left out. Error for a parameter that is no Json object.
std::string query_form(const std::string& operation, const std::string& version, const Json& params, QueryLists lists);

// One call; the answer without its outermost element (and, of IAM's and STS's, without <…Result>).
Json query_call(const Client& client, const std::string& operation, const std::string& version, const Json& params, QueryLists lists,
                const CallOptions& options);

}  // namespace kiln::aws
