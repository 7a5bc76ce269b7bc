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
// EC2 gives 16 KiB; the local provider's holds every node of a cluster (some 100 bytes each).
constexpr std::size_t kMaxDocumentBytes = 4 << 20;

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
    NodeEntry node{entry.text("name"), read_role(entry), entry.text("address")};
    check_node_name(entry, "name", node.name);
    check_address(entry, "address", node.address);
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

}  // namespace

Json node_document_to_json(const NodeDocument& document) {
  Json nodes = Json::array(), modules = Json::array();
  for (const auto& node : document.nodes) nodes.push_back({{"name", node.name}, {"role", node.role}, {"address", node.address}});
  for (const auto& module : document.modules) modules.push_back({{"name", module.name}, {"params", module.params}});
  Json json = {{"kiln", kVersion},
               {"cluster", document.cluster},
               {"node", document.node},
               {"role", document.role},
               {"address", document.address},
               {"nodes", nodes},
               {"modules", modules},
               {"cpus", document.cpus},
               {"memory_bytes", document.memory_bytes},
               {"secret", document.secret},
               {"channel_port", document.channel_port}};
  if (document.lease_until) json["lease_until"] = *document.lease_until;
  return json;
}

NodeDocument node_document_from_json(const Json& json) {
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
  document.node = reader.text("node");
  check_node_name(reader, "node", document.node);
  document.role = read_role(reader);
  document.address = reader.text("address");
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
  reader.only_read_members();
  return document;
}

NodeDocument parse_node_document(const std::string& text) {
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
  return node_document_from_json(json);
}

}  // namespace kiln::config
