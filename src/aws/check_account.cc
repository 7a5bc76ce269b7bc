#include "aws/check_account.h"

#include <algorithm>
#include <functional>
#include <map>

#include "aws/ec2.h"
#include "aws/sts.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

// Runs one check; false when it failed.
bool look(AccountReport& report, const std::string& name, const std::function<std::string()>& check) {
  try {
    report.checks.push_back({name, true, check(), {}});
    return true;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    report.checks.push_back({name, false, error.what(), error.hint_text()});
    return false;
  }
}

}  // namespace

bool AccountReport::ok() const {
  return std::all_of(checks.begin(), checks.end(), [](const AccountCheck& check) { return check.ok; });
}

AccountReport check_account(const Session& session) {
  AccountReport report;
  Json& facts = report.facts;
  facts["profile"] = session.profile();
  const bool has_region = look(report, "region", [&] {
    facts["region"] = session.region();
    facts["region_source"] = session.region_source();
    facts["partition"] = session.partition().name;
    return fmt::format("{} ({}), partition {}", session.region(), session.region_source(), session.partition().name);
  });
  const bool has_credentials = look(report, "credentials", [&] {
    const Credentials credentials = session.credentials();
    facts["credentials"] = credentials.source;
    if (!credentials.expires) return credentials.source;
    facts["expires"] = iso_time(*credentials.expires);
    return fmt::format("{}, until {}", credentials.source, iso_time(*credentials.expires));
  });
  if (!has_region) return report;
  if (!look(report, "endpoints", [&] {
        std::map<std::string, std::vector<std::string>> own;  // by what says so
        for (const char* service : {"ec2", "ebs", "iam", "sts", "ssm", "s3"}) {
          const Endpoint endpoint = session.endpoint(service);
          facts["endpoints"][service] = endpoint.url;
          if (endpoint.custom) own[endpoint.source].push_back(service);
        }
        std::string out = facts["endpoints"]["ec2"];
        for (const auto& [source, services] : own) out += fmt::format("; one's own, by {}: {}", source, join(services, " "));
        return out;
      }))
    return report;
  if (!has_credentials) return report;
  const bool known = look(report, "identity", [&] {
    const CallerIdentity who = Sts(session).caller_identity();
    facts["account"] = who.account;
    facts["arn"] = who.arn;
    return fmt::format("account {}, {}", who.account, who.arn);
  });
  if (!known) return report;
  look(report, "regions", [&] {
    std::vector<std::string> names;
    for (const Json& region : list(Ec2(session).call("DescribeRegions"), "regionInfo")) names.push_back(text(region, "regionName"));
    std::sort(names.begin(), names.end());
    facts["regions"] = names;
    return fmt::format("{} enabled: {}", names.size(), join(names, " "));
  });
  return report;
}

}  // namespace kiln::aws
