// kiln gc: what crashes and kills left behind.
#include "bake/store.h"
#include "base/files.h"
#include "cli/command.h"
#include "provider/provider.h"

namespace kiln::cli {
namespace {

const RegisterCommand command{
    {.name = "gc",
     .group = "Upkeep",
     .summary = "remove what interrupted work left behind",
     .description =
         "Half-made clusters, machines without a cluster, unfinished layers and downloads. Finished images and their layers stay\n"
         "(`kiln image gc` removes those that nothing uses). Safe at any time, also while others bake and launch.",
     .examples = {{"kiln gc --dry-run", "only says what would go"}},
     .define = [](CLI::App& app) {
       auto dry_run = std::make_shared<bool>(false);
       app.add_flag("--dry-run", *dry_run, "only say what would be removed");
       return [dry_run] {
         Response response;
         response.json = Json::array();
         for (const auto& entry : provider::providers()) {
           for (const auto& leftover : entry.make()->collect_garbage(*dry_run)) {
             response.json.push_back({{"what", leftover.what}, {"removed", leftover.removed}});
             response.text += fmt::format("{}{}\n", leftover.what, leftover.removed ? ": removed" : *dry_run ? "" : ": cannot be removed");
           }
         }
         for (const auto& garbage : bake::Store().collect_interrupted(*dry_run)) {
           response.json.push_back({{"what", garbage.what}, {"size_bytes", garbage.size_bytes}, {"removed", !*dry_run}});
           response.text += fmt::format("{} ({}){}\n", garbage.what, human_size(static_cast<std::uintmax_t>(garbage.size_bytes)),
                                        *dry_run ? "" : ": removed");
         }
         if (response.text.empty()) response.text = "nothing is left behind\n";
         return response;
       };
     }}};

}  // namespace
}  // namespace kiln::cli
