// kiln ui: the web pages of a cluster.
#include "base/process.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/ui.h"

namespace kiln::cli {
namespace {

// The pages by the nodes' own names, which a browser that goes through the proxy has looked up there.
Response with_proxy(const std::string& name, int port) {
  if (port < 0 || port > 65535) fail_usage("--socks {}: a port is 1 to 65535", port);
  auto session = cluster::Session::open_running(name);
  const std::string proxy = session.provider().socks_proxy(name, port);
  if (proxy.empty()) {
    Error error(fmt::format("cluster '{}' needs no SOCKS proxy: its nodes are on this machine, and have no SSH", name));
    error.set_hint(fmt::format("`kiln ui {}` makes its pages reachable, those of workers and applications through the master's", name));
    throw error;
  }
  Response response;
  response.json = {{"proxy", proxy}, {"pages", Json::array()}};
  std::vector<std::vector<std::string>> rows = {{"SOCKS5 proxy", proxy}};
  for (const auto& page : cluster::open_web_pages(session, true)) {
    response.json["pages"].push_back({{"title", page.title}, {"service", page.service}, {"node", page.node}, {"url", page.url}});
    rows.push_back({page.title, page.url});
  }
  response.text = format_table({"page", "address"}, rows);
  return response;
}

const RegisterCommand command{
    {.name = "ui",
     .group = "Work",
     .summary = "show where a cluster's web pages are",
     .description =
         "Makes the pages reachable from this machine (only from it) and prints their addresses, which hold until the cluster ends.\n"
         "Workers and running applications are reached through the Spark master's page.\n\n"
         "With --socks a SOCKS5 proxy is started instead, on clusters in a cloud: a browser that uses it for names too (SOCKS5h, \"proxy\n"
         "DNS\") sees every port of every node by the node's name, such as http://worker-1:8081.",
     .examples = {{"kiln ui demo", "prints the addresses"},
                  {"kiln ui demo --open", "opens the first in a browser"},
                  {"kiln ui demo --socks 1080", "a proxy; try curl --proxy socks5h://127.0.0.1:1080 http://worker-1:8081"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto open = std::make_shared<bool>(false);
       auto socks = std::make_shared<int>(0);
       app.add_option("NAME", *name, "the cluster")->required();
       app.add_flag("--open", *open, "open the first page in the desktop's browser");
       auto* wants_proxy = app.add_option("--socks", *socks, "start a SOCKS5 proxy here (at this port; default: a free one)");
       wants_proxy->type_name("[PORT]")->expected(0, 1);
       return [name, open, socks, wants_proxy] {
         if (wants_proxy->count() > 0) {
           if (*open) fail_usage("--open and --socks exclude each other");
           return with_proxy(*name, *socks);
         }
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
