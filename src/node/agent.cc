#include "node/agent.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "node/hosts.h"

namespace kiln::node {

config::NodeDocument read_document(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  return with_context("reading the node document '" + file.native() + "'", [&] { return config::parse_node_document(text); });
}

Agent::Agent(Loop& loop, Paths paths, config::NodeDocument document)
    : loop_(loop), paths_(std::move(paths)), document_(std::move(document)), boot_(random_hex(8)), events_(document_.node) {
  // The list of nodes is what hosts files and look-ups are made from: this one belongs to it.
  const bool known =
      std::any_of(document_.nodes.begin(), document_.nodes.end(), [&](const auto& node) { return node.name == document_.node; });
  if (!known) document_.nodes.push_back({document_.node, document_.role, document_.address});
}

void Agent::start() {
  // Orphans of services come to us, be we the first process or not.
  if (::getpid() != 1) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  // A thousand nodes are a thousand connections; 65,536 is what services (Spark, HDFS) ask for too.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 65536);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  loop_.on_stop_signal([this](int) {
    if (++stop_signals_ == 1) return stop_own({}, [this] { end(); });
    // Asked twice: at once.
    for (const auto& service : supervisor_->services())
      if (const auto pid = service->status()["pid"].get<pid_t>(); pid > 0) ::kill(-pid, SIGKILL);
    loop_.quit(0);
  });
  events_.log().listen([this] { print_events(); });
  activity_ = events_.begin("node " + document_.node, {{"role", document_.role}});
  prepare_folders();

  server_ = std::make_unique<Server>(loop_, document_.secret, [this](auto connection, const Json& request) { serve(connection, request); });
  server_->listen(document_.address, document_.channel_port);
  // Several agents on one machine's loopback would quarrel about 127.0.0.1.
  if (!document_.address.starts_with("127.") && document_.address != "0.0.0.0") server_->listen("127.0.0.1", document_.channel_port);

  plan();
  make_supervisor();
  make_master();
  make_reporters();
  write_hosts(paths_, document_.nodes);
  write_hostname(paths_, document_.node);
  start_setup();
  watch_lease();
  changed();
}

void Agent::prepare_folders() {
  make_folder(paths_.run());
  make_folder(paths_.gates());
  make_folder(paths_.secrets(), 0700);
  make_folder(paths_.logs());
  make_folder(paths_.state());
}

void Agent::plan() {
  facts_ = read_image_facts(paths_);
  env_ = node_environment(document_, facts_);
  try {
    plan_ = make_plan(document_, read_manifests(document_, paths_), paths_.modules(), facts_);
  } catch (const Error& error) {
    // The agent lives on with nothing to run: whoever launches shall hear why from it.
    setup_failure_ = error.what();
  }
  for (const auto& module : plan_.modules) {
    // Modules' daemons write there as users of their own.
    const auto folder = paths_.logs() / module.manifest.name;
    make_folder(folder);
    ::chmod(folder.c_str(), 01777);
  }
}

void Agent::make_supervisor() {
  ServiceContext context{
      loop_, events_, paths_, env_, [this](const std::string& host) { return address_of(host, document_.nodes); }, document_.address, {}};
  supervisor_ = std::make_unique<Supervisor>(plan_, std::move(context), [this] { changed(); });
}

void Agent::make_master() {
  if (document_.role != "master") return;
  master_ = std::make_unique<Master>(loop_, document_, plan_, events_,
                                     Master::Hooks{[this] { loop_.defer([this] { run_applications(); }); },
                                                   [this](const std::set<std::string>& ready) { take_ready(document_.node, ready); },
                                                   [this](const std::vector<config::NodeEntry>& nodes) { take_roster(nodes); },
                                                   [this](auto at_most, auto done) { stop_own(at_most, std::move(done)); }});
}

void Agent::make_reporters() {
  for (const auto& node : document_.nodes) {
    if (node.role != "master" || node.name == document_.node || node.address.empty()) continue;
    const bool there =
        std::any_of(reporters_.begin(), reporters_.end(), [&](const auto& reporter) { return reporter->master() == node.name; });
    if (there) continue;
    const std::string name = node.name;
    reporters_.push_back(std::make_unique<Reporter>(
        loop_, document_, boot_, node, events_,
        Reporter::Hooks{[this] { return supervisor_->status(); },
                        [this, name](std::set<std::string> ready) { take_ready(name, std::move(ready)); },
                        // Of several masters the first to speak decides; they tell each other, so that they agree soon.
                        [this](const std::vector<config::NodeEntry>& nodes) {
                          if (!master_) take_roster(nodes);
                        },
                        [this](auto at_most, bool end_too, auto done) {
                          stop_own(at_most, [this, end_too, done] {
                            done();
                            if (end_too) end();
                          });
                        }}));
    reporters_.back()->start();
  }
}

void Agent::start_setup() {
  if (!setup_failure_.empty()) {
    tell_node_is_done(false, setup_failure_);
    return;
  }
  setup_ = std::make_unique<ScriptRun>(
      ScriptRun::Context{loop_, events_, paths_, plan_, env_, document_.secret}, "setup.sh",
      [this](const std::string& module, const std::string& why) {
        if (why.empty()) {
          supervisor_->module_ready(module);
          return;
        }
        if (setup_failure_.empty()) setup_failure_ = why;
        supervisor_->module_failed(module, why);
      },
      [this] {
        setup_ended_ = true;
        changed();
      });
  setup_->start();
}

void Agent::changed() {
  if (!supervisor_->stopping() && !node_is_done_) {
    if (!setup_failure_.empty()) {
      tell_node_is_done(false, setup_failure_);
    } else if (const auto failed = supervisor_->first_failed()) {
      tell_node_is_done(false, "service " + *failed + " failed");
    } else if (setup_ended_ && supervisor_->all_satisfied()) {
      tell_node_is_done(true);
    }
  }
  if (master_) master_->set_own_services(supervisor_->status());
  for (const auto& reporter : reporters_) reporter->services_changed();
}

void Agent::tell_node_is_done(bool ok, const std::string& why) {
  if (std::exchange(node_is_done_, true)) return;
  events_.end(activity_, "node " + document_.node, ok, why);
}

void Agent::run_applications() {
  if (applications_ || !setup_ended_ || !node_is_done_ || supervisor_->stopping()) return;
  if (!master_->is_first_master() || !master_->everything_is_ready()) return;
  if (std::none_of(plan_.modules.begin(), plan_.modules.end(), [](const auto& module) { return has_script(module, "run.sh"); })) return;
  // Once in the cluster's life: a machine that was stopped and started has run them.
  const auto marker = paths_.state() / "applications-ran";
  const bool ran = read_file_if_there(marker).has_value();
  applications_ = std::make_unique<ScriptRun>(
      ScriptRun::Context{loop_, events_, paths_, plan_, env_, document_.secret}, "run.sh", [](const std::string&, const std::string&) {},
      [] {});
  if (ran) return;
  write_file_atomically(marker, document_.cluster + "\n");
  applications_->start();
}

void Agent::take_ready(const std::string& master, std::set<std::string> ready) {
  ready_by_master_[master] = std::move(ready);
  std::set<std::string> all;
  for (const auto& [name, names] : ready_by_master_) all.insert(names.begin(), names.end());
  supervisor_->set_cluster_ready(std::move(all));
}

void Agent::take_roster(const std::vector<config::NodeEntry>& nodes) {
  if (nodes == document_.nodes) return;
  document_.nodes = nodes;
  write_hosts(paths_, document_.nodes);
  for (const auto& reporter : reporters_)
    if (const auto address = address_of(reporter->master(), document_.nodes)) reporter->set_master_address(*address);
  // Not now: a reporter may be what called us.
  loop_.defer([this] { make_reporters(); });
}

void Agent::stop_own(std::optional<std::chrono::milliseconds> at_most, std::function<void()> done) {
  supervisor_->stop_all(at_most, [this, done = std::move(done)] {
    changed();
    done();
  });
}

void Agent::end() {
  // What was told last leaves with the sockets' buffers.
  loop_.defer([this] { loop_.quit(0); });
}

void Agent::watch_lease() {
  if (!document_.lease_until) return;
  const double left = static_cast<double>(*document_.lease_until) - now_in_seconds();
  // The first master ends the cluster. Nodes whose master is gone end by themselves a minute later.
  const bool leads = master_ && master_->is_first_master();
  const double wait = left + (leads ? 0 : 60);
  if (wait > 0) {
    // Each minute anew: the wall clock may be set, and a suspended machine's timers stand still.
    loop_.after(std::chrono::milliseconds(static_cast<std::int64_t>(std::min(wait, 60.0) * 1000) + 1), [this] { watch_lease(); });
    return;
  }
  if (std::exchange(lease_ended_, true)) return;
  events_.message("lease", "the cluster's time is over: stopping it");
  if (leads) {
    master_->stop_cluster({}, true, [this] { end(); });
  } else {
    stop_own({}, [this] { end(); });
  }
}

void Agent::print_events() {
  // For whoever reads the container's or the journal's output.
  while (printed_ + 1 < events_.log().next_number()) {
    const auto* entry = events_.log().find(++printed_);
    if (entry == nullptr) continue;
    const Event event = Event::from_json(Json::parse(*entry));
    const char* word = event.kind == Event::Kind::kBegin ? "begins" : event.kind != Event::Kind::kEnd ? "" : event.ok ? "done" : "failed";
    fmt::print(stderr, "kiln-node: {}{}{}{}{}\n", event.name, *word != '\0' ? " " : "", word, event.text.empty() ? "" : ": ", event.text);
  }
}

}  // namespace kiln::node
