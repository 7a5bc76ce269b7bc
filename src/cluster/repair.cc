#include "cluster/repair.h"

#include <poll.h>

#include <algorithm>
#include <set>

#include "base/activity.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "cluster/deploy_root.h"
#include "cluster/launch.h"
#include "cluster/recreate.h"
#include "cluster/watch.h"

namespace kiln::cluster {

namespace {

// Agents knock at a master's address each second; their machines may be busy.
constexpr std::chrono::seconds kFindTime{120};
constexpr int kLookAgainMs = 500;

std::vector<std::string> lost_masters(Session& session, const std::vector<std::string>& given_up) {
  std::vector<std::string> lost = given_up;
  for (const auto& node : session.cluster().nodes) {
    const bool known = std::find(lost.begin(), lost.end(), node.name) != lost.end();
    if (node.role == "master" && !node.running && !known) lost.push_back(node.name);
  }
  return lost;
}

// Nobody's network is to cost a healthy cluster its master.
void require_answer(Session& session, const std::string& master) {
  try {
    session.ask({{"do", "status"}});
  } catch (const Interrupted&) {
    throw;
  } catch (Error& error) {
    error.add_context(fmt::format("asking {}, whose machine runs", master));
    error.set_hint(fmt::format("if it shall be replaced all the same: `kiln repair {} --replace {}`", session.cluster().name, master));
    throw;
  }
}

// Until the agents of all nodes whose machines run are connected to the new master.
void wait_for_agents(Session& session, const std::set<std::string>& lost) {
  Activity activity("other nodes find the master");
  std::set<std::string> wanted;
  for (const auto& node : session.cluster().nodes) {
    if (node.running && lost.count(node.name) == 0) wanted.insert(node.name);
  }
  const auto deadline = std::chrono::steady_clock::now() + kFindTime;
  while (!wanted.empty()) {
    const Json status = session.ask({{"do", "status"}});
    for (const auto& node : status.value("nodes", Json::array())) {
      if (node.value("connected", false)) wanted.erase(node.value("name", ""));
    }
    if (wanted.empty()) return;
    if (std::chrono::steady_clock::now() >= deadline) {
      say(fmt::format("{} has not found the new master yet; `kiln status` shows it", *wanted.begin()));
      return;
    }
    pollfd user{interrupt_fd(), POLLIN, 0};
    ::poll(&user, 1, kLookAgainMs);
    throw_if_interrupted();
  }
}

void replace(Session& session, const std::vector<std::string>& masters) {
  const provider::Cluster before = session.cluster();
  if (before.notes.empty()) {
    Error error(fmt::format("what cluster '{}' was launched with is lost with its master: no worker runs that keeps a copy", before.name));
    error.set_hint(fmt::format("`kiln destroy {0}`, and launch it anew", before.name));
    throw error;
  }
  if (before.notes.contains("parcel")) {
    Error error(
        fmt::format("cluster '{}' stands on a distribution's own image: what its master was given at launch is not here", before.name));
    error.set_hint(fmt::format("`kiln destroy {0}`, and launch it anew", before.name));
    throw error;
  }
  for (const auto& name : masters) {
    // A single master's agent is a new one, without history.
    const double since = session.masters().size() > masters.size() ? time_there(session) : 0;
    {
      Activity machine("machine of " + name);
      session.provider().replace_master(before.name, name, recreate_request(before));
    }
    session.refresh();
    wait_until_ready(session, {name}, since);
    session.provider().commit(before.name, before.notes);
    session.refresh();
    apply_deploy_root_to(session, {name});
  }
  wait_for_agents(session, {masters.begin(), masters.end()});
}

}  // namespace

Repair repair(Session& session, const std::vector<std::string>& given_up) {
  const double started = now_in_seconds();
  Repair result;
  for (const auto& name : given_up) {
    if (session.node(name).role != "master")
      fail_usage("--replace {}: only masters need that; a worker is replaced when it is down or silent", name);
  }
  result.masters = lost_masters(session, given_up);
  if (!result.masters.empty()) replace(session, result.masters);
  require_answer(session, session.masters().at(0));
  std::set<std::string> before;
  const int workers = session.cluster().notes.at("spec").value("workers", static_cast<int>(session.workers().size()));
  for (const auto& node : lost_workers(session)) result.workers.push_back(node);
  if (!result.workers.empty()) resize(session, workers);
  result.seconds = now_in_seconds() - started;
  return result;
}

}  // namespace kiln::cluster
