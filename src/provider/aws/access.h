// The way into a cluster: its secret, which is in its machines' user data, and SSH to its first master, which sees all nodes (ssh_door.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "provider/aws/account.h"
#include "provider/aws/record.h"
#include "provider/ssh_door.h"

namespace kiln::provider::on_aws {

class Access {
 public:
  explicit Access(Account& account) : account_(account) {}

  // Only who may read the machines' attributes gets it; empty when EC2 tells of no machine. Asked once.
  std::string secret_of(const Record& record);
  // That of a launch by this process.
  void set_secret(const Record& record, const std::string& secret);
  // What commit() stored with a master, or where none runs the copy of a worker; an empty object when nobody answers.
  Json notes_of(const Record& record);
  void set_notes(const Record& record, Json notes);
  // With the first workers, for when the master is lost. Never throws but for Interrupted.
  void keep_copies(const Record& record, const Json& notes);
  // The address of a master as the document of a worker has it; empty when there is none.
  std::string known_address(const Record& record, const std::string& master);
  // What a master answers to one request: the first that does.
  Json ask_master(const Record& record, const Json& question);
  // As above, to all of them; Error when none has taken it.
  void tell_masters(const Record& record, const Json& message);

  // To a port of a node. Machines that boot are waited for until `timeout`; Error at once, with what EC2 and the console say, when the
  // node's machine or every master's has ended.
  Fd connect(const std::string& name, const std::string& node, int port, std::chrono::milliseconds timeout);
  std::string forward(const std::string& name, const std::string& node, int port);
  // See Provider::deliver().
  void deliver(const std::string& name, const std::filesystem::path& parcel, std::chrono::milliseconds timeout);
  // See Provider::socks_proxy().
  std::string socks_proxy(const std::string& name, int port);
  // See Provider::ssh_command().
  std::vector<std::string> ssh_command(const std::string& name, const std::string& node, const std::vector<std::string>& command);
  // Ends shared SSH sessions.
  void close(const std::string& name);

 private:
  // The document that a machine booted from; null when it has none.
  Json document_of(const Machine& machine);
  // Asks a node's agent without going by a master.
  Json ask_directly(const Record& record, const Machine& machine, const Json& question);
  // With the machines that a way to the node leads through.
  Record record_of(const std::string& name, const std::string& node = {});
  Json ask_masters(const Record& record, const Json& question, bool one_is_enough);
  Json ask(const Record& record, const Machine& master, const Json& question);
  // Through which machine, and to which address. Nothing when EC2 does not tell of them yet.
  std::optional<std::pair<SshDoor::Host, std::string>> way_to(const Record& record, const std::string& node);
  SshDoor door(const Record& record);
  void deliver_to(const SshDoor& door, const std::string& cluster, const std::string& master, const std::filesystem::path& parcel,
                  std::chrono::steady_clock::time_point deadline);

  Account& account_;
  std::map<std::string, std::string> secrets_;  // by launch; so the notes
  std::map<std::string, Json> notes_;
};

}  // namespace kiln::provider::on_aws
