// kiln doctor: what this machine lacks, or what is needed to work at a place.
#include <map>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/doctor_place.h"
#include "cli/terminal.h"
#include "container/cell.h"

namespace kiln::cli {

namespace {

using Check = std::function<Response(const DoctorOptions&)>;

std::map<std::string, Check>& places() {
  static std::map<std::string, Check> all;
  return all;
}

Response check_machine(const DoctorOptions& options) {
  if (!options.profile.empty() || !options.region.empty()) fail_usage("--profile and --region need --on with a cloud's name");
  std::vector<DoctorCheck> checks;
  for (const auto& check : container::check_host()) checks.push_back({check.name, check.ok, check.required, check.found, check.mend});
  return doctor_response(checks);
}

std::vector<std::string> place_names() {
  std::vector<std::string> names;
  for (const auto& [name, check] : places()) names.push_back(name);
  return names;
}

const RegisterDoctorPlace machine("local", check_machine);

}  // namespace

RegisterDoctorPlace::RegisterDoctorPlace(const std::string& name, std::function<Response(const DoctorOptions&)> check) {
  if (!places().emplace(name, std::move(check)).second) throw std::logic_error("the doctor's place '" + name + "' is there twice");
}

Response doctor_response(const std::vector<DoctorCheck>& checks) {
  Response response;
  response.json = Json::array();
  std::vector<std::vector<std::string>> rows;
  std::string mends;
  for (const auto& check : checks) {
    response.json.push_back(
        {{"name", check.name}, {"ok", check.ok}, {"required", check.required}, {"found", check.found}, {"mend", check.mend}});
    // One line in the table; the rest of a long reason stands below it.
    const std::size_t end = check.found.find('\n');
    rows.push_back({check.ok ? "ok" : check.required ? "MISSING" : "without", check.name, check.found.substr(0, end)});
    if (check.ok) continue;
    if (end != std::string::npos) mends += check.found + "\n";
    if (!check.mend.empty()) mends += fmt::format("{}: {}\n", check.name, check.mend);
    if (check.required) response.exit_code = static_cast<int>(ExitCode::kFailed);
  }
  response.text = format_table({"", "what", "found"}, rows);
  if (!mends.empty()) response.text += "\nTo mend:\n" + mends;
  return response;
}

namespace {

const RegisterCommand command{
    {.name = "doctor",
     .group = "Upkeep",
     .summary = "check what this machine lacks, with the command that mends it",
     .description =
         "Exit code 1 when something is missing that kiln cannot do without.\n"
         "With --on aws: the account, who the credentials are and where they come from, the region, endpoints and enabled regions.",
     .examples = {{"kiln doctor", ""}, {"kiln doctor --on aws --profile dev", "can kiln work in this account?"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<DoctorOptions>();
       auto place = std::make_shared<std::string>("local");
       app.add_option("--on", *place, "where: local (this machine) or aws")->type_name("PROVIDER");
       app.add_option("--profile", options->profile, "the profile of the place's configuration files to use")->type_name("NAME");
       app.add_option("--region", options->region, "the region to look at")->type_name("REGION");
       return [options, place] {
         const auto found = places().find(*place);
         if (found != places().end()) return found->second(*options);
         fail_usage("kiln doctor knows no place '{}'; there are: {}", *place, join(place_names(), ", "));
       };
     }}};

}  // namespace
}  // namespace kiln::cli
