// kiln gc: what crashes and kills left behind.
#include "bake/store.h"
#include "base/activity.h"
#include "base/files.h"
#include "cli/command.h"
#include "provider/provider.h"

namespace kiln::cli {
namespace {

void collect_from(provider::Provider& provider, bool dry_run, Response& response) {
  for (const auto& leftover : provider.collect_garbage(dry_run)) {
    response.json.push_back({{"what", leftover.what}, {"removed", leftover.removed}});
    response.text += fmt::format("{}{}\n", leftover.what, leftover.removed ? ": removed" : dry_run ? "" : ": cannot be removed");
  }
}

void collect_from_store(bool dry_run, Response& response) {
  for (const auto& garbage : bake::Store().collect_interrupted(dry_run)) {
    response.json.push_back({{"what", garbage.what}, {"size_bytes", garbage.size_bytes}, {"removed", !dry_run}});
    response.text +=
        fmt::format("{} ({}){}\n", garbage.what, human_size(static_cast<std::uintmax_t>(garbage.size_bytes)), dry_run ? "" : ": removed");
  }
}

const RegisterCommand command{
    {.name = "gc",
     .group = "Upkeep",
     .summary = "remove what interrupted work left behind",
     .description =
         "Half-made clusters, machines without a cluster, unfinished layers and downloads. Finished images and their layers stay\n"
         "(`kiln image gc` removes those that nothing uses). Safe at any time, also while others bake and launch.",
     .examples = {{"kiln gc --dry-run", "only says what would go"}, {"kiln gc --on aws", "of the cloud's only, in all regions"}},
     .define = [](CLI::App& app) {
       auto dry_run = std::make_shared<bool>(false);
       app.add_flag("--dry-run", *dry_run, "only say what would be removed");
       auto place = std::make_shared<std::string>();
       app.add_option("--on", *place, "only there: local or aws (default: everywhere)")->type_name("PROVIDER");
       return [dry_run, place] {
         Response response;
         response.json = Json::array();
         if (!place->empty()) provider::make_provider(*place);  // tells a slip
         for (const auto& entry : provider::providers()) {
           if (!place->empty() && entry.name != *place) continue;
           try {
             collect_from(*entry.make(), *dry_run, response);
           } catch (const Interrupted&) {
             throw;
           } catch (const Error& error) {
             // A cloud that cannot be asked is no reason to leave this machine as it is.
             if (!place->empty()) throw;
             say(fmt::format("{}: {}", entry.doc, error.message()));
             response.exit_code = 1;
           }
         }
         // What is on this machine beside clusters: half-made layers and downloads.
         if (place->empty()) collect_from_store(*dry_run, response);
         if (response.text.empty()) response.text = "nothing is left behind\n";
         return response;
       };
     }}};

}  // namespace
}  // namespace kiln::cli
