// main() of every unit-test program: a test may start cells, which are the running program itself.
#include <gtest/gtest.h>

#include "container/cell.h"

int main(int argc, char** argv) {
  kiln::container::maybe_run_as_cell(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
