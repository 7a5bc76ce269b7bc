#include "node/lease.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"

namespace kiln::node {

TEST(Lease, NewestWordCounts) {
  const TemporaryFolder work;
  const auto file = work.path() / "lease.json";
  const Lease given{1000, 0};
  EXPECT_EQ(load_lease(file, given), given);
  save_lease(file, {2000, 500});
  EXPECT_EQ(load_lease(file, given), (Lease{2000, 500}));
  EXPECT_EQ(load_lease(file, {3000, 600}), (Lease{3000, 600}));
  save_lease(file, {std::nullopt, 700});
  EXPECT_EQ(load_lease(file, given), (Lease{std::nullopt, 700}));
}

TEST(Lease, BrokenFileLeavesTheDocumentsWord) {
  const TemporaryFolder work;
  const auto file = work.path() / "lease.json";
  for (const char* text : {"", "{\"until\": 1", "[]", "{\"until\": \"soon\", \"version\": 9}", "{\"version\": 9}"}) {
    write_file_atomically(file, text);
    EXPECT_EQ(load_lease(file, {1000, 0}), (Lease{1000, 0})) << text;
  }
}

TEST(Lease, WhatIsNoneIsAnError) {
  EXPECT_EQ(lease_from_json(lease_to_json({1000, 5})), (Lease{1000, 5}));
  EXPECT_THROW(lease_from_json(Json::object()), Error);
  EXPECT_THROW(lease_from_json(Json()), Error);
}

}  // namespace kiln::node
