#include "provider/aws/user_data.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

namespace kiln::provider::on_aws {

namespace {

config::NodeDocument document_with(int nodes) {
  config::NodeDocument document;
  document.cluster = "demo";
  document.role = "worker";
  document.secret = std::string(64, 'a');
  for (int i = 1; i <= nodes; ++i)
    document.nodes.push_back({fmt::format("worker-{}", i), "worker", fmt::format("10.0.{}.{}", i / 250, i % 250)});
  return document;
}

}  // namespace

TEST(UserData, IsReadBack) {
  const auto document = document_with(3);
  const std::string data = user_data_of(document);
  EXPECT_EQ(Json::parse(document_text_of(data)), config::node_document_to_json(document));
  // As an API may wrap it.
  EXPECT_EQ(document_text_of(data.substr(0, 40) + "\n" + data.substr(40) + "\r\n"), document_text_of(data));
}

TEST(UserData, AThousandNodesFit) { EXPECT_LT(user_data_of(document_with(1000)).size(), 16u * 1024 / 3 * 4); }

TEST(UserData, AStockMachinesIsReadBack) {
  auto document = document_with(1000);
  document.ssh = {"-----BEGIN OPENSSH PRIVATE KEY-----\nkey\n", {"ssh-ed25519 AAAA me"}};
  const ParcelRef parcel{std::string(64, 'b'), {{"bootstrap", "#!/bin/sh\n"}, {"kiln-stock.service", "[Unit]\n"}}};
  const std::string data = stock_user_data_of(document, parcel, "ssh-ed25519 BBBB");
  EXPECT_LT(data.size(), 16u * 1024 / 3 * 4);
  EXPECT_EQ(Json::parse(document_text_of(data)), config::node_document_to_json(document));
}

TEST(UserData, AnothersCloudConfigurationIsNoDocument) {
  EXPECT_EQ(document_text_of(to_base64("#cloud-config\npackages: [jq]\n")), "#cloud-config\npackages: [jq]\n");
}

TEST(UserData, WhatDoesNotFitIsTold) {
  auto document = document_with(1);
  document.modules.push_back({"spark", {}});
  for (int i = 0; i < 600; ++i) document.modules.back().params["p" + std::to_string(i)] = random_hex(32);  // nothing that could be packed
  try {
    user_data_of(document);
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("EC2 carries 16384"), std::string::npos) << error.message();
  }
}

TEST(UserData, OthersAreNotMistakenForDocuments) {
  EXPECT_EQ(document_text_of(to_base64("#!/bin/sh\n")), "#!/bin/sh\n");
  EXPECT_THROW(document_text_of(to_base64("\x1f\x8b nothing that is packed")), Error);
  EXPECT_THROW(document_text_of("no base64!"), Error);
}

}  // namespace kiln::provider::on_aws
