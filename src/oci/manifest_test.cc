#include "oci/manifest.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/hash.h"

namespace kiln::oci {
namespace {

constexpr const char* kOci = "application/vnd.oci.image.";

class ManifestTest : public testing::Test {
 protected:
  Json add(const std::string& type, const Json& document) {
    const std::string text = document.dump(), digest = "sha256:" + sha256_hex(text);
    blobs_[digest] = text;
    return {{"mediaType", type}, {"digest", digest}, {"size", text.size()}};
  }
  Json config(const std::string& architecture, std::size_t layers = 1) {
    return add(std::string(kOci) + "config.v1+json",
               {{"os", "linux"}, {"architecture", architecture}, {"rootfs", {{"diff_ids", std::vector<std::string>(layers, "x")}}}});
  }
  static Json layer(const std::string& type = std::string(kOci) + "layer.v1.tar+gzip") {
    return {{"mediaType", type}, {"digest", "sha256:" + sha256_hex("layer")}, {"size", 5}};
  }
  static Json manifest(const Json& config, const Json& layers) { return {{"schemaVersion", 2}, {"config", config}, {"layers", layers}}; }
  Json image(const std::string& architecture) {
    return add(std::string(kOci) + "manifest.v1+json", manifest(config(architecture), Json::array({layer()})));
  }
  static Json with_platform(Json descriptor, const std::string& os, const std::string& architecture) {
    descriptor["platform"] = {{"os", os}, {"architecture", architecture}};
    return descriptor;
  }
  ImageManifest choose(const Json& root, const std::string& architecture = "amd64") {
    return choose_image({{"", "sha256:" + sha256_hex(root.dump()), 0}, root.dump()}, architecture, [&](const Descriptor& blob) {
      const auto found = blobs_.find(blob.digest);
      if (found == blobs_.end()) fail("there is no {}", blob.digest);
      return found->second;
    });
  }
  std::string refused(const Json& root, const std::string& architecture = "amd64") {
    try {
      choose(root, architecture);
      return "";
    } catch (const Error& error) {
      return error.message();
    }
  }
  std::map<std::string, std::string> blobs_;
};

TEST_F(ManifestTest, chooses_by_architecture_also_in_indexes_of_indexes) {
  const Json index = {{"schemaVersion", 2},
                      {"manifests",
                       {with_platform(image("arm64"), "linux", "arm64"), with_platform(image("amd64"), "linux", "amd64"),
                        with_platform(image("amd64"), "unknown", "unknown")}}};
  EXPECT_EQ(choose(index, "arm64").layers.size(), 1U);
  const Json outer = {{"schemaVersion", 2}, {"manifests", Json::array({add(std::string(kOci) + "index.v1+json", index)})}};
  EXPECT_EQ(choose(outer).manifest.digest, choose(index).manifest.digest);
  EXPECT_EQ(refused(index, "riscv64"), "the image is not for linux/riscv64; it is for: linux/arm64, linux/amd64");
  EXPECT_EQ(refused(manifest(config("arm64"), Json::array({layer()}))), "the image is not for linux/amd64; it is for: linux/arm64");
}

TEST_F(ManifestTest, refuses_what_is_no_image) {
  EXPECT_NE(refused(Json::array()).find("no JSON object"), std::string::npos);
  EXPECT_NE(refused({{"schemaVersion", 1}, {"fsLayers", Json::array()}}).find("schema 1"), std::string::npos);
  Json chart = config("amd64");
  chart["mediaType"] = "application/vnd.cncf.helm.config.v1+json";
  EXPECT_NE(refused(manifest(chart, Json::array())).find("no image of a machine"), std::string::npos);
  EXPECT_NE(
      refused(manifest(config("amd64"), Json::array({layer("application/x-secret")}))).find("cannot be unpacked: 'application/x-secret'"),
      std::string::npos);
  EXPECT_NE(refused(manifest(config("amd64", 2), Json::array({layer()}))).find("names 1 layers, its config 2"), std::string::npos);
}

TEST_F(ManifestTest, believes_nothing) {
  Json wrong = config("amd64");
  blobs_[wrong["digest"]] += " ";
  EXPECT_NE(refused(manifest(wrong, Json::array({layer()}))).find("is corrupt"), std::string::npos);
  for (const auto& [key, value] : std::map<std::string, Json>{{"digest", "sha256:12"},
                                                              {"digest ", 12},
                                                              {"size", -1},
                                                              {"size ", "5"},
                                                              {"size  ", std::int64_t{1} << 60},
                                                              {"mediaType", nullptr}}) {
    Json bad = layer();
    bad[key.substr(0, key.find(' '))] = value;
    EXPECT_NE(refused(manifest(config("amd64"), Json::array({bad}))), "") << key;
  }
  Json path = layer();
  path["digest"] = "sha256:../../../../../../../../../../../../../../../../../../etc/passwd";
  EXPECT_NE(refused(manifest(config("amd64"), Json::array({path}))).find("no SHA-256 digest"), std::string::npos);
  Json big = config("amd64");
  big["size"] = 5 << 20;
  EXPECT_NE(refused(manifest(big, Json::array({layer()}))).find("larger than"), std::string::npos);
  EXPECT_NE(refused(manifest(config("amd64"), Json(2000, layer()))).find("at most"), std::string::npos);
}

TEST_F(ManifestTest, ends_where_indexes_go_on) {
  Json inner = {{"schemaVersion", 2}, {"manifests", Json::array({image("amd64")})}};
  for (int i = 0; i < 5; ++i) inner = {{"schemaVersion", 2}, {"manifests", Json::array({add(std::string(kOci) + "index.v1+json", inner)})}};
  EXPECT_NE(refused(inner).find("deep"), std::string::npos);
}

}  // namespace
}  // namespace kiln::oci
