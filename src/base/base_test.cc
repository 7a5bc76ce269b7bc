// Strings, digests, events and parallel work.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/strings.h"

namespace kiln {
namespace {

TEST(Strings, NearestSuggestsTyposAndNothingElse) {
  const std::vector<std::string> words = {"packages", "params", "sources", "services"};
  EXPECT_EQ(nearest("pakages", words), "packages");
  EXPECT_EQ(nearest("param", words), "params");
  EXPECT_EQ(nearest("zebra", words), std::nullopt);
  EXPECT_EQ(nearest("x", words), std::nullopt);
}

TEST(Strings, QuotedWordsSurviveTheShell) {
  EXPECT_EQ(shell_quote("plain-word_1.txt"), "plain-word_1.txt");
  EXPECT_EQ(shell_quote(""), "''");
  EXPECT_EQ(shell_quote("it's $HOME"), "'it'\\''s $HOME'");
}

TEST(Strings, EscapedTextIsNoMarkup) { EXPECT_EQ(escape_xml("a < b && \"c\" > d"), "a &lt; b &amp;&amp; &quot;c&quot; &gt; d"); }

TEST(Strings, SplitAndJoinAreInverse) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(join(split("a,,b", ','), ","), "a,,b");
  EXPECT_EQ(trim("  x y\n"), "x y");
}

TEST(Hash, KnownAnswers) {
  // FIPS 180-4, the one-block example; RFC 4231, test cases 2 and 6 (a key longer than a block).
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hmac_sha256_hex("Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac_sha256_hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(random_hex(16).size(), 32u);
  EXPECT_NE(random_hex(16), random_hex(16));
}

TEST(Hash, FilesHashAsTheirContent) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "x", std::string(3'000'000, 'q'));
  EXPECT_EQ(sha256_hex_of_file(folder.path() / "x"), sha256_hex(std::string(3'000'000, 'q')));
}

class Collector : public EventSink {
 public:
  void on_event(const Event& event) override { events.push_back(event); }
  std::vector<Event> events;
};

TEST(Activity, AnExceptionEndsItAsFailed) {
  const auto collector = std::make_shared<Collector>();
  add_sink(collector);
  try {
    const Activity activity("work");
    throw Error("no");
  } catch (const Error&) {
  }
  { const Activity activity("more"); }
  remove_sink(collector);
  ASSERT_EQ(collector->events.size(), 4u);
  EXPECT_FALSE(collector->events[1].ok);
  EXPECT_TRUE(collector->events[3].ok);
  EXPECT_EQ(collector->events[0].id, collector->events[1].id);
}

TEST(Activity, EventsSurviveTheWire) {
  Event event;
  event.kind = Event::Kind::kEnd;
  event.time = 12.5;
  event.id = 7;
  event.node = "worker-1";
  event.name = "service spark.worker";
  event.ok = false;
  event.fields = {{"exit_code", 1}};
  const Event back = Event::from_json(Json::parse(event.to_json().dump()));
  EXPECT_EQ(back.to_json(), event.to_json());
  EXPECT_THROW(Event::from_json(Json{{"kind", "bogin"}}), Error);
  EXPECT_THROW(Event::from_json(Json{{"kind", "end"}, {"id", "seven"}}), Error);
  EXPECT_THROW(Event::from_json(Json::array()), Error);
}

TEST(Parallel, EveryIndexOnceAndNoMoreThanAskedAtATime) {
  std::mutex lock;
  std::multiset<std::size_t> seen;
  std::atomic<int> now{0}, most{0};
  parallel_for(50, 4, [&](std::size_t index) {
    const int at_once = ++now;
    int expected = most;
    while (at_once > expected && !most.compare_exchange_weak(expected, at_once)) {
    }
    std::this_thread::yield();
    {
      const std::lock_guard guard(lock);
      seen.insert(index);
    }
    --now;
  });
  EXPECT_EQ(seen.size(), 50u);
  EXPECT_EQ(std::set<std::size_t>(seen.begin(), seen.end()).size(), 50u);
  EXPECT_LE(most, 4);
}

TEST(Parallel, AGraphRunsInOrderAndFinishesWhatDoesNotDependOnAFailure) {
  std::mutex lock;
  std::vector<std::string> ran;
  const auto note = [&](const char* name) {
    return [&, name] {
      const std::lock_guard guard(lock);
      ran.emplace_back(name);
    };
  };
  const std::vector<GraphTask> tasks = {{"base", {}, note("base")},
                                        {"bad", {0}, [] { throw Error("bad failed"); }},
                                        {"above", {1}, note("above")},
                                        {"other", {0}, note("other")}};
  EXPECT_THROW(run_graph(tasks, 3), Error);
  EXPECT_EQ(ran, (std::vector<std::string>{"base", "other"}));
}

}  // namespace
}  // namespace kiln
