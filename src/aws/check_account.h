// What `kiln doctor --on aws` looks at: region, credentials, who they are, where EC2 is, and which regions the account may use.
#pragma once

#include <string>
#include <vector>

#include "aws/session.h"
#include "base/json.h"

namespace kiln::aws {

struct AccountCheck {
  std::string name;  // "credentials"
  bool ok = false;
  std::string found;  // what is there, or why it is not
  std::string mend;   // what to do, when something can be done
};

struct AccountReport {
  std::vector<AccountCheck> checks;  // in their order; what depends on one that failed is left out
  // As far as it is known: profile, region, region_source, partition, credentials, expires, account, arn, endpoints {service: URL},
  // regions [enabled for the account]. No secrets.
  Json facts = Json::object();
  bool ok() const;
};

// Asks STS (GetCallerIdentity) and EC2 (DescribeRegions). What AWS refuses is in the report; Interrupted when the user ends kiln.
AccountReport check_account(const Session& session);

}  // namespace kiln::aws
