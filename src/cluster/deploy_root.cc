#include "cluster/deploy_root.h"

#include <algorithm>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "cluster/exec.h"

namespace kiln::cluster {

namespace {

constexpr const char* kPlace = "/opt/kiln/deploy-root";
// In this order: scripts may use what packages bring.
constexpr const char* kModules[] = {"packages", "extra"};
// As many nodes at the same time as for other commands on many nodes.
constexpr std::size_t kAtATime = 32;

bool has_module(const Session& session, const std::string& name) {
  const auto modules = session.modules();
  return std::any_of(modules.begin(), modules.end(), [&](const auto& module) { return module.manifest.name == name; });
}

void run_script(Session& session, const std::string& node, const std::string& module, const std::string& script) {
  Activity activity(fmt::format("{} of {}", script, module), Json::object(), 0, node);
  auto channel =
      session.request({{"do", "script"}, {"node", node}, {"module", module}, {"script", script}, {"env", {{"KILN_DEPLOY_ROOT", kPlace}}}});
  channel.send('C', {});
  std::string said;
  const int code = pump(channel, -1, false, [&](char, std::string_view bytes) { said += bytes; });
  if (code == 0) return;
  const auto lines = split(trim(said), '\n');
  const std::vector<std::string> last(lines.size() > 20 ? lines.end() - 20 : lines.begin(), lines.end());
  fail("{} of module '{}' from the deploy root ended with exit code {} on {}:\n    {}", script, module, code, node, join(last, "\n    "));
}

void install(Session& session, const std::filesystem::path& folder, const std::vector<std::string>& nodes) {
  std::vector<fs::path> content;
  for (const auto& entry : fs::directory_iterator(folder)) content.push_back(entry.path());
  std::sort(content.begin(), content.end());
  {
    Activity copy("copy the deploy root");
    parallel_for(nodes.size(), kAtATime, [&](std::size_t index) { upload(session, nodes[index], content, kPlace, "root"); });
  }
  for (const char* module : kModules) {
    if (!has_module(session, module)) continue;
    for (const char* script : {"init.sh", "setup.sh"}) {
      parallel_for(nodes.size(), kAtATime, [&](std::size_t index) { run_script(session, nodes[index], module, script); });
    }
  }
}

}  // namespace

void apply_deploy_root(Session& session, const std::filesystem::path& folder) {
  if (!fs::is_directory(folder)) fail_usage("--deploy-root {}: No such folder", folder.native());
  std::vector<std::string> nodes;
  for (const auto& node : session.cluster().nodes) nodes.push_back(node.name);
  install(session, folder, nodes);
  if (has_module(session, "extra")) run_script(session, session.masters().front(), "extra", "run.sh");
}

void apply_deploy_root_to(Session& session, const std::vector<std::string>& nodes) {
  if (session.cluster().notes.at("spec").value("deploy_root", "").empty()) return;
  const TemporaryFolder copy;
  download(session, session.masters().front(), kPlace, copy.path());
  install(session, copy.path() / fs::path(kPlace).filename(), nodes);
}

}  // namespace kiln::cluster
