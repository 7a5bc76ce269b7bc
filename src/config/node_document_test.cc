// Node documents: there and back, and every way to be wrong.
#include "config/node_document.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::config {
namespace {

NodeDocument full_document() {
  NodeDocument document;
  document.cluster = "demo";
  document.node = "worker-1";
  document.role = "worker";
  document.address = "10.88.0.3";
  document.nodes = {{"master-1", "master", "10.88.0.2"}, {"worker-1", "worker", "10.88.0.3"}};
  document.modules = {{"spark", {{"worker_memory", "1g"}}}};
  document.cpus = 1.5;
  document.memory_bytes = 2147483648;
  document.secret = std::string(64, 'a');
  document.channel_port = 7100;
  document.lease_until = 1767225600;
  return document;
}

TEST(NodeDocument, comes_back_as_it_went) {
  const NodeDocument there = full_document();
  const NodeDocument back = parse_node_document(node_document_to_json(there).dump());
  EXPECT_EQ(back.cluster, there.cluster);
  EXPECT_EQ(back.node, there.node);
  EXPECT_EQ(back.role, there.role);
  EXPECT_EQ(back.address, there.address);
  EXPECT_EQ(back.nodes, there.nodes);
  ASSERT_EQ(back.modules.size(), 1u);
  EXPECT_EQ(back.modules[0].name, "spark");
  EXPECT_EQ(back.modules[0].params, there.modules[0].params);
  EXPECT_DOUBLE_EQ(back.cpus, 1.5);
  EXPECT_EQ(back.memory_bytes, 2147483648);
  EXPECT_EQ(back.secret, there.secret);
  EXPECT_EQ(back.channel_port, 7100);
  EXPECT_EQ(back.lease_until, 1767225600);
  EXPECT_EQ(node_document_to_json(back), node_document_to_json(there));
}

TEST(NodeDocument, what_has_a_default_may_be_left_out) {
  const auto document = parse_node_document(
      R"({"kiln":1,"cluster":"demo","node":"master-1","role":"master","address":"fd00::2","secret":")" + std::string(64, '0') + "\"}");
  EXPECT_EQ(document.channel_port, kChannelPort);
  EXPECT_FALSE(document.lease_until);
  EXPECT_TRUE(document.nodes.empty());
}

TEST(NodeDocument, fits_user_data_when_only_the_masters_are_named) {
  NodeDocument document = full_document();
  document.nodes.resize(1);
  EXPECT_LT(node_document_to_json(document).dump().size(), 4096u);
}

// One document for all machines of a launch.
Json document_without_a_name() {
  Json json = node_document_to_json(full_document());
  json.erase("node");
  json.erase("address");
  return json;
}

TEST(NodeDocument, a_machine_fills_in_its_name_and_address) {
  Json json = document_without_a_name();
  const auto third = node_document_from_json(json, {"i-3", "", "10.0.0.9", 2});
  EXPECT_EQ(third.node, "worker-3");
  EXPECT_EQ(third.address, "10.0.0.9");
  // A later launch goes on where the first one ended.
  json["first_number"] = 5;
  EXPECT_EQ(node_document_from_json(json, {"i-3", "", "10.0.0.9", 2}).node, "worker-7");
  // Where machines have names and no places, the number stands at their names' ends.
  EXPECT_EQ(node_document_from_json(json, {"123", "demo-worker-0012", "10.0.0.9", {}}).node, "worker-12");
  // What the document says goes.
  json["node"] = "alpha";
  json["address"] = "10.0.0.1";
  const auto named = node_document_from_json(json, {"i-3", "", "10.0.0.9", 2});
  EXPECT_EQ(named.node, "alpha");
  EXPECT_EQ(named.address, "10.0.0.1");
}

TEST(NodeDocument, a_machine_tells_whether_it_is_on_the_spot_market) {
  MachineFacts machine{"i-3", "", "10.0.0.9", 2};
  EXPECT_FALSE(node_document_from_json(document_without_a_name(), machine).spot);
  machine.spot = true;
  const auto document = node_document_from_json(document_without_a_name(), machine);
  EXPECT_TRUE(document.spot);
  EXPECT_TRUE(node_document_from_json(node_document_to_json(document)).spot);
}

TEST(NodeDocument, what_no_machine_fills_in_is_missing) {
  const auto said = [](const Json& json, const MachineFacts& machine) -> std::string {
    try {
      node_document_from_json(json, machine);
      return "nothing";
    } catch (const Error& error) {
      return error.message();
    }
  };
  const Json json = document_without_a_name();
  EXPECT_EQ(said(json, {}), "node document: 'node' is missing");
  EXPECT_EQ(said(json, {"1", "worker", "10.0.0.9", {}}),
            "node document: 'node' is missing, and the machine has no number to make a name of");
  EXPECT_EQ(said(json, {"1", "", "", 0}), "node document: 'address' is missing");
  EXPECT_EQ(said(json, {"1", "", "here", 0}), "node document: 'address' must be an IP address, found 'here'");
}

TEST(NodeDocument, is_written_without_what_machines_fill_in) {
  NodeDocument document = full_document();
  document.node.clear();
  document.address.clear();
  document.first_number = 3;
  const auto back = node_document_from_json(node_document_to_json(document), {"i-1", "", "10.0.0.9", 0});
  EXPECT_EQ(back.node, "worker-3");
  EXPECT_EQ(back.address, "10.0.0.9");
}

// Of several masters of a cloud the first starts before the others have addresses.
TEST(NodeDocument, may_name_masters_that_have_no_address_yet) {
  NodeDocument document = full_document();
  document.nodes = {{"master-1", "master", ""}, {"master-2", "master", "10.0.0.2"}};
  EXPECT_EQ(node_document_from_json(node_document_to_json(document)).nodes, document.nodes);
  document.nodes.push_back({"worker-1", "worker", ""});
  EXPECT_THROW(node_document_from_json(node_document_to_json(document)), Error);
}

struct BadMember {
  const char* pointer;  // what is set
  Json value;           // null: removed
  const char* message;
  const char* hint = "";
};

TEST(NodeDocument, names_the_member_that_is_wrong) {
  const std::vector<BadMember> cases = {
      {"/kiln", nullptr, "'kiln' is missing"},
      {"/kiln", 2, "'kiln' is version 2, this kiln knows version 1", "same kiln"},
      {"/kiln", "1", "'kiln' must be a whole number, found text"},
      {"/cluster", nullptr, "'cluster' is missing"},
      {"/cluster", "De mo", "'cluster' is wrong: 'De mo' is no cluster name"},
      {"/cluster", 7, "'cluster' must be text, found a number"},
      {"/node", "worker 1", "'node' must be a host name"},
      {"/node", "", "'node' must be a host name"},
      {"/role", "mastre", "'role' cannot be 'mastre'", "did you mean 'master'?"},
      {"/role", nullptr, "'role' is missing"},
      {"/address", "10.0.0", "'address' must be an IP address, found '10.0.0'"},
      {"/nodes", "x", "'nodes' must be a list, found text"},
      {"/nodes/0", 1, "'nodes[0]' must be an object, found a number"},
      {"/nodes/1/address", "here", "'nodes[1].address' must be an IP address"},
      {"/nodes/1/role", nullptr, "'nodes[1].role' is missing"},
      {"/nodes/1/name", "master-1", "'nodes[1].name' 'master-1' is there twice"},
      {"/nodes/0/ip", "x", "'nodes[0].ip' is unknown"},
      {"/modules/0/params/worker_memory", 1, "'modules[0].params.worker_memory' must be text, found a number"},
      {"/modules/0/name", "Spark", "'modules[0].name' is wrong"},
      {"/first_number", -1, "'first_number' must be 0 to"},
      {"/cpus", "two", "'cpus' must be a number, found text"},
      {"/cpus", -1, "'cpus' must be 0 to"},
      {"/memory_bytes", 1.5, "'memory_bytes' must be a whole number"},
      {"/memory_bytes", 18446744073709551615ULL, "'memory_bytes' must be 0 to"},
      {"/secret", nullptr, "'secret' is missing"},
      {"/secret", "hunter2", "'secret' must be 64 hex digits"},
      {"/channel_port", 0, "'channel_port' must be 1 to 65535, found 0"},
      {"/channel_port", 65536, "'channel_port' must be 1 to 65535, found 65536"},
      {"/lease_until", "tomorrow", "'lease_until' must be a whole number, found text"},
      {"/adress", "10.0.0.1", "'adress' is unknown", "did you mean 'address'?"},
      {"/zzz", 1, "'zzz' is unknown", "newer kiln"},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(std::string(bad.pointer) + " = " + bad.value.dump());
    Json json = node_document_to_json(full_document());
    const Json::json_pointer pointer(bad.pointer);
    if (bad.value.is_null()) {
      json[pointer.parent_pointer()].erase(pointer.back());
    } else {
      json[pointer] = bad.value;
    }
    try {
      node_document_from_json(json);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& error) {
      EXPECT_TRUE(error.message().starts_with("node document: ")) << error.what();
      EXPECT_NE(error.message().find(bad.message), std::string::npos) << error.what();
      EXPECT_NE(error.hint_text().find(bad.hint), std::string::npos) << error.hint_text();
      EXPECT_EQ(error.message().find("hunter2"), std::string::npos) << "a secret was shown";
    }
  }
}

TEST(NodeDocument, broken_json_is_told_without_its_text) {
  for (const std::string text : {"", "{", "[]", "null", "{\"secret\": \"hunter2\"", "\xFF"}) {
    SCOPED_TRACE(text);
    try {
      parse_node_document(text);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& error) {
      EXPECT_TRUE(error.message().starts_with("node document")) << error.what();
      EXPECT_EQ(error.message().find("hunter2"), std::string::npos);
    }
  }
}

TEST(NodeDocument, TellsAMachineItsEndAndItsKeys) {
  const Json plain = {{"kiln", 1},        {"cluster", "demo"},     {"node", "worker-1"},
                      {"role", "worker"}, {"address", "10.0.0.2"}, {"secret", std::string(64, 'a')}};
  EXPECT_FALSE(node_document_from_json(plain).power_off);
  EXPECT_FALSE(node_document_from_json(plain).ssh);
  EXPECT_FALSE(node_document_from_json(plain).idle);
  Json json = plain;
  json["power_off"] = true;
  json["idle_seconds"] = 1800;
  json["swap_bytes"] = 4LL << 30;
  json["user_data"] = "#!/bin/sh\n";
  json["ssh"] = {{"host_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"},
                 {"authorized_keys", {"ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 AAAA me"}}};
  const NodeDocument document = node_document_from_json(json);
  EXPECT_TRUE(document.power_off);
  EXPECT_EQ(document.idle->count(), 1800);
  EXPECT_EQ(document.swap_bytes, 4LL << 30);
  EXPECT_EQ(document.user_data, "#!/bin/sh\n");
  for (const char* member : {"idle_seconds", "swap_bytes", "user_data"}) EXPECT_EQ(node_document_to_json(document)[member], json[member]);
  ASSERT_TRUE(document.ssh);
  EXPECT_EQ(document.ssh->authorized_keys.size(), 2u);
  EXPECT_EQ(node_document_to_json(document)["ssh"], json["ssh"]);
  for (const char* bad : {"AAAA", "ssh-ed25519 AAAA\nssh-ed25519 BBBB", ""}) {
    json["ssh"]["authorized_keys"][1] = bad;
    EXPECT_THROW(node_document_from_json(json), Error) << bad;
  }
  json["ssh"] = {{"host_key", "hunter2"}, {"authorized_keys", Json::array()}};
  try {
    node_document_from_json(json);
    ADD_FAILURE() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.message().find("hunter2"), std::string::npos) << "a secret was shown";
  }
}

// Found by the fuzz target: the JSON library has an exception of its own for it.
TEST(NodeDocument, ANumberThatIsTooLargeIsAnError) {
  try {
    parse_node_document("{\"kiln\": 7e7777}");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a number that is too large"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace kiln::config
