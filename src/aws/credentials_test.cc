// When credentials are fetched, when retries are made, and how long is waited: with a clock that is ticked.
#include "aws/credentials.h"

#include <gtest/gtest.h>

#include <thread>

#include "aws/endpoints.h"
#include "aws/retry.h"
#include "aws/wait.h"
#include "base/error.h"

namespace kiln::aws {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

struct FakeClock {
  Time now{seconds(1'800'000'000)};
  std::vector<std::int64_t> pauses;
  Surroundings surroundings() {
    return {[](const std::string&) { return std::nullopt; }, [this] { return now; },
            [this](std::chrono::milliseconds pause) {
              pauses.push_back(pause.count());
              now += pause;
            },
            [] { return 1.0; }};
  }
};

// Hands out keys that live for `life`; counts.
struct FakeSource {
  FakeClock& clock;
  minutes life{60};
  int fetched = 0;
  bool broken = false;
  Credentials operator()() {
    ++fetched;
    if (broken) fail("the source is broken");
    return {"key" + std::to_string(fetched), "secret", "", clock.now + life, "fake"};
  }
};

TEST(CredentialsCache, FetchesAnewBeforeTheEnd) {
  FakeClock clock;
  FakeSource source{clock};
  CredentialsCache cache([&] { return source(); }, clock.surroundings());
  EXPECT_EQ(cache.get().access_key_id, "key1");
  clock.now += minutes(44);
  EXPECT_EQ(cache.get().access_key_id, "key1");
  clock.now += minutes(2);
  EXPECT_EQ(cache.get().access_key_id, "key2");
}

TEST(CredentialsCache, ShortOnesAreUsedForThreeQuartersOfTheirLife) {
  FakeClock clock;
  FakeSource source{clock, minutes(8)};
  CredentialsCache cache([&] { return source(); }, clock.surroundings());
  cache.get();
  clock.now += minutes(5);
  EXPECT_EQ(cache.get().access_key_id, "key1");
  clock.now += minutes(2);
  EXPECT_EQ(cache.get().access_key_id, "key2");
}

TEST(CredentialsCache, AFailureIsNoMatterWhileTheOldOnesLive) {
  FakeClock clock;
  FakeSource source{clock};
  CredentialsCache cache([&] { return source(); }, clock.surroundings());
  cache.get();
  source.broken = true;
  clock.now += minutes(50);
  EXPECT_EQ(cache.get().access_key_id, "key1");
  EXPECT_EQ(cache.get().access_key_id, "key1");
  EXPECT_EQ(source.fetched, 2) << "one attempt a minute";
  clock.now += minutes(11);
  EXPECT_THROW(cache.get(), Error);
  source.broken = false;
  EXPECT_EQ(cache.get().secret_access_key, "secret");
}

TEST(CredentialsCache, RefusedOnesAreFetchedAnewOnceForAllThreads) {
  FakeClock clock;
  FakeSource source{clock};
  CredentialsCache cache([&] { return source(); }, clock.surroundings());
  const Credentials old = cache.get();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { EXPECT_TRUE(cache.refresh(old)); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(source.fetched, 2);
}

TEST(CredentialsCache, KeysThatStayTheSameAreNoHelp) {
  FakeClock clock;
  CredentialsCache cache([] { return Credentials{"key", "secret", "", {}, "fake"}; }, clock.surroundings());
  EXPECT_FALSE(cache.refresh(cache.get()));
}

TEST(Secrets, AreBlankedOut) {
  const Credentials keys{"AKIA", "s3cr3t", "t0k3n", {}, ""};
  EXPECT_EQ(without_secrets("AKIA s3cr3t t0k3ns3cr3t", keys), "AKIA *** ******");
}

TEST(Retry, PausesGrowAndTheServersWishCounts) {
  std::vector<std::int64_t> pauses;
  for (int attempt = 1; attempt <= 8; ++attempt) pauses.push_back(retry_pause(attempt, seconds(0), 1.0).count());
  EXPECT_EQ(pauses, (std::vector<std::int64_t>{1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000}));
  EXPECT_EQ(retry_pause(3, seconds(0), 0.25).count(), 1000);
  EXPECT_EQ(retry_pause(1, seconds(9), 0.5).count(), 9000);
  EXPECT_EQ(retry_pause(1, seconds(99'999), 0.5).count(), 30'000);
}

TEST(Retry, TheBudgetEndsAndComesBack) {
  RetryBudget budget;
  int taken = 0;
  while (budget.take(RetryBudget::kRetryCost)) ++taken;
  EXPECT_EQ(taken, 100);
  budget.give(5);
  EXPECT_TRUE(budget.take(5));
  budget.give(100'000);
  EXPECT_EQ(budget.left(), RetryBudget::kCapacity);
}

TEST(Wait, AsksUntilItIsSo) {
  FakeClock clock;
  int asked = 0;
  wait_until(clock.surroundings(), "it", seconds(60), [&] { return ++asked == 5; });
  EXPECT_EQ(clock.pauses, (std::vector<std::int64_t>{200, 300, 450, 675}));
}

TEST(Wait, EndsInTimeWithWhatWasWaitedFor) {
  FakeClock clock;
  const Time start = clock.now;
  try {
    wait_until(clock.surroundings(), "snapshot 'snap-1' to be completed", seconds(60), [] { return false; });
    FAIL();
  } catch (const WaitTimeout& error) {
    EXPECT_EQ(error.message(), "waiting for snapshot 'snap-1' to be completed took too long (waited 60 s)");
  }
  EXPECT_EQ(clock.now - start, seconds(60));
  EXPECT_THROW(wait_until(clock.surroundings(), "it", seconds(60), []() -> bool { fail("it is gone"); }), Error);
}

TEST(Times, AreReadAndWritten) {
  EXPECT_EQ(iso_time(*parse_iso_time("2026-11-21T17:23:25Z")), "2026-11-21T17:23:25Z");
  EXPECT_EQ(iso_time(*parse_iso_time("2026-11-21T17:23:25.123456+02:00")), "2026-11-21T15:23:25Z");
  EXPECT_EQ(iso_time(*parse_iso_time("2026-11-21T17:23:25UTC")), "2026-11-21T17:23:25Z");
  EXPECT_EQ(iso_time(*parse_http_time("Sat, 21 Nov 2026 17:23:25 GMT")), "2026-11-21T17:23:25Z");
  for (const char* bad : {"", "soon", "2026-13-01T00:00:00Z", "2026-11-21", "2026-11-21T17:23:25x"})
    EXPECT_FALSE(parse_iso_time(bad)) << bad;
  EXPECT_FALSE(parse_http_time("yesterday"));
}

TEST(Endpoints, WhatIsNoRegionIsRefused) {
  for (const char* bad : {"", "a b", "../x", "-a", "x.example.com", "é"}) EXPECT_THROW(standard_endpoint("ec2", bad), UsageError) << bad;
  EXPECT_EQ(partition_of("cn-north-1").name, "aws-cn");
  EXPECT_EQ(partition_of("us-isob-east-1").name, "aws-iso-b");
  EXPECT_EQ(partition_of("us-east-1").name, "aws");
}

}  // namespace
}  // namespace kiln::aws
