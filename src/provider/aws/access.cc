#include "provider/aws/access.h"

#include <algorithm>

#include "base/channel.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "config/names.h"
#include "provider/aws/fresh.h"
#include "provider/aws/machines.h"
#include "provider/aws/user_data.h"

namespace kiln::provider::on_aws {

namespace {

// While a machine boots: how long one goes without asking EC2 whether it is still there.
constexpr std::chrono::seconds kLookAgain{10};
constexpr std::chrono::milliseconds kNotYetShown{300};
// Over an SSH session that has to be made first.
constexpr std::chrono::seconds kAnswerTime{20};
// A machine that boots is tried once a second: each attempt is a process here and a connection there.
constexpr std::chrono::seconds kKnockAgain{1};
// The program that waits for the parcel is there once cloud-init has written it, some time after SSH is.
constexpr const char* kReceive = "test -x /usr/lib/kiln/stock/bootstrap || exit 75; exec sudo -n /usr/lib/kiln/stock/bootstrap receive";
constexpr int kNotPrepared = 75, kNotReached = 255;  // the latter as ssh says it
// To reach a worker that has a copy of the notes. They have booted long ago, and whoever has no way to the cluster at all shall not wait
// for each.
constexpr std::chrono::seconds kCopyTime{5};

}  // namespace

Record Access::record_of(const std::string& name, const std::string& node) {
  // A master is a way to itself.
  auto records = find_records(account_.ec2(), name, node.starts_with("master-") ? "master" : "");
  if (records.empty()) fail("there is no cluster '{}' in {}", name, account_.session().region());
  return std::move(records.front());
}

Json Access::document_of(const Machine& machine) {
  const Json answer = call_about_new(account_.ec2(), "DescribeInstanceAttribute", {{"InstanceId", machine.id}, {"Attribute", "userData"}});
  const std::string data = kiln::aws::text(answer, "userData/value");
  if (data.empty()) return {};
  return Json::parse(document_text_of(data), nullptr, false);
}

std::string Access::known_address(const Record& record, const std::string& master) {
  for (const auto& instance : record.instances) {
    if (instance.role != "worker") continue;
    const Json document = document_of(instance);
    if (!document.is_object()) continue;
    for (const auto& node : document.value("nodes", Json::array())) {
      if (node.value("name", "") == master) return node.value("address", "");
    }
  }
  return {};
}

Json Access::ask_directly(const Record& record, const Machine& machine, const Json& question) {
  const SshDoor::Host host{machine.public_address.empty() ? machine.private_address : machine.public_address, 22, record.user};
  auto channel = Channel::as_client(door(record).connect(host, machine.private_address, config::kChannelPort, kCopyTime), secret_of(record),
                                    kAnswerTime);
  channel.send(question);
  const auto frame = channel.receive(kAnswerTime);
  return frame ? frame->json() : Json::object();
}

void Access::keep_copies(const Record& record, const Json& notes) {
  for (const Machine* holder : record.copy_holders()) {
    try {
      ask_master(record, {{"do", "keep"}, {"node", holder->name}, {"notes", notes}});
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      // It may be the very one that is lost just now; there is another.
    }
  }
}

std::string Access::secret_of(const Record& record) {
  if (const auto known = secrets_.find(record.launch); known != secrets_.end()) return known->second;
  for (const auto& instance : record.instances) {
    const Json document = document_of(instance);
    if (document.is_object() && document.contains("secret")) return secrets_[record.launch] = document.at("secret").get<std::string>();
  }
  return {};
}

Json Access::notes_of(const Record& record) {
  if (const auto known = notes_.find(record.launch); known != notes_.end()) return known->second;
  try {
    Json notes = ask_master(record, {{"do", "notes"}}).value("notes", Json::object());
    return notes_[record.launch] = std::move(notes);
  } catch (const Interrupted&) {
    throw;
  } catch (const Error&) {
    // What else there is of the cluster can be seen all the same.
  }
  for (const Machine* holder : record.copy_holders()) {
    try {
      Json notes = ask_directly(record, *holder, {{"do", "notes"}}).value("notes", Json::object());
      if (!notes.empty()) return notes_[record.launch] = std::move(notes);
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      // The next one.
    }
  }
  return Json::object();
}

void Access::set_secret(const Record& record, const std::string& secret) { secrets_[record.launch] = secret; }

void Access::set_notes(const Record& record, Json notes) { notes_[record.launch] = std::move(notes); }

Json Access::ask_master(const Record& record, const Json& question) { return ask_masters(record, question, true); }

void Access::tell_masters(const Record& record, const Json& message) { ask_masters(record, message, false); }

Json Access::ask_masters(const Record& record, const Json& question, bool one_is_enough) {
  std::optional<Json> answer;
  std::exception_ptr trouble;
  for (const auto& instance : record.instances) {
    if (instance.role != "master" || !instance.is_running()) continue;
    try {
      answer = ask(record, instance, question);
      if (one_is_enough) break;
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      trouble = std::current_exception();  // another may answer
    }
  }
  if (answer) return *answer;
  if (trouble) std::rethrow_exception(trouble);
  fail("no master of cluster '{}' runs", record.cluster.name);
}

Json Access::ask(const Record& record, const Machine& master, const Json& question) {
  const std::string& name = record.cluster.name;
  auto channel = Channel::as_client(connect(name, master.name, config::kChannelPort, kAnswerTime), secret_of(record), kAnswerTime);
  channel.send(question);
  const auto frame = channel.receive(kAnswerTime);
  if (!frame) fail("the agent of cluster '{}' closed the connection without an answer", name);
  Json answer = frame->json();
  if (answer.contains("error")) fail("the agent of cluster '{}' refuses: {}", name, answer.value("error", ""));
  return answer;
}

Fd Access::connect(const std::string& name, const std::string& node, int port, std::chrono::milliseconds timeout) {
  // A machine that boots refuses; one that is gone would do so for ever.
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const Record record = record_of(name, node);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const auto way = way_to(record, node);
    if (!way) {
      if (left.count() <= 0) fail("EC2 tells no address of node '{}' of cluster '{}'", node, name);
      account_.session().surroundings().sleep(kNotYetShown);
      continue;
    }
    try {
      return door(record).connect(way->first, way->second, port, std::min<std::chrono::milliseconds>(left, kLookAgain));
    } catch (const WrongHost&) {
      throw;
    } catch (const Interrupted&) {
      throw;
    } catch (Error& error) {
      if (left > kLookAgain) continue;
      const Machine* machine = timeout > kLookAgain ? record.find(node) : nullptr;  // it should have booted by now
      if (machine == nullptr) {
        error.set_hint(
            "SSH is let in from what --authorized named at launch; a cluster with --private is reached from within its VPC only");
        throw;
      }
      fail("{}\n{}", error.message(), trouble_of(account_.ec2(), *machine));
    }
  }
}

std::string Access::forward(const std::string& name, const std::string& node, int port) {
  const Record record = record_of(name, node);
  const auto way = way_to(record, node);
  if (!way) fail("EC2 tells no address of node '{}' of cluster '{}'", node, name);
  return door(record).forward(way->first, way->second, port);
}

std::string Access::socks_proxy(const std::string& name, int port) {
  const Record record = record_of(name);
  for (const auto& machine : record.instances) {
    if (machine.role != "master" || !machine.is_running()) continue;
    const auto way = way_to(record, machine.name);
    if (way) return door(record).socks_proxy(way->first, port);
  }
  fail("no master of cluster '{}' runs", name);
}

std::vector<std::string> Access::ssh_command(const std::string& name, const std::string& node, const std::vector<std::string>& command) {
  const Record record = record_of(name, node);
  const auto way = way_to(record, node);
  if (!way) fail("EC2 tells no address of node '{}' of cluster '{}'", node, name);
  const Machine* machine = record.find(node);
  if (!machine->public_address.empty()) return door(record).command_line({machine->public_address, 22, record.user}, "", command);
  return door(record).command_line(way->first, way->first.address == way->second ? "" : way->second, command);
}

void Access::deliver(const std::string& name, const fs::path& parcel, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  // EC2 may take its time to tell of machines that it has just started.
  Record record = record_of(name, "master-1");
  const auto names = [&] {
    std::vector<std::string> masters;
    for (const auto* all : {&record.instances, &record.gone}) {
      for (const auto& machine : *all) {
        if (machine.role == "master") masters.push_back(machine.name);
      }
    }
    return masters;
  };
  while (static_cast<int>(names().size()) < record.masters) {
    if (std::chrono::steady_clock::now() > deadline) fail("EC2 tells of {} masters of cluster '{}'", names().size(), name);
    account_.session().surroundings().sleep(kNotYetShown);
    record = record_of(name, "master-1");
  }
  const SshDoor way = door(record);
  const auto masters = names();
  parallel_for(masters.size(), masters.size(), [&](std::size_t i) { deliver_to(way, name, masters[i], parcel, deadline); });
}

// A master that boots refuses, or lets in and is not prepared yet: tried again.
void Access::deliver_to(const SshDoor& door, const std::string& cluster, const std::string& master, const fs::path& parcel,
                        std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    const Record record = record_of(cluster, master);
    const Machine* machine = record.find(master);
    if (machine != nullptr && machine->is_gone())
      fail("{} of cluster '{}' has ended: {}", master, cluster, trouble_of(account_.ec2(), *machine));
    std::string said = "EC2 tells no address of it";
    const std::string address = machine == nullptr                ? ""
                                : machine->public_address.empty() ? machine->private_address
                                                                  : machine->public_address;
    if (!address.empty()) {
      const auto result = door.feed({address, 22, record.user}, {"sh", "-c", kReceive}, parcel);
      if (result.ok()) return;
      said = trim(result.error);
      if (result.exit_code != kNotPrepared && result.exit_code != kNotReached) fail("{} of cluster '{}': {}", master, cluster, said);
    }
    if (std::chrono::steady_clock::now() > deadline) {
      fail("{} of cluster '{}' could not be given what to install, by SSH as '{}': {}{}", master, cluster, record.user, said,
           machine == nullptr ? "" : "\n" + trouble_of(account_.ec2(), *machine));
    }
    account_.session().surroundings().sleep(kKnockAgain);
  }
}

void Access::close(const std::string& name) {
  const fs::path folder = Account::folder_of(name);
  std::error_code ignored;
  if (fs::exists(folder / "key", ignored)) SshDoor::close(folder);
}

std::optional<std::pair<SshDoor::Host, std::string>> Access::way_to(const Record& record, const std::string& node) {
  const auto is_here = [&](const Machine& one) { return one.name == node; };
  const auto machine = std::find_if(record.instances.begin(), record.instances.end(), is_here);
  if (machine == record.instances.end()) {
    if (const Machine* gone = record.find(node))
      fail("node '{}' of cluster '{}' has ended: {}", node, record.cluster.name, trouble_of(account_.ec2(), *gone));
    return std::nullopt;
  }
  for (const auto& instance : record.instances) {
    if (instance.role != "master" || !instance.is_running()) continue;
    // A master is its own way: the first may be silent.
    if (machine->role == "master" && machine->is_running() && instance.name != node) continue;
    const std::string& address = instance.public_address.empty() ? instance.private_address : instance.public_address;
    if (address.empty() || machine->private_address.empty()) continue;
    return std::pair(SshDoor::Host{address, 22, record.user}, machine->private_address);
  }
  for (const auto& gone : record.gone) {
    if (gone.role == "master")
      fail("master '{}' of cluster '{}' has ended: {}", gone.name, record.cluster.name, trouble_of(account_.ec2(), gone));
  }
  return std::nullopt;
}

SshDoor Access::door(const Record& record) { return {Account::folder_of(record.cluster.name), record.cluster.name, secret_of(record)}; }

}  // namespace kiln::provider::on_aws
