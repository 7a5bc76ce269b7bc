// The YAML reader by itself: what no document may be, and what reads give.
#include "config/yaml.h"

#include <gtest/gtest.h>

#include "config/bad_input.h"

namespace kiln::config {
namespace {

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// Each level names the one above ten times: 10^8 values from nine lines.
std::string billion_laughs() {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string above = fmt::format("*a{}", i - 1);
    text += fmt::format("a{0}: &a{0} [{1}, {1}, {1}, {1}, {1}, {1}, {1}, {2}{1}, {1}, {1}]\n", i, above, i == 4 ? "»" : "");
  }
  return text;
}

const std::vector<BadInput> kBadDocuments = {
    {"tab in the indentation", "name: x\nbase:\n»\tdebian: trixie\n", "a tab in the indentation", "blanks only"},
    {"tab before a list's dash", "name: x\nmodules:\n  - java\n»\t- spark\n", "a tab in the indentation", "blanks only"},
    {"duplicate key", "name: x\nbase: {debian: trixie}\n»name: y\n", "key 'name' is given twice", "line 1"},
    {"duplicate key in braces", "base: {debian: trixie, »debian: bookworm}\n", "key 'debian' is given twice", "line 1"},
    {"unclosed bracket", "name: x\npackages: [a, b\n»", "not valid YAML", ""},
    {"unclosed quote", "name: »\"x\n", "a quote is opened here and never closed", ""},
    {"unclosed quote behind an anchor", "a: [1]\nname: »&x 'it''s\n", "never closed", ""},
    {"value with a colon", "summary: Spark»: fast\n", "not valid YAML", "quote a value"},
    {"unknown alias", "name: »*nobody\n", "not valid YAML", ""},
    {"alias inside of itself", "a: &a [x, »*a]\n", "the alias stands inside of what it names", ""},
    {"alias bomb", billion_laughs(), "more than 100000 values", ""},
    {"too deep", repeated("[", 64) + "»[" + repeated("]", 65), "nest more than 64 deep", ""},
    {"far too deep", repeated("[", 64) + "»" + repeated("[", 5000) + repeated("]", 5064), "nest more than 64 deep", ""},
    {"second document", "name: x\n»---\nname: y\n", "a second document", "'---'"},
    {"list as a key", "»[a, b]: c\n", "a key must be a plain word", ""},
    {"map as a key", "? »{a: b}\n: c\n", "a key must be a plain word", ""},
    {"no key", "»: c\n", "a key must be a plain word", ""},
    {"merge key", "a: &a {b: c}\nd:\n  »<<: *a\n", "merge keys", "write the members out"},
    {"tag", "a: »!!python/object x\n", "tag 'tag:yaml.org,2002:python/object' means nothing", "remove the tag"},
    {"latin 1", std::string("name: x\nsummary: caf»\xE9\n"), "byte 0xe9 is not UTF-8", "UTF-8"},
    {"overlong UTF-8", "a: »\xC0\xAF\n", "byte 0xc0 is not UTF-8", "UTF-8"},
    {"UTF-16", std::string("»\xFF\xFEn\0a\0", 8), "UTF-16", "UTF-8"},
    {"NUL byte", std::string("name: »\0", 9) + "x\n", "control character 0x00", "remove it"},
    {"escape sequence", "name: »\x1B[31mred\n", "control character 0x1b", "remove it"},
    {"too long", "»" + std::string(kMaxConfigBytes + 1, '#'), "longer than", ""},
};

TEST(Yaml, refuses_what_no_document_may_be) {
  expect_refused(kBadDocuments, [](const std::string& file, const std::string& text) { Value::parse(file, text); });
}

const std::vector<BadInput> kBadReads = {
    {"list for text", "text: »[a]\n", "'text' must be text, found a list", ""},
    {"placeholder without quotes", "text: »{version}\n", "'text' must be text, found a map", "quote it: \"{version}\""},
    {"word for a number", "int: »many\n", "'int' must be a whole number, found 'many'", ""},
    {"part of a number", "int: »2.5\n", "'int' must be a whole number, found '2.5'", ""},
    {"number out of range", "int: »11\n", "'int' must be 0 to 10, found '11'", ""},
    {"number out of every range", "int: »99999999999999999999\n", "'int' must be 0 to 10", ""},
    {"number that is none", "number: »nan\n", "'number' must be", ""},
    {"mistyped truth", "bool: »ture\n", "'bool' must be true or false, found 'ture'", "did you mean 'true'?"},
    {"map for a list", "list: »{a: b}\n", "'list' must be a list, found a map", ""},
    {"text for a list", "list: »a\n", "'list' must be a list, found 'a'", "write '[a]'"},
    {"text for a map", "map: »a\n", "'map' must be a map, found 'a'", ""},
    {"mistyped word", "word: »mastre\n", "'word' cannot be 'mastre'", "did you mean 'master'?"},
    {"strange word", "word: »x\n", "'word' cannot be 'x'", "one of master, worker"},
    {"size without number", "size: »big\n", "'size' cannot be 'big'", "512m"},
    {"size with a strange unit", "size: »5 apples\n", "'apples' is no unit of size", "512m"},
    {"time without unit", "time: »90\n", "a time needs a unit", "'90s', '90m' or '90h'?"},
    {"unknown key", "»lsit: [a]\n", "unknown key 'lsit' in the test", "did you mean 'list'?"},
};

TEST(Yaml, refuses_values_of_another_type) {
  expect_refused(kBadReads, [](const std::string& file, const std::string& text) {
    const Value root = Value::parse(file, text);
    root.only_keys("the test", {"text", "int", "number", "bool", "list", "map", "word", "size", "time"});
    if (!root["text"].is_null()) root["text"].as_string("'text'");
    if (!root["int"].is_null()) root["int"].as_int("'int'", 0, 10);
    if (!root["number"].is_null()) root["number"].as_number("'number'", 0, 10);
    if (!root["bool"].is_null()) root["bool"].as_bool("'bool'");
    if (!root["word"].is_null()) root["word"].as_word("'word'", {"master", "worker"});
    if (!root["size"].is_null()) root["size"].as_size_bytes("'size'");
    if (!root["time"].is_null()) root["time"].as_duration("'time'");
    root["list"].as_list("'list'");
    root["map"].as_map("'map'");
  });
}

TEST(Yaml, reads_scalars_as_they_were_written) {
  const Value root = Value::parse("f", "a: 4.10\nb: \"007\"\nc: yes\nd: OFF\ne:\nf: ~\ng: |\n  two\n  lines\nh: 2.5\ni: ''\n");
  EXPECT_EQ(root["a"].as_string("a"), "4.10");
  EXPECT_EQ(root["b"].as_string("b"), "007");
  EXPECT_TRUE(root["c"].as_bool("c"));
  EXPECT_FALSE(root["d"].as_bool("d"));
  EXPECT_TRUE(root["e"].is_null());
  EXPECT_TRUE(root["f"].is_null());
  EXPECT_TRUE(root["absent"].is_null());
  EXPECT_EQ(root["g"].as_string("g"), "two\nlines\n");
  EXPECT_DOUBLE_EQ(root["h"].as_number("h", 0, 10), 2.5);
  EXPECT_FALSE(root["i"].is_null());
}

TEST(Yaml, keeps_the_order_of_keys_and_takes_a_scalar_as_a_list_of_one) {
  const Value root = Value::parse("f", "z: one\na: [one, two]\n");
  const auto members = root.as_map("root");
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].first, "z");
  EXPECT_EQ(root["z"].as_strings("z"), std::vector<std::string>{"one"});
  EXPECT_EQ(root["a"].as_strings("a"), (std::vector<std::string>{"one", "two"}));
}

TEST(Yaml, follows_aliases_and_points_at_where_they_are_used) {
  const Value root = Value::parse("f", "a: &a {b: [1, 2]}\nc: *a\n");
  EXPECT_EQ(root["c"]["b"].as_strings("b").size(), 2u);
  EXPECT_EQ(root["c"].position().line, 2);
  EXPECT_EQ(root["c"].position().column, 4);
}

TEST(Yaml, an_empty_document_is_null) {
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "\xEF\xBB\xBF"}) EXPECT_TRUE(Value::parse("f", text).is_null()) << text;
}

TEST(Yaml, a_byte_order_mark_moves_no_position) { EXPECT_EQ(Value::parse("f", "\xEF\xBB\xBFname: x\n")["name"].position().column, 7); }

TEST(ConfigError, shows_the_line_and_a_caret_under_the_place) {
  const ConfigError error("images/x.yaml", "name: x\n\nbase: {}\npakages: [a]\n", {4, 1}, "unknown key 'pakages'",
                          "did you mean 'packages'?");
  EXPECT_STREQ(error.what(),
               "images/x.yaml:4:1: unknown key 'pakages'\n"
               "  4 | pakages: [a]\n"
               "    | ^");
  EXPECT_EQ(error.hint_text(), "did you mean 'packages'?");
  EXPECT_EQ(error.one_line(), "images/x.yaml:4:1: unknown key 'pakages'; did you mean 'packages'?");
}

TEST(ConfigError, caret_stands_right_behind_letters_of_several_bytes_and_tabs) {
  // ü has two bytes; the tab is repeated below, so that any tab width lines up.
  const ConfigError error("f", "ü\tx: 1\r\n", {1, 4}, "no");
  EXPECT_STREQ(error.what(), "f:1:4: no\n  1 | ü\tx: 1\n    |  \t^");
}

TEST(ConfigError, shows_a_window_of_a_long_line_and_no_control_characters) {
  const std::string text = std::string(5000, 'a') + "\x1B" + std::string(5000, 'b');
  const ConfigError error("f", text, {1, 5001}, "here");
  const std::string shown = error.what();
  EXPECT_LT(shown.size(), 300u);
  EXPECT_EQ(shown.find('\x1B'), std::string::npos);
  EXPECT_NE(shown.find("a?b"), std::string::npos);
}

TEST(ConfigError, a_place_without_a_file_is_a_plain_usage_error) {
  try {
    Place{}.fail("no such thing", "try another");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "no such thing");
    EXPECT_EQ(error.hint_text(), "try another");
  }
}

}  // namespace
}  // namespace kiln::config
