// kiln doctor: what this machine lacks.
#include "cli/command.h"
#include "cli/terminal.h"
#include "container/cell.h"

namespace kiln::cli {
namespace {

const RegisterCommand command{
    {.name = "doctor",
     .group = "Upkeep",
     .summary = "check what this machine lacks, with the command that mends it",
     .description = "Exit code 1 when something is missing that kiln cannot do without.",
     .examples = {{"kiln doctor", ""}},
     .define = [](CLI::App&) {
       return [] {
         Response response;
         response.json = Json::array();
         std::vector<std::vector<std::string>> rows;
         std::string mends;
         for (const auto& check : container::check_host()) {
           response.json.push_back(
               {{"name", check.name}, {"ok", check.ok}, {"required", check.required}, {"found", check.found}, {"mend", check.mend}});
           rows.push_back({check.ok ? "ok" : check.required ? "MISSING" : "without", check.name, check.found});
           if (check.ok) continue;
           mends += fmt::format("{}: {}\n", check.name, check.mend);
           if (check.required) response.exit_code = static_cast<int>(ExitCode::kFailed);
         }
         response.text = format_table({"", "what", "found"}, rows);
         if (!mends.empty()) response.text += "\nTo mend:\n" + mends;
         return response;
       };
     }}};

}  // namespace
}  // namespace kiln::cli
