// kiln module test: the modules' own test.sh on a running cluster.
#include <unistd.h>

#include <algorithm>

#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/exec.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string cluster;
  std::vector<std::string> modules;
};

// Those of the cluster that have a test.sh, in their order; or the named ones.
std::vector<std::string> modules_to_test(cluster::Session& session, const std::string& node, const std::vector<std::string>& wanted) {
  cluster::ExecRequest look;
  look.argv = {"sh", "-c", "for file in /usr/lib/kiln/modules/*/test.sh; do [ ! -e \"$file\" ] || echo \"$file\"; done"};
  std::string found;
  cluster::exec_on_node(session, node, look, -1, [&](char type, std::string_view bytes) {
    if (type == 'O') found += bytes;
  });
  std::vector<std::string> names, testable;
  for (const auto& module : session.modules()) {
    names.push_back(module.manifest.name);
    if (found.find("/" + module.manifest.name + "/test.sh\n") != std::string::npos) testable.push_back(module.manifest.name);
  }
  for (const auto& name : wanted) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      UsageError error(fmt::format("cluster '{}' has no module '{}'", session.cluster().name, name));
      const auto near = nearest(name, names);
      error.set_hint(near ? fmt::format("did you mean '{}'?", *near) : "it has: " + join(names, ", "));
      throw error;
    }
    if (std::find(testable.begin(), testable.end(), name) == testable.end()) fail_usage("module '{}' has no test.sh", name);
  }
  return wanted.empty() ? testable : wanted;
}

Response run(const Options& options) {
  auto session = cluster::Session::open_running(options.cluster);
  const std::string node = session.masters().at(0);
  Response response;
  response.json = {{"cluster", options.cluster}, {"modules", Json::array()}};
  std::vector<std::vector<std::string>> rows;
  for (const auto& name : modules_to_test(session, node, options.modules)) {
    const double started = now_in_seconds();
    Activity activity("test of module " + name);
    auto channel = session.request({{"do", "script"}, {"module", name}, {"script", "test.sh"}});
    channel.send('C', {});
    std::string said;
    const int code = cluster::pump(channel, -1, false, [&](char, std::string_view bytes) { said += bytes; });
    const double seconds = now_in_seconds() - started;
    if (code == 0) {
      activity.finish();
    } else {
      activity.fail(fmt::format("exit code {}", code));
      response.exit_code = static_cast<int>(ExitCode::kFailed);
    }
    response.json["modules"].push_back({{"module", name}, {"ok", code == 0}, {"exit_code", code}, {"seconds", seconds}, {"output", said}});
    rows.push_back({name, code == 0 ? "passed" : fmt::format("FAILED ({})", code), fmt::format("{:.1f} s", seconds)});
    // What a failed test said is what people need; a passed one's last line is enough.
    const std::string_view text = trim(said);
    if (code != 0) response.text += fmt::format("{} said:\n{}\n", name, text);
    rows.back().emplace_back(code == 0 ? text.substr(text.rfind('\n') == std::string_view::npos ? 0 : text.rfind('\n') + 1) : "");
  }
  response.text += rows.empty() ? "no module of this cluster has a test.sh\n" : format_table({"module", "test", "time", ""}, rows);
  return response;
}

const RegisterCommand command{
    {.name = "module test",
     .group = "Modules",
     .summary = "check the modules of a running cluster by their own tests",
     .description = "Runs each module's test.sh on the first master. Exit code 1 when one of them fails, with what it said.",
     .examples = {{"kiln module test demo", "every module that has a test"}, {"kiln module test demo spark", "this one"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("NAME", options->cluster, "the cluster")->required();
       app.add_option("MODULE", options->modules, "these modules (default: all that have a test)");
       return [options] { return run(*options); };
     }}};

}  // namespace
}  // namespace kiln::cli
