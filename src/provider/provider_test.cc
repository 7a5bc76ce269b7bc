#include "provider/provider.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::provider {
namespace {

const RegisterProvider third{"a-cloud", "c", Reach::kRemote, [] { return std::unique_ptr<Provider>(); }};
const RegisterProvider second{"test-b", "b", Reach::kHere, [] { return std::unique_ptr<Provider>(); }};
const RegisterProvider first{"test-a", "a", Reach::kHere, [] { return std::unique_ptr<Provider>(); }};

TEST(Providers, AreListedByNameThoseOfThisMachineFirst) {
  ASSERT_EQ(providers().size(), 3u);
  EXPECT_EQ(providers()[0].name, "test-a");
  EXPECT_EQ(providers()[1].doc, "b");
  EXPECT_EQ(providers()[2].name, "a-cloud");
}

TEST(Providers, NameIsGivenOnce) {
  EXPECT_THROW(RegisterProvider("test-a", "again", Reach::kHere, [] { return std::unique_ptr<Provider>(); }), Error);
}

TEST(Providers, UnknownOneSuggestsTheNearest) {
  try {
    make_provider("tets-a");
    ADD_FAILURE() << "no error";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.message(), "there is no provider 'tets-a'");
    EXPECT_EQ(error.hint_text(), "did you mean 'test-a'?");
  }
}

}  // namespace
}  // namespace kiln::provider
