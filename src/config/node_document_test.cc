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
