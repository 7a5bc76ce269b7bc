#include "cluster/submit.h"

#include <algorithm>
#include <array>

#include "base/activity.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/strings.h"

namespace kiln::cluster {

namespace {

// Options of spark-submit whose value is a comma-separated list of files, or one file.
constexpr std::array kFileOptions = {"--py-files", "--files", "--jars", "--archives", "--properties-file"};
constexpr std::array kListOptions = {"--py-files", "--files", "--jars", "--archives"};

bool is_url(const std::string& text) {
  const auto colon = text.find(':');
  return colon != std::string::npos && colon > 1 && text.find('/') != 0 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+.-") == colon;
}

// Decides what is uploaded under which name: two files of the same name would overwrite each other.
class Carrier {
 public:
  Carrier(SubmitPlan& plan, std::string folder) : plan_(plan), folder_(std::move(folder)) {}

  // The path on the node of a path here.
  std::string carry(const fs::path& path) {
    const fs::path absolute = fs::canonical(path);
    for (const auto& known : plan_.uploads) {
      if (known == absolute) return on_node(absolute);
      if (known.filename() == absolute.filename()) {
        fail_usage("'{}' and '{}' have the same name and would overwrite each other on the node", known.native(), absolute.native());
      }
    }
    plan_.uploads.push_back(absolute);
    return on_node(absolute);
  }

  // One entry of --py-files, --jars …: a path here, maybe with #alias; what is not here is left as it is.
  std::string carry_entry(const std::string& entry, bool python) {
    const auto hash = entry.find('#');
    const std::string path = entry.substr(0, hash), alias = hash == std::string::npos ? "" : entry.substr(hash);
    if (is_url(path) || path.empty()) return entry;
    if (!fs::exists(path)) fail_usage("cannot carry '{}' to the cluster: No such file or directory", path);
    std::string remote = carry(path);
    if (python && fs::is_directory(path)) {
      plan_.zips.push_back(fs::canonical(path));
      remote += ".zip";
    }
    return remote + alias;
  }

 private:
  std::string on_node(const fs::path& absolute) const { return folder_ + "/" + absolute.filename().native(); }
  SubmitPlan& plan_;
  std::string folder_;
};

std::string translate_values(Carrier& carrier, const std::string& option, const std::string& value) {
  const bool list = std::find(kListOptions.begin(), kListOptions.end(), option) != kListOptions.end();
  if (!list) return carrier.carry_entry(value, false);
  std::vector<std::string> entries = split(value, ',');
  for (auto& entry : entries) entry = carrier.carry_entry(std::string(trim(entry)), option == "--py-files");
  return join(entries, ",");
}

}  // namespace

SubmitPlan plan_submit(const SubmitRequest& request, const std::string& folder) {
  SubmitPlan plan;
  plan.directory = folder;
  Carrier carrier(plan, folder);

  for (std::size_t i = 0; i < request.spark_options.size(); ++i) {
    const std::string& option = request.spark_options[i];
    const auto equals = option.find('=');
    const std::string name = option.substr(0, equals);
    plan.argv.push_back(option);
    if (std::find(kFileOptions.begin(), kFileOptions.end(), name) == kFileOptions.end()) continue;
    if (equals != std::string::npos) {
      plan.argv.back() = name + "=" + translate_values(carrier, name, option.substr(equals + 1));
    } else if (i + 1 < request.spark_options.size()) {
      plan.argv.push_back(translate_values(carrier, name, request.spark_options[++i]));
    } else {
      fail_usage("{} needs a value", name);
    }
  }

  std::string app = request.app;
  if (!is_url(app)) {
    if (!fs::exists(app)) {
      UsageError error(fmt::format("cannot submit '{}': No such file or directory", app));
      error.set_hint(fmt::format("for a file that is on the nodes write local:{}{}", app.starts_with("/") ? "" : "/", app));
      throw error;
    }
    const std::string remote = carrier.carry(app);
    if (fs::is_directory(app)) {
      plan.directory = remote;
      const char* entry = fs::exists(fs::path(app) / "__main__.py") ? "__main__.py" : "main.py";
      if (!fs::exists(fs::path(app) / entry)) {
        UsageError error(fmt::format("cannot submit the folder '{}': it has no __main__.py and no main.py", app));
        error.set_hint("submit the file itself, and carry the folder with --carry");
        throw error;
      }
      app = remote + "/" + entry;
    } else {
      app = remote;
    }
  }
  for (const auto& path : request.carry) {
    if (!fs::exists(path)) fail_usage("cannot carry '{}' to the cluster: No such file or directory", path);
    carrier.carry(path);
  }
  plan.argv.push_back(app);
  plan.argv.insert(plan.argv.end(), request.args.begin(), request.args.end());
  return plan;
}

config::NodeCommand find_command(const Session& session, const std::string& name) {
  std::vector<std::string> known;
  for (const auto& module : session.modules()) {
    for (const auto& [command_name, command] : module.manifest.commands) {
      known.push_back(command_name);
      if (command_name != name) continue;
      config::NodeCommand expanded = command;
      config::Values values = module.params;
      values["module_dir"] = "/usr/lib/kiln/modules/" + module.manifest.name;
      expanded.exec = config::expand(command.exec, values);
      return expanded;
    }
  }
  UsageError error(fmt::format("no module of cluster '{}' brings the command '{}'", session.cluster().name, name));
  if (const auto near = nearest(name, known)) {
    error.set_hint(fmt::format("did you mean '{}'?", *near));
  } else {
    error.set_hint(known.empty() ? "none of them brings any" : fmt::format("there are: {}", join(known, ", ")));
  }
  throw error;
}

int submit(Session& session, const SubmitRequest& request, const ExecOutput& output) {
  const config::NodeCommand command = find_command(session, "submit");
  const auto candidates = request.on_worker ? session.workers() : session.masters();
  if (candidates.empty()) fail("cluster '{}' has no worker for the driver", session.cluster().name);
  const std::string node = candidates.front();
  // A folder of the job's own, removed with it.
  const std::string folder = "/var/lib/kiln/submit/" + random_hex(8);
  const SubmitPlan plan = plan_submit(request, folder);

  ExecRequest as_root;
  as_root.argv = {"sh", "-c", "install -d -m 755 \"${1%/*}\" && install -d -m 700 -o \"$2\" \"$1\"", "prepare", folder, command.user};
  const auto ignore = [](char, std::string_view) {};
  if (exec_on_node(session, node, as_root, -1, ignore) != 0) fail("cannot make the folder {} on {}", folder, node);
  const auto clean_up = [&] {
    const Undisturbed undisturbed;
    as_root.argv = {"rm", "-rf", folder};
    try {
      exec_on_node(session, node, as_root, -1, ignore);
    } catch (const Error&) {
      // The node is gone, and the folder with it.
    }
  };

  try {
    upload(session, node, plan.uploads, folder, command.user);
    ExecRequest run;
    run.user = command.user;
    run.directory = plan.directory;
    run.env = request.env;
    if (request.quick) run.env["KILN_QUICK"] = "1";
    std::string script;
    for (const auto& zip : plan.zips) {
      // Python imports from a .zip as from a folder; its entries are named as the folder's content is.
      const std::string path = shell_quote(folder + "/" + zip.filename().native());
      script += fmt::format("python3 -m zipfile -c {0}.zip {0}/* && ", path);
    }
    script += "exec " + command.exec + " \"$@\"";
    run.argv = {"sh", "-c", script, "submit"};
    run.argv.insert(run.argv.end(), plan.argv.begin(), plan.argv.end());
    const int code = exec_on_node(session, node, run, -1, output);
    clean_up();
    return code;
  } catch (...) {
    clean_up();
    throw;
  }
}

}  // namespace kiln::cluster
