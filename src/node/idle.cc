#include "node/idle.h"

#include <signal.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "node/log_file.h"
#include "node/script.h"

namespace kiln::node {

namespace {

constexpr const char* kScript = "busy.sh";
// A service that is asked answers in milliseconds, one on a machine that swaps in seconds.
constexpr std::chrono::milliseconds kAnswerTime{20000};
constexpr std::size_t kMostWords = 200;

std::string first_line_of(const std::string& text) {
  const std::string_view line = trim(std::string_view(text).substr(0, text.find('\n')));
  return std::string(line.substr(0, kMostWords));
}

// "(name) S 12 …" behind the process's number: proc(5), /proc/pid/stat. A name may hold anything, brackets too.
struct ProcessLine {
  std::string name, parent;
};
std::optional<ProcessLine> read_process(const std::filesystem::path& folder) {
  const auto text = read_file_if_there(folder / "stat");
  if (!text) return {};
  const auto open = text->find('('), close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  const auto words = split(text->substr(close + 1), ' ');  // "", state, parent …
  if (words.size() < 3) return {};
  return ProcessLine{text->substr(open + 1, close - open - 1), words[2]};
}

}  // namespace

std::optional<std::string> ssh_session(const std::filesystem::path& proc) {
  std::map<std::string, ProcessLine> processes;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(proc, code)) {
    const std::string id = entry.path().filename();
    if (id.find_first_not_of("0123456789") != std::string::npos) continue;
    if (const auto line = read_process(entry.path())) processes[id] = *line;
  }
  // A connection that only carries others' (kiln's own way to the agents) has servers, but no child that is something else.
  for (const auto& [id, line] : processes) {
    const auto parent = processes.find(line.parent);
    if (parent != processes.end() && parent->second.name.starts_with("sshd") && !line.name.starts_with("sshd")) return line.name;
  }
  return {};
}

std::chrono::milliseconds IdleWatch::pause_for(std::chrono::milliseconds limit) {
  return std::clamp<std::chrono::milliseconds>(limit / 10, std::chrono::seconds(1), std::chrono::minutes(1));
}

IdleWatch::IdleWatch(Context context, std::chrono::milliseconds limit, Hooks hooks, std::chrono::milliseconds pause)
    : context_(std::move(context)),
      limit_(limit),
      pause_(pause.count() == 0 ? pause_for(limit) : pause),
      hooks_(std::move(hooks)),
      last_look_(now_in_seconds()),
      this_look_(last_look_) {}

IdleWatch::~IdleWatch() { context_.loop.cancel(timer_); }

void IdleWatch::start() {
  timer_ = context_.loop.after(pause_, [this] { look(); });
}

void IdleWatch::began() {
  began_ = true;
  heard();
}

void IdleWatch::look() {
  timer_ = 0;
  this_look_ = now_in_seconds();
  found_ = hooks_.own_work();
  if (found_.empty() && std::exchange(began_, false)) found_ = "a session";
  if (found_.empty()) {
    if (const auto session = ssh_session(context_.paths.root / "proc")) found_ = fmt::format("{} by SSH", *session);
  }
  open_questions_ = 1;  // until all are asked
  if (found_.empty()) {
    for (const auto& module : context_.plan.modules)
      if (has_script(module, kScript)) ask(module);
  }
  if (--open_questions_ == 0) conclude();
}

struct IdleWatch::Question {
  std::string module, said;
  std::optional<int> status;
  bool all_read = false;
  Loop::TimerId timer = 0;
};

void IdleWatch::ask(const PlannedModule& module) {
  const auto question = std::make_shared<Question>();
  question->module = module.manifest.name;
  ++open_questions_;
  const auto step = [this, question, alive = std::weak_ptr<int>(alive_)] {
    if (!question->status || !question->all_read || alive.expired()) return;
    context_.loop.cancel(question->timer);
    const int code = exit_code_of(*question->status);
    auto& told = failures_[question->module];
    if (code == 0) {
      told.clear();
      return answered(question->module, first_line_of(question->said));
    }
    // Who cannot say may be at work.
    const std::string why = fmt::format("busy.sh of module '{}' failed: {}: {}", question->module, describe_status(*question->status),
                                        first_line_of(question->said));
    if (std::exchange(told, why) != why) context_.events.message("idle", why, false);
    answered(question->module, why);
  };
  try {
    auto request = script_request(module, kScript, context_.env, context_.paths);
    request.env["KILN_BUSY_SINCE"] = fmt::format("{:.3f}", last_look_);
    Pipe output = make_pipe();
    request.standard_output = request.standard_error = output.write.get();
    const pid_t pid = spawn(request);
    pump_pipe(context_.loop, std::move(output.read), [question, step](std::string_view bytes) {
      if (question->said.size() < 4096) question->said += bytes;
      if (!bytes.empty()) return;
      question->all_read = true;
      step();
    });
    context_.loop.on_exit(pid, true, [question, step](int status) {
      question->status = status;
      step();
    });
    question->timer = context_.loop.after(kAnswerTime, [question, pid] {
      if (!question->status) ::kill(-pid, SIGKILL);
    });
  } catch (const std::exception& error) {
    answered(question->module, error.what());
  }
}

void IdleWatch::answered(const std::string& module, const std::string& what) {
  if (found_.empty() && !what.empty()) found_ = fmt::format("{}: {}", module, what);
  if (--open_questions_ == 0) conclude();
}

void IdleWatch::conclude() {
  last_look_ = this_look_;
  timer_ = context_.loop.after(pause_, [this] { look(); });
  const bool busy = !found_.empty();
  // What ended between the last look and this one ended just now, for all that is known.
  if (std::exchange(was_busy_, busy) || busy) {
    heard();
    hooks_.tell(busy ? found_ : "it has just ended");
  }
  const auto patience = hooks_.patience();
  if (!patience) return heard();
  // Sessions begin at any time.
  if (ended_ || Clock::now() - last_ < limit_ + *patience || !hooks_.own_work().empty()) return;
  ended_ = true;
  hooks_.end();
}

}  // namespace kiln::node
