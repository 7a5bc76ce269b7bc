// Names, sizes and durations.
#include "config/names.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"

namespace kiln::config {
namespace {

struct BadWord {
  std::string text, message, hint;
};

void expect_refused(const std::vector<BadWord>& cases, const std::function<void(const std::string&)>& check) {
  for (const auto& bad : cases) {
    SCOPED_TRACE("'" + bad.text + "'");
    try {
      check(bad.text);
      ADD_FAILURE() << "was accepted";
    } catch (const UsageError& error) {
      EXPECT_NE(error.message().find(bad.message), std::string::npos) << error.what();
      EXPECT_NE(error.hint_text().find(bad.hint), std::string::npos) << error.hint_text();
      if (bad.hint.empty()) {
        EXPECT_EQ(error.hint_text(), "");
      }
    }
  }
}

TEST(Names, clusters_become_host_names) {
  for (const char* good : {"a", "demo", "prod-2", "x0"}) EXPECT_NO_THROW(check_cluster_name(good)) << good;
  expect_refused({{"", "is no cluster name", ""},
                  {"Demo", "'Demo' is no cluster name", "'demo' would do"},
                  {"my_cluster", "starting with a letter", "'my-cluster' would do"},
                  {"9lives", "starting with a letter", "'lives' would do"},
                  {"demo-", "not ending in '-'", "'demo' would do"},
                  {"-demo", "is no cluster name", "'demo' would do"},
                  {"a b", "is no cluster name", "'a-b' would do"},
                  {"../../etc", "is no cluster name", "'etc' would do"},
                  {"a/b", "is no cluster name", "'a-b' would do"},
                  {std::string(40, 'x'), "1 to 32", std::string(32, 'x')},
                  {std::string("a\0b", 3), "'a\\x00b' is no cluster name", "'a-b' would do"},
                  {"…", "is no cluster name", ""}},
                 [](const std::string& name) { check_cluster_name(name); });
}

TEST(Names, images_and_modules_may_have_dots) {
  for (const char* good : {"spark", "spark-4.1", "4", "a_b"}) {
    EXPECT_NO_THROW(check_image_name(good)) << good;
    EXPECT_NO_THROW(check_module_name(good)) << good;
  }
  const std::vector<BadWord> bad = {{"", "is no", ""},         {".hidden", "is no", "'hidden'"},
                                    {"..", "is no", ""},       {"Spark", "is no", "'spark'"},
                                    {"a:b", "is no", "'a-b'"}, {std::string(65, 'x'), "1 to 64", "would do"}};
  expect_refused(bad, [](const std::string& name) { check_image_name(name); });
  expect_refused(bad, [](const std::string& name) { check_module_name(name); });
}

TEST(Names, sizes_are_powers_of_1024) {
  EXPECT_EQ(parse_size_bytes("x", "0"), 0);
  EXPECT_EQ(parse_size_bytes("x", "4096"), 4096);
  EXPECT_EQ(parse_size_bytes("x", "1k"), 1024);
  EXPECT_EQ(parse_size_bytes("x", "512m"), 512LL << 20);
  EXPECT_EQ(parse_size_bytes("x", "512MB"), 512LL << 20);
  EXPECT_EQ(parse_size_bytes("x", "2g"), 2LL << 30);
  EXPECT_EQ(parse_size_bytes("x", "1.5 GiB"), 3LL << 29);
  EXPECT_EQ(parse_size_bytes("x", " 3t "), 3LL << 40);
  expect_refused({{"", "--memory cannot be '': a size starts with a number", "512m"},
                  {"m", "a size starts with a number", "512m"},
                  {"-1g", "not negative", "512m"},
                  {"inf", "a size starts with a number", "512m"},
                  {"nan", "a size starts with a number", "512m"},
                  {"1.5", "a part of a byte", "512m"},
                  {"2 apples", "'apples' is no unit", "512m"},
                  {"1e3", "'e3' is no unit", "512m"},
                  {"1,5g", "is no unit", "512m"},
                  {"99999999t", "too large", ""},
                  {"1" + std::string(400, '0'), "too large", ""}},
                 [](const std::string& text) { parse_size_bytes("--memory", text); });
}

TEST(Names, durations_need_a_unit) {
  EXPECT_EQ(parse_duration("x", "90s").count(), 90);
  EXPECT_EQ(parse_duration("x", "15m").count(), 900);
  EXPECT_EQ(parse_duration("x", "8h").count(), 28800);
  EXPECT_EQ(parse_duration("x", "2d").count(), 172800);
  EXPECT_EQ(parse_duration("x", "1h30m").count(), 5400);
  EXPECT_EQ(parse_duration("x", "1d 2H").count(), 93600);
  EXPECT_EQ(parse_duration("x", "0s").count(), 0);
  expect_refused({{"", "--ttl cannot be '': a time has a number and a unit", "90s"},
                  {"90", "a time needs a unit", "'90s', '90m' or '90h'?"},
                  {"h", "a time starts with a number", "90s"},
                  {"-5m", "not negative", "90s"},
                  {"1.5h", "units of time are s, m, h and d", "90s"},
                  {"5 weeks", "units of time", "90s"},
                  {"30m1h", "longest first", "90s"},
                  {"1m1m", "longest first", "90s"},
                  {"10min", "units of time", "90s"},
                  {"99999999999d", "too long", ""},
                  {"99999999999999999999d", "too long", ""}},
                 [](const std::string& text) { parse_duration("--ttl", text); });
}

}  // namespace
}  // namespace kiln::config
