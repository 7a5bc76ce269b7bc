// kiln doctor --on aws: who we are there, where, and what the account may use.
#include "aws/check_account.h"
#include "cli/doctor_place.h"

namespace kiln::cli {
namespace {

Response check(const DoctorOptions& options) {
  const aws::Session session({.profile = options.profile, .region = options.region});
  const aws::AccountReport report = aws::check_account(session);
  std::vector<DoctorCheck> checks;
  for (const auto& one : report.checks) checks.push_back({one.name, one.ok, true, one.found, one.mend});
  Response response = doctor_response(checks);
  // The facts, and beside them what was looked at.
  Json json = report.facts;
  json["ok"] = report.ok();
  json["checks"] = response.json;
  response.json = std::move(json);
  return response;
}

const RegisterDoctorPlace place("aws", check);

}  // namespace
}  // namespace kiln::cli
