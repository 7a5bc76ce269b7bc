// kiln ui: the web pages of a cluster.
#include "base/process.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/ui.h"

namespace kiln::cli {
namespace {

const RegisterCommand command{
    {.name = "ui",
     .group = "Work",
     .summary = "show where a cluster's web pages are",
     .description =
         "Makes the pages reachable from this machine (only from it) and prints their addresses, which hold until the cluster ends.\n"
         "Workers and running applications are reached through the Spark master's page.",
     .examples = {{"kiln ui demo", "prints the addresses"}, {"kiln ui demo --open", "opens the first in a browser"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto open = std::make_shared<bool>(false);
       app.add_option("NAME", *name, "the cluster")->required();
       app.add_flag("--open", *open, "open the first page in the desktop's browser");
       return [name, open] {
         auto session = cluster::Session::open_running(*name);
         Response response;
         response.json = Json::array();
         std::vector<std::vector<std::string>> rows;
         for (const auto& page : cluster::open_web_pages(session)) {
           response.json.push_back({{"title", page.title}, {"service", page.service}, {"node", page.node}, {"url", page.url}});
           rows.push_back({page.title, page.url});
         }
         response.text = rows.empty() ? "no service of this cluster has a web page\n" : format_table({"page", "address"}, rows);
         if (*open && !rows.empty()) run_checked({"xdg-open", rows[0][1]});
         return response;
       };
     }}};

}  // namespace
}  // namespace kiln::cli
