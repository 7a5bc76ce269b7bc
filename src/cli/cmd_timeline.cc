// kiln timeline: what the last launch did when.
#include "base/files.h"
#include "cli/command.h"
#include "cluster/session.h"
#include "cluster/timeline.h"

namespace kiln::cli {
namespace {

const RegisterCommand command{
    {.name = "timeline",
     .group = "Clusters",
     .summary = "show what the last launch or start of a cluster did when",
     .description = "Each step of each node with the time at which it had ended, the total last; with --html a page with a Gantt chart.",
     .examples = {{"kiln timeline demo", "as text"}, {"kiln timeline demo --html launch.html", "as a page"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto html = std::make_shared<std::string>();
       app.add_option("NAME", *name, "the cluster")->required();
       app.add_option("--html", *html, "write a self-contained page with a Gantt chart")->type_name("FILE");
       return [name, html] {
         const auto session = cluster::Session::open(*name);
         const auto& notes = session.cluster().notes;
         if (!notes.contains("timeline")) fail("cluster '{}' has no timeline: its launch did not end", *name);
         const auto timeline = cluster::Timeline::from_json(notes.at("timeline"));
         if (html->empty()) return Response{timeline.to_json(), timeline.to_text()};
         write_file_atomically(*html, timeline.to_html());
         return Response{timeline.to_json(), fmt::format("wrote {}\n", *html)};
       };
     }}};

}  // namespace
}  // namespace kiln::cli
