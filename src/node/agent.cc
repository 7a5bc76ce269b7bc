#include "node/agent.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "node/hosts.h"
#include "node/ssh_access.h"

namespace kiln::node {

namespace {
// Container engines kill what has not ended 10 s after SIGTERM: two that wait for each other have 4 s each.
constexpr std::chrono::milliseconds kStandaloneStop{4000};
constexpr const char* kLeaseFile = "lease.json";
// What is not up by then does not come up; the launch has long given up.
constexpr std::chrono::minutes kStartTime{20};
// Of the time that a spot notice leaves: for words that are on their way to the master.
constexpr std::chrono::seconds kLastSeconds{3};

std::string utc_time_of_day(std::int64_t time) {
  const std::time_t seconds = time;
  std::tm moment{};
  ::gmtime_r(&seconds, &moment);
  return fmt::format("{:02}:{:02}:{:02} UTC", moment.tm_hour, moment.tm_min, moment.tm_sec);
}
}  // namespace

Agent::Agent(Loop& loop, Paths paths, config::NodeDocument document, std::optional<Standalone> standalone)
    : loop_(loop),
      paths_(std::move(paths)),
      document_(std::move(document)),
      standalone_(std::move(standalone)),
      boot_(random_hex(8)),
      events_(document_.node) {
  // The list of nodes is what hosts files and look-ups are made from: this one belongs to it.
  const auto own =
      std::find_if(document_.nodes.begin(), document_.nodes.end(), [&](const auto& node) { return node.name == document_.node; });
  if (own == document_.nodes.end())
    document_.nodes.push_back({document_.node, document_.role, document_.address});
  else if (own->address.empty())
    own->address = document_.address;  // whoever wrote the document could not know it
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
  loop_.on_stop_signal([this](int) { take_stop_signal(); });
  events_.log().listen([this] { print_events(); });
  activity_ = events_.begin("node " + document_.node, {{"role", document_.role}});
  prepare_folders();
  if (document_.ssh) apply_ssh(paths_, *document_.ssh);

  if (!standalone_) listen();
  plan();
  make_supervisor();
  make_master();
  make_reporters();
  if (!standalone_) {
    write_hosts(paths_, document_.nodes);
    write_hostname(paths_, document_.node);
  }
  prepare();
  lease_ = load_lease(paths_.state() / kLeaseFile, {document_.lease_until, 0});
  if (master_ && lease_.version != 0) master_->set_lease(lease_);
  watch_lease();
  watch_idleness();
  changed();
}

void Agent::take_stop_signal() {
  if (++stop_signals_ == 1) {
    return stop_own(standalone_ ? std::optional(kStandaloneStop) : std::nullopt, [this] { end(); });
  }
  // Asked twice: at once.
  for (const auto& service : supervisor_->services())
    if (const auto pid = service->status()["pid"].get<pid_t>(); pid > 0) ::kill(-pid, SIGKILL);
  loop_.quit(0);
}

void Agent::listen() {
  server_ = std::make_unique<Server>(loop_, document_.secret, [this](auto connection, const Json& request) { serve(connection, request); });
  server_->listen(document_.address, document_.channel_port);
  // Several agents on one machine's loopback would quarrel about 127.0.0.1.
  if (!document_.address.starts_with("127.") && document_.address != "0.0.0.0") server_->listen("127.0.0.1", document_.channel_port);
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
  read_environment();
  try {
    plan_ =
        make_plan(document_, read_manifests(document_, paths_), paths_.modules(), facts_, standalone_ ? &standalone_->services : nullptr);
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

void Agent::read_environment() {
  env_ = node_environment(document_, facts_);
  if (standalone_) env_.insert(standalone_->environment.begin(), standalone_->environment.end());
}

void Agent::make_supervisor() {
  ServiceContext context{
      loop_, events_, paths_, env_, [this](const std::string& host) { return address_of(host, document_.nodes); }, document_.address,
      {},    {}};
  if (standalone_) context.on_output = [this](const std::string& service, std::string_view bytes) { output_.write(service, bytes); };
  supervisor_ = std::make_unique<Supervisor>(plan_, std::move(context), [this] { changed(); });
}

void Agent::make_master() {
  if (document_.role != "master") return;
  master_ = std::make_unique<Master>(loop_, document_, plan_, events_,
                                     Master::Hooks{[this] { loop_.defer([this] { run_applications(); }); },
                                                   [this](const std::set<std::string>& ready) { take_ready(document_.node, ready); },
                                                   [this](const std::vector<config::NodeEntry>& nodes) { take_roster(nodes); },
                                                   [this](const std::string& node) { drop_relays(node); },
                                                   [this] {
                                                     if (idle_) idle_->heard();
                                                   },
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
        Reporter::Hooks{[this] { return supervisor_->status(); }, [this] { return leaving_; },
                        [this, name](std::set<std::string> ready) { take_ready(name, std::move(ready)); },
                        // Of several masters the first to speak decides; they tell each other, so that they agree soon.
                        [this](const std::vector<config::NodeEntry>& nodes) {
                          if (!master_) take_roster(nodes);
                        },
                        [this](const Lease& lease) { take_lease(lease); },
                        [this](auto at_most, bool end_too, auto done) {
                          stop_own(at_most, [this, end_too, done] {
                            done();
                            if (!end_too) return;
                            is_over_ = true;  // a master says so only then
                            end();
                          });
                        }}));
    reporters_.back()->start();
  }
}

void Agent::prepare() {
  preparation_ = std::make_unique<Preparation>(loop_, events_, paths_, document_, env_);
  preparation_->start([this](const std::string& why) {
    if (setup_failure_.empty()) setup_failure_ = why;
    if (supervisor_->stopping()) return;
    start_setup();
  });
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
  if (master_) master_->set_own_services(supervisor_->status(), leaving_);
  for (const auto& reporter : reporters_) reporter->services_changed();
}

void Agent::tell_node_is_done(bool ok, const std::string& why) {
  if (std::exchange(node_is_done_, true)) return;
  events_.end(activity_, "node " + document_.node, ok, why);
  // Nobody is there who could mend it but the engine, which sees the exit code and may start the container again.
  if (!ok && standalone_) stop_own(kStandaloneStop, [this] { loop_.defer([this] { loop_.quit(1); }); });
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
  read_environment();  // of scripts and commands from now on: in a cloud a master's document does not name the workers
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

// Of several masters each is told; a node takes the newest word of any.
void Agent::take_lease(const Lease& lease) {
  if (lease.version <= lease_.version) return;
  lease_ = lease;
  save_lease(paths_.state() / kLeaseFile, lease);
  if (master_) master_->set_lease(lease);
  loop_.cancel(std::exchange(lease_timer_, 0));
  watch_lease();
}

void Agent::watch_lease() {
  lease_timer_ = 0;
  if (!lease_.until) return;
  const double left = static_cast<double>(*lease_.until) - now_in_seconds();
  // The first master ends the cluster. Nodes whose master is gone end by themselves a minute later.
  const bool leads = master_ && master_->is_first_master();
  const double wait = left + (leads ? 0 : 60);
  if (wait > 0) {
    // Each minute anew: the wall clock may be set, and a suspended machine's timers stand still.
    lease_timer_ =
        loop_.after(std::chrono::milliseconds(static_cast<std::int64_t>(std::min(wait, 60.0) * 1000) + 1), [this] { watch_lease(); });
    return;
  }
  end_cluster("lease", "the cluster's time is over: stopping it", leads);
}

void Agent::end_cluster(const std::string& event, const std::string& why, bool all) {
  if (std::exchange(is_over_, true)) return;
  events_.message(event, why);
  if (all) {
    master_->stop_cluster({}, true, [this] { end(); });
  } else {
    stop_own({}, [this] { end(); });
  }
}

void Agent::watch_for_notices(const std::string& metadata_service) {
  if (document_.spot) spot_watch_ = std::make_unique<SpotWatch>(loop_, metadata_service, [this](const auto& notice) { leave(notice); });
}

// EC2 gives two minutes: what runs here ends or moves elsewhere, and nothing new comes.
void Agent::leave(const SpotNotice& notice) {
  const double left = static_cast<double>(notice.time) - now_in_seconds();
  leaving_ = fmt::format("EC2 takes it back ({}) at {}", notice.action, utc_time_of_day(notice.time));
  events_.message("spot notice", fmt::format("{}, in {:.0f} s: draining", leaving_, std::max(0.0, left)), true,
                  {{"action", notice.action}, {"time", notice.time}});
  changed();
  drain(std::chrono::seconds(std::max<std::int64_t>(0, static_cast<std::int64_t>(left) - kLastSeconds.count())));
}

void Agent::watch_idleness() {
  if (!document_.idle) return;
  idle_ = std::make_unique<IdleWatch>(
      IdleWatch::Context{loop_, events_, paths_, plan_, env_}, *document_.idle,
      IdleWatch::Hooks{[this] { return own_work(); },
                       [this](const std::string& what) {
                         for (const auto& reporter : reporters_) reporter->tell_busy(what);
                       },
                       [this] { return idle_patience(); },
                       [this] {
                         const auto seconds = document_.idle->count();
                         const std::string time = seconds % 60 == 0 ? fmt::format("{} min", seconds / 60) : fmt::format("{} s", seconds);
                         end_cluster("idle", fmt::format("nothing has gone on for {}: stopping the cluster", time), master_ != nullptr);
                       }});
  idle_->start();
}

std::string Agent::own_work() {
  // A cluster that was never whole is its launcher's to end, and its lease's.
  was_complete_ = was_complete_ || (master_ ? master_->everything_is_ready() : node_is_done_);
  if (!was_complete_ && Clock::now() - started_ < kStartTime) return "the cluster starts";
  if (supervisor_->stopping()) return "it is being stopped";
  if (applications_ && applications_->is_running()) return "run.sh";
  if (draining_) return "drain.sh";
  std::erase_if(sessions_, [](const auto& session) {
    const auto connection = session.lock();
    return !connection || connection->is_closed();
  });
  return sessions_.empty() ? "" : "a session";
}

std::optional<std::chrono::seconds> Agent::idle_patience() const {
  if (master_) return std::chrono::seconds(master_->is_first_master() ? 0 : 60);
  const bool hears_a_master = std::any_of(reporters_.begin(), reporters_.end(), [](const auto& one) { return one->is_connected(); });
  if (hears_a_master) return {};
  return std::chrono::seconds(60);
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
