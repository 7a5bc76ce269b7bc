#include "config/aws_spec.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::config {
namespace {

AwsSpec read(const std::string& text) { return read_aws_spec(Value::parse("cluster.yaml", text)); }

TEST(AwsSpec, IsTheSameAfterJson) {
  const AwsSpec spec = read(R"(
region: eu-central-1
zone: all
instance_type: [m7i.xlarge, m6i.xlarge]
master_type: m7i.large
spot_price: 0.08
spot_fallback: true
volumes: 2
volume_type: io2
volume_iops: 600
root_size: 40
private: true
security_groups: [sg-1, monitoring]
authorized: [203.0.113.7/32]
tags: {team: analytics}
instance_profile: auto
s3: [data/in, results]
)");
  EXPECT_EQ(spec.s3, (std::vector<std::string>{"data/in", "results"}));
  EXPECT_EQ(types_of(spec, "worker"), (std::vector<std::string>{"m7i.xlarge", "m6i.xlarge"}));
  EXPECT_EQ(types_of(spec, "master"), std::vector<std::string>{"m7i.large"});
  EXPECT_TRUE(spec.is_private && spec.spot_fallback && !spec.spot_masters);
  EXPECT_EQ(spec.volumes, 2);
  const Json json = aws_spec_to_json(spec);
  EXPECT_EQ(aws_spec_to_json(aws_spec_from_json(JsonReader(json, "spec"))), json);
  EXPECT_EQ(json.at("tags").at("team"), "analytics");
}

TEST(AwsSpec, MastersAreOfTheWorkersTypesUnlessSaid) {
  EXPECT_EQ(types_of(read("instance_type: m5.large"), "master"), std::vector<std::string>{"m5.large"});
  EXPECT_EQ(types_of(AwsSpec(), "master"), std::vector<std::string>{"m7i.xlarge"});
}

TEST(AwsSpec, ReadsWhatAnEarlierKilnKept) {
  const Json kept = {{"region", "us-east-1"}, {"instance_type", "m5.large"}, {"authorized", Json::array({"198.51.100.10/32"})}};
  const AwsSpec spec = aws_spec_from_json(JsonReader(kept, "spec"));
  EXPECT_EQ(spec.region, "us-east-1");
  EXPECT_EQ(spec.volumes, 0);
  EXPECT_EQ(spec.shutdown, "terminate");
}

TEST(AwsSpec, RefusesWhatCannotBe) {
  for (const char* text : {"volumes: 12",
                           "{volumes: 1, volume_type: io2}",
                           "{volumes: 1, volume_type: gp2, volume_iops: 300}",
                           "{volumes: 1, volume_type: st1}",
                           "volume_size: 50",
                           "{spot_price: max, shutdown: stop}",
                           "spot_price: 0",
                           "spot_price: 1.2.3",
                           "spot_fallback: true",
                           "instance_type: [m5.large, big]",
                           "tags: {\"aws:x\": y}",
                           "authorized: [0.0.0.0/0]",
                           "{zone: all, subnet: subnet-1}",
                           "shutdown: hibernate",
                           "instance_profile: auto",
                           "s3: [data]",
                           "{instance_profile: mine, s3: [data]}",
                           "{instance_profile: auto, s3: [\"data/*\"]}",
                           "{instance_profile: auto, s3: [\"s3://data\"]}",
                           "{instance_profile: auto, s3: [/in]}"})
    EXPECT_THROW(read(text), UsageError) << text;
}

}  // namespace
}  // namespace kiln::config
