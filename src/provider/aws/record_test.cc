#include "provider/aws/record.h"

#include <gtest/gtest.h>

namespace kiln::provider::on_aws {
namespace {

Machine machine(const std::string& role, int number, const std::string& state = "running") {
  Machine made;
  made.role = role;
  made.name = fmt::format("{}-{}", role, number);
  made.state = state;
  return made;
}

std::vector<std::string> holders_of(const Record& record) {
  std::vector<std::string> names;
  for (const Machine* holder : record.copy_holders()) names.push_back(holder->name);
  return names;
}

// However many workers there are: each copy is a request of its own.
TEST(Record, TwoWorkersThatRunHoldTheNotes) {
  Record record;
  record.instances = {machine("master", 1), machine("worker", 1, "stopped")};
  EXPECT_TRUE(holders_of(record).empty());
  for (int number = 2; number <= 100; ++number) record.instances.push_back(machine("worker", number));
  EXPECT_EQ(holders_of(record), (std::vector<std::string>{"worker-2", "worker-3"}));
}

}  // namespace
}  // namespace kiln::provider::on_aws
