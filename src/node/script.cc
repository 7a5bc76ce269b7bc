#include "node/script.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/strings.h"

namespace kiln::node {

namespace {

std::string stage_of(const std::string& script) {
  if (script == "init.sh") return "deploy";
  return script.ends_with(".sh") ? script.substr(0, script.size() - 3) : script;
}

std::string first_line_of(const fs::path& path) {
  const std::string text = read_file(path);
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::vector<std::string> script_command(const std::string& first_line, const std::string& path, bool strict) {
  if (first_line.starts_with("#!")) {
    const auto line = trim(std::string_view(first_line).substr(2));
    const auto blank = line.find_first_of(" \t");
    const std::string interpreter(line.substr(0, blank));
    // As the kernel does it: all that follows is one argument.
    if (!interpreter.empty() && (interpreter != "/bin/sh" || !strict)) {
      if (blank == std::string_view::npos) return {interpreter, path};
      return {interpreter, std::string(trim(line.substr(blank))), path};
    }
  }
  return {"/bin/sh", "-eu", path};
}

bool has_script(const PlannedModule& module, const std::string& script) { return ::access((module.folder / script).c_str(), F_OK) == 0; }

SpawnRequest script_request(const PlannedModule& module, const std::string& script, const Environment& node_env, const Paths& paths) {
  if (script.empty() || script[0] == '.' || script.find('/') != std::string::npos) fail("'{}' is no script's name", script);
  const auto path = module.folder / script;
  if (!has_script(module, script)) fail("module '{}' has no '{}'", module.manifest.name, script);
  SpawnRequest request;
  request.argv = script_command(first_line_of(path), path.native());
  request.env = login_environment(request.user);
  for (const auto& [name, value] : node_env) request.env[name] = value;
  for (const auto& [name, value] : module_environment(module, paths, stage_of(script))) request.env[name] = value;
  request.directory = module.folder.native();
  return request;
}

ScriptRun::ScriptRun(Context context, std::string script, std::function<void(const std::string&, const std::string&)> on_module,
                     std::function<void()> on_end)
    : context_(std::move(context)),
      script_(std::move(script)),
      stage_(stage_of(script_)),
      on_module_(std::move(on_module)),
      on_end_(std::move(on_end)) {}

void ScriptRun::advance() {
  // finish() of a module without the script calls us again: only the outermost round starts things, until nothing changes.
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& module : context_.plan.modules) {
      const auto& name = module.manifest.name;
      if (started_.count(name) != 0) continue;
      const auto failed =
          std::find_if(module.after.begin(), module.after.end(), [&](const auto& other) { return failed_.count(other) != 0; });
      if (failed != module.after.end()) {
        started_.insert(name);
        finish(name, fmt::format("{} of module '{}', which it needs, failed", script_, *failed));
        changed = true;
      } else if (std::all_of(module.after.begin(), module.after.end(), [&](const auto& other) { return done_.count(other) != 0; })) {
        started_.insert(name);
        if (has_script(module, script_)) {
          launch(module);
        } else {
          finish(name, "");
        }
        changed = true;
      }
    }
  }
  if (!ended_ && done_.size() == context_.plan.modules.size()) {
    ended_ = true;
    if (on_end_) on_end_();
  }
}

void ScriptRun::launch(const PlannedModule& module) {
  const auto name = module.manifest.name;
  const auto log_name = name + "." + stage_;
  const auto log = std::make_shared<LogFile>(context_.paths.logs() / (log_name + ".log"));
  logs_[log_name] = log;
  const auto activity = context_.events.begin(stage_ + " " + name);
  try {
    auto request = script_request(module, script_, context_.env, context_.paths);
    if (stage_ == "setup" && !context_.secret.empty()) {
      const auto secret = context_.paths.secrets() / name;
      // hmac_sha256_hex(cluster secret, "module:" NAME): no module learns another's, nor the cluster's.
      // A line of text, so that a shell's `read` takes it.
      write_file_atomically(secret, hmac_sha256_hex(context_.secret, "module:" + name) + "\n", 0600);
      request.env["KILN_SECRET_FILE"] = secret.native();
    }
    Pipe output = make_pipe();
    request.standard_output = request.standard_error = output.write.get();
    const pid_t pid = spawn(request);
    pump_pipe(context_.loop, std::move(output.read), [log](std::string_view bytes) {
      if (!bytes.empty()) log->write(bytes);
    });
    context_.loop.on_exit(pid, false, [this, name, activity, log](int status) {
      if (exit_code_of(status) == 0) {
        context_.events.end(activity, stage_ + " " + name, true);
        finish(name, "");
        advance();
        return;
      }
      // The last words may still be in the pipe, which is read in the loop's next rounds.
      context_.loop.after(std::chrono::milliseconds(10), [this, name, activity, log, status] {
        const std::string why = fmt::format("{} of module '{}' failed: {}", script_, name, describe_status(status));
        const std::string tail = log->tail();
        context_.events.end(activity, stage_ + " " + name, false, tail.empty() ? why : why + "\n" + tail,
                            {{"exit_code", exit_code_of(status)}});
        finish(name, why);
        advance();
      });
    });
  } catch (const std::exception& error) {
    context_.events.end(activity, stage_ + " " + name, false, error.what());
    finish(name, error.what());
  }
}

void ScriptRun::finish(const std::string& module, const std::string& why) {
  done_.insert(module);
  if (!why.empty()) failed_.insert(module);
  on_module_(module, why);
}

}  // namespace kiln::node
