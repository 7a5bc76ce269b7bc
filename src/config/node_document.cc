// The node document: checked member by member, since a node that boots from a wrong one fails where nobody is watching.
#include "config/node_document.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "config/json_reader.h"
#include "config/names.h"

namespace kiln::config {

namespace {

constexpr int kVersion = 1;
// More than any cloud starts for one cluster; names stay short.
constexpr int kMaxNumber = 999999;

const std::vector<std::string>& node_roles() {
  static const std::vector<std::string> kRoles = {"master", "worker"};
  return kRoles;
}

// A label of a host name (RFC 1123): the name stands in hosts files and becomes the machine's.
void check_node_name(const JsonReader& reader, const std::string& key, const std::string& name) {
  bool good = !name.empty() && name.size() <= 63 && name.front() != '-' && name.back() != '-';
  for (const char letter : name) good = good && ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '-');
  if (!good) reader.fail(key, "must be a host name (1 to 63 of a-z, 0-9 and '-'), found " + in_quotes(name));
}

void check_address(const JsonReader& reader, const std::string& key, const std::string& address) {
  unsigned char bytes[sizeof(in6_addr)];
  if (inet_pton(AF_INET, address.c_str(), bytes) != 1 && inet_pton(AF_INET6, address.c_str(), bytes) != 1) {
    reader.fail(key, "must be an IP address, found " + in_quotes(address));
  }
}

std::string read_role(JsonReader& reader) {
  std::string role = reader.text("role");
  const auto& roles = node_roles();
  if (std::find(roles.begin(), roles.end(), role) == roles.end()) {
    reader.fail("role", "cannot be " + in_quotes(role), did_you_mean_or_list(role, roles));
  }
  return role;
}

bool is_secret(const std::string& text) { return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos; }

std::vector<NodeEntry> read_nodes(JsonReader& reader) {
  std::vector<NodeEntry> nodes;
  std::set<std::string> names;
  for (auto& entry : reader.objects("nodes")) {
    NodeEntry node{entry.text("name"), read_role(entry), entry.text_or("address", "")};
    check_node_name(entry, "name", node.name);
    // Of several masters of a cloud the first ones start before the others have addresses: those report to them.
    if (!node.address.empty() || node.role != "master") check_address(entry, "address", node.address);
    if (!names.insert(node.name).second) entry.fail("name", in_quotes(node.name) + " is there twice");
    entry.only_read_members();
    nodes.push_back(std::move(node));
  }
  return nodes;
}

std::vector<NodeDocument::ModuleParams> read_modules(JsonReader& reader) {
  std::vector<NodeDocument::ModuleParams> modules;
  std::set<std::string> names;
  for (auto& entry : reader.objects("modules")) {
    NodeDocument::ModuleParams module{entry.text("name"), entry.text_map("params")};
    try {
      check_module_name(module.name);
    } catch (const UsageError& error) {
      entry.fail("name", "is wrong: " + error.message());
    }
    if (!names.insert(module.name).second) entry.fail("name", in_quotes(module.name) + " is there twice");
    entry.only_read_members();
    modules.push_back(std::move(module));
  }
  return modules;
}

// They become files of one line each, and one whole file.
NodeDocument::Ssh read_ssh(JsonReader reader) {
  NodeDocument::Ssh ssh{reader.text("host_key"), reader.texts("authorized_keys")};
  if (!ssh.host_key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n")) reader.fail("host_key", "is no private key of OpenSSH's");
  for (const auto& key : ssh.authorized_keys) {
    const bool is_one = key.starts_with("ssh-") || key.starts_with("ecdsa-") || key.starts_with("sk-");
    if (!is_one || key.find_first_of("\r\n") != std::string::npos) reader.fail("authorized_keys", "must be public keys of SSH");
  }
  reader.only_read_members();
  return ssh;
}

// "prod-worker-0012" → 12; nothing without a number at the end.
std::optional<std::int64_t> number_at_end(const std::string& name) {
  const auto last = name.find_last_not_of("0123456789");
  const std::string digits = last == std::string::npos ? name : name.substr(last + 1);
  if (digits.empty() || digits.size() > 6) return {};
  return std::stoi(digits);
}

std::string read_node(JsonReader& reader, const std::string& role, int first_number, const MachineFacts& machine) {
  std::string name = reader.text_or("node", "");
  if (!reader.has("node")) {
    auto number = machine.launch_index;
    if (number) *number += first_number;
    if (!number) number = number_at_end(machine.name);
    if (!number) {
      const bool asked = !machine.id.empty();
      reader.fail("node", asked ? "is missing, and the machine has no number to make a name of" : "is missing",
                  asked ? "give the node a name, or the machine one that ends in a number" : "");
    }
    name = fmt::format("{}-{}", role, *number);
  }
  check_node_name(reader, "node", name);
  return name;
}

}  // namespace

Json node_document_to_json(const NodeDocument& document) {
  Json nodes = Json::array(), modules = Json::array();
  for (const auto& node : document.nodes) nodes.push_back({{"name", node.name}, {"role", node.role}, {"address", node.address}});
  for (const auto& module : document.modules) modules.push_back({{"name", module.name}, {"params", module.params}});
  Json json = {{"kiln", kVersion},
               {"cluster", document.cluster},
               {"role", document.role},
               {"nodes", nodes},
               {"modules", modules},
               {"cpus", document.cpus},
               {"memory_bytes", document.memory_bytes},
               {"secret", document.secret},
               {"channel_port", document.channel_port}};
  if (!document.node.empty()) json["node"] = document.node;
  if (!document.address.empty()) json["address"] = document.address;
  if (document.first_number != 1) json["first_number"] = document.first_number;
  if (document.lease_until) json["lease_until"] = *document.lease_until;
  if (document.idle) json["idle_seconds"] = document.idle->count();
  if (document.power_off) json["power_off"] = true;
  if (document.spot) json["spot"] = true;
  if (document.swap_bytes != 0) json["swap_bytes"] = document.swap_bytes;
  if (!document.user_data.empty()) json["user_data"] = document.user_data;
  if (document.ssh) json["ssh"] = {{"host_key", document.ssh->host_key}, {"authorized_keys", document.ssh->authorized_keys}};
  return json;
}

NodeDocument node_document_from_json(const Json& json, const MachineFacts& machine) {
  JsonReader reader(json, "node document");
  if (!reader.has("kiln")) reader.fail("kiln", "is missing");
  if (const auto version = reader.integer_or("kiln", 0, 0, INT64_MAX); version != kVersion) {
    reader.fail("kiln", fmt::format("is version {}, this kiln knows version {}", version, kVersion),
                "bake the image and launch with the same kiln");
  }
  NodeDocument document;
  document.cluster = reader.text("cluster");
  try {
    check_cluster_name(document.cluster);
  } catch (const UsageError& error) {
    reader.fail("cluster", "is wrong: " + error.message());
  }
  document.role = read_role(reader);
  document.first_number = static_cast<int>(reader.integer_or("first_number", 1, 0, kMaxNumber));
  document.node = read_node(reader, document.role, document.first_number, machine);
  document.address = machine.address.empty() ? reader.text("address") : reader.text_or("address", machine.address);
  check_address(reader, "address", document.address);
  document.nodes = read_nodes(reader);
  document.modules = read_modules(reader);
  document.cpus = reader.number_or("cpus", 0, 0, 4096);
  document.memory_bytes = reader.integer_or("memory_bytes", 0, 0, INT64_MAX);
  document.secret = reader.text("secret");
  // The value is not shown: it may be most of a real one.
  if (!is_secret(document.secret)) reader.fail("secret", "must be 64 hex digits (0-9, a-f)");
  document.channel_port = static_cast<int>(reader.integer_or("channel_port", kChannelPort, 1, 65535));
  if (reader.has("lease_until")) document.lease_until = reader.integer_or("lease_until", 0, 0, INT64_MAX);
  if (reader.has("idle_seconds")) document.idle = std::chrono::seconds(reader.integer_or("idle_seconds", 0, 1, INT32_MAX));
  document.power_off = reader.flag_or("power_off", false);
  document.spot = reader.flag_or("spot", machine.spot);
  document.swap_bytes = reader.integer_or("swap_bytes", 0, 0, INT64_MAX);
  document.user_data = reader.text_or("user_data", "");
  if (reader.has("ssh")) document.ssh = read_ssh(reader.object("ssh"));
  reader.only_read_members();
  return document;
}

NodeDocument parse_node_document(const std::string& text, const MachineFacts& machine) {
  if (text.size() > kMaxDocumentBytes) fail("node document: {} bytes are more than the {} it may have", text.size(), kMaxDocumentBytes);
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    // The library's own words quote the text around the mistake, which may be the secret.
    fail("node document: not valid JSON at byte {}", error.byte);
  } catch (const Json::exception&) {
    fail("node document: it holds a number that is too large");
  }
  return node_document_from_json(json, machine);
}

}  // namespace kiln::config
