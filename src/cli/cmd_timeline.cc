// kiln timeline: what the last launch did when.
#include <ctime>

#include "base/files.h"
#include "cli/command.h"
#include "cluster/history.h"
#include "cluster/session.h"
#include "cluster/timeline.h"

namespace kiln::cli {
namespace {

std::string utc(double time) {
  const std::time_t seconds = static_cast<std::time_t>(time);
  std::tm moment{};
  ::gmtime_r(&seconds, &moment);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &moment);
  return text;
}

// What has happened since; nothing where nobody can be asked.
void add_messages(cluster::Session& session, const cluster::Timeline& timeline, Response& response) {
  response.json["since"] = Json::array();
  try {
    std::string lines;
    for (const auto& event : cluster::messages_since(session, timeline.started + timeline.total_seconds)) {
      response.json["since"].push_back(event.to_json());
      lines += fmt::format("{} {}: {}{}\n", utc(event.time), event.node, event.name, event.text.empty() ? "" : ": " + event.text);
    }
    if (!lines.empty()) response.text += "\nsince then (UTC):\n" + lines;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    say(fmt::format("what has happened since is not known: {}", error.message()));
  }
}

const RegisterCommand command{
    {.name = "timeline",
     .group = "Clusters",
     .summary = "show what the last launch or start of a cluster did when, and what has happened since",
     .description =
         "Each step of each node with the time at which it had ended, the total last; with --html a page with a Gantt chart.\n"
         "Then, of a cluster that runs: nodes that were lost or came back, services that were started anew, notices from the cloud.",
     .examples = {{"kiln timeline demo", "as text"}, {"kiln timeline demo --html launch.html", "as a page"}},
     .define = [](CLI::App& app) {
       auto name = std::make_shared<std::string>();
       auto html = std::make_shared<std::string>();
       app.add_option("NAME", *name, "the cluster")->required();
       app.add_option("--html", *html, "write a self-contained page with a Gantt chart")->type_name("FILE");
       return [name, html] {
         auto session = cluster::Session::open(*name);
         const auto& notes = session.cluster().notes;
         if (!notes.contains("timeline")) fail("cluster '{}' has no timeline: its launch did not end", *name);
         const auto timeline = cluster::Timeline::from_json(notes.at("timeline"));
         if (html->empty()) {
           Response response{timeline.to_json(), timeline.to_text()};
           add_messages(session, timeline, response);
           return response;
         }
         write_file_atomically(*html, timeline.to_html());
         return Response{timeline.to_json(), fmt::format("wrote {}\n", *html)};
       };
     }}};

}  // namespace
}  // namespace kiln::cli
