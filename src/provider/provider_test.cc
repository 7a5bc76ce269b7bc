#include "provider/provider.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::provider {
namespace {

const RegisterProvider second{"test-b", "b", [] { return std::unique_ptr<Provider>(); }};
const RegisterProvider first{"test-a", "a", [] { return std::unique_ptr<Provider>(); }};

TEST(Providers, AreListedByName) {
  ASSERT_EQ(providers().size(), 2u);
  EXPECT_EQ(providers()[0].name, "test-a");
  EXPECT_EQ(providers()[1].doc, "b");
}

TEST(Providers, NameIsGivenOnce) {
  EXPECT_THROW(RegisterProvider("test-a", "again", [] { return std::unique_ptr<Provider>(); }), Error);
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
