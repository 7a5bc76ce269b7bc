// XML and JSON answers, and the forms that are sent.
#include "aws/answer.h"

#include <gtest/gtest.h>

#include "aws/client.h"
#include "aws/ec2.h"
#include "aws/query.h"
#include "base/error.h"

namespace kiln::aws {
namespace {

TEST(Answer, ListsAreListsWithNoneOneOrMoreElements) {
  const Json answer = xml_to_json(
      "<R><none/><one><item><id>a</id></item></one><two><item>b</item><item>c</item></two><names><member>d</member></names>"
      "<Contents><Key>e</Key></Contents><Pair>f</Pair><Pair>g</Pair></R>");
  EXPECT_EQ(list(answer, "none").size(), 0u);
  EXPECT_EQ(list(answer, "absent").size(), 0u);
  EXPECT_EQ(text(answer, "one/0/id"), "a");
  EXPECT_EQ(list(answer, "two"), (std::vector<Json>{"b", "c"}));
  EXPECT_EQ(list(answer, "names"), (std::vector<Json>{"d"}));
  EXPECT_EQ(text(list(answer, "Contents").at(0), "Key"), "e");
  EXPECT_EQ(list(answer, "Pair"), (std::vector<Json>{"f", "g"}));
}

TEST(Answer, TextKeepsBlanksAndEntitiesAndNamespacesAreLeftOut) {
  const Json answer =
      xml_to_json("<?xml version='1.0'?>\n<a:R xmlns:a='x'>\n  <a:k> b &lt;&#9731;</a:k>\n  <c><![CDATA[<d>]]></c>\n  <e> </e></a:R>");
  EXPECT_EQ(text(answer, "k"), " b <☃");
  EXPECT_EQ(text(answer, "c"), "<d>");
  EXPECT_EQ(text(answer, "e"), " ");
}

TEST(Answer, WhatIsAbsentIsEmpty) {
  const Json answer = Json::object({{"n", 5}, {"yes", true}, {"said", "true"}, {"s", "7"}, {"list", Json::array({"a"})}});
  EXPECT_EQ(text(answer, "list/3"), "");
  EXPECT_EQ(text(answer, "list/x"), "");
  EXPECT_EQ(text(answer, "n/deeper"), "");
  EXPECT_EQ(integer(answer, "n"), 5);
  EXPECT_EQ(integer(answer, "s"), 7);
  EXPECT_EQ(integer(answer, "said"), std::nullopt);
  EXPECT_TRUE(flag(answer, "yes"));
  EXPECT_TRUE(flag(answer, "said"));
  EXPECT_FALSE(flag(answer, "no"));
  EXPECT_THROW(required_text(answer, "gone"), Error);
}

TEST(Answer, TagsAreFoundInBothForms) {
  const Json instance = Json::object({{"tagSet", Json::array({Json::object({{"key", "a"}, {"value", "1"}})})}});
  const Json role = Json::object({{"Tags", Json::array({Json::object({{"Key", "a"}, {"Value", ""}})})}});
  EXPECT_EQ(tag(instance, "a"), "1");
  EXPECT_EQ(tag(role, "a"), "");
  EXPECT_EQ(tag(role, "b"), std::nullopt);
}

TEST(Answer, BytesThatAreNoTextCanBePrinted) { EXPECT_EQ(text(xml_to_json("<r><a>x\xff</a></r>"), "a"), "x\xef\xbf\xbd"); }

TEST(Query, TreesBecomeNumberedNames) {
  const Json params = Json::object({{"Filter", Json::array({Json::object({{"Name", "a b"}, {"Value", Json::array({"1", "2"})}})})},
                                    {"DryRun", true},
                                    {"MaxResults", 5},
                                    {"Gone", nullptr}});
  EXPECT_EQ(query_form("DescribeX", "V", params, QueryLists::kFlat),
            "Action=DescribeX&Version=V&DryRun=true&Filter.1.Name=a%20b&Filter.1.Value.1=1&Filter.1.Value.2=2&MaxResults=5");
  EXPECT_EQ(query_form("TagRole", "V", Json::object({{"TagKeys", Json::array({"x"})}}), QueryLists::kMember),
            "Action=TagRole&Version=V&TagKeys.member.1=x");
  EXPECT_THROW(query_form("X", "V", Json::array({1}), QueryLists::kFlat), Error);
  EXPECT_EQ(filters({{"state", {"a", "b"}}})["Filter"][0]["Value"][1], "b");
}

TEST(Repeatable, OnlyWhatSaysTheSameWhenSaidTwice) {
  for (const char* operation :
       {"DescribeInstances", "TerminateInstances", "DeleteVpc", "CreateTags", "StopInstances", "DeregisterImage", "PutRolePolicy"})
    EXPECT_TRUE(is_repeatable(operation, Json::object())) << operation;
  for (const char* operation :
       {"RunInstances", "CreateVpc", "CopyImage", "RegisterImage", "AttachVolume", "AllocateAddress", "StartSnapshot", "CreateKeyPair"})
    EXPECT_FALSE(is_repeatable(operation, Json::object())) << operation;
  EXPECT_TRUE(is_repeatable("RunInstances", Json::object({{"ClientToken", "x"}})));
}

TEST(ErrorAnswers, AreReadInAllForms) {
  const auto xml = read_error(
      {400, {}, "<Response><Errors><Error><Code>A.B</Code><Message>m</Message></Error></Errors><RequestID>r</RequestID></Response>"});
  EXPECT_EQ(xml.code + xml.message + xml.request_id, "A.Bmr");
  const auto iam = read_error(
      {404, {}, "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>m</Message></Error><RequestId>q</RequestId></ErrorResponse>"});
  EXPECT_EQ(iam.code + iam.request_id, "NoSuchEntityq");
  const auto s3 =
      read_error({404, {}, "<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>m</Message><RequestId>q</RequestId></Error>"});
  EXPECT_EQ(s3.code, "NoSuchKey");
  const auto json = read_error({400, {{"x-amzn-requestid", "i"}}, R"({"__type":"com.amazonaws.ssm#ParameterNotFound","message":"m"})"});
  EXPECT_EQ(json.code + json.request_id, "ParameterNotFoundi");
  const auto ebs = read_error({400, {{"x-amzn-errortype", "ValidationException:http://x"}}, R"({"Message":"m","Reason":"R"})"});
  EXPECT_EQ(ebs.code + ebs.message, "ValidationExceptionm");
  EXPECT_EQ(read_error({503, {}, ""}).code, "Http503");
}

}  // namespace
}  // namespace kiln::aws
