#include "base/files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"

namespace kiln {
namespace {

TEST(Files, ReadingAnAbsentFileSaysWhichAndWhy) {
  try {
    read_file("/nowhere/at/all");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "cannot open '/nowhere/at/all': No such file or directory");
  }
  EXPECT_FALSE(read_file_if_there("/nowhere/at/all"));
}

TEST(Files, AProcessThatEndsWhileItIsReadIsNotThere) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const Fd opened(::open(fmt::format("/proc/{}/cmdline", child).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(opened);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  // The way by /proc/self/fd opens a file that is gone by name: the kernel says so only when it is read.
  EXPECT_EQ(read_file_if_there(fmt::format("/proc/self/fd/{}", opened.get())), std::nullopt);
  EXPECT_EQ(read_file_if_there(fmt::format("/proc/{}/cmdline", child)), std::nullopt);
}

TEST(Files, AFolderIsListedInOrderAndAnAbsentOneIsEmpty) {
  const TemporaryFolder folder;
  for (const char* name : {"c", "a", "b"}) write_file_atomically(folder.path() / name, "");
  EXPECT_EQ(list_folder(folder.path()), (std::vector<fs::path>{folder.path() / "a", folder.path() / "b", folder.path() / "c"}));
  EXPECT_TRUE(list_folder(folder.path() / "none").empty());
  EXPECT_TRUE(list_folder(folder.path() / "a").empty());
}

TEST(Files, AtomicWriteReplacesContentAndModeAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x";
  write_file_atomically(path, "one", 0600);
  write_file_atomically(path, "two", 0640);
  EXPECT_EQ(read_file(path), "two");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Files, AFailedAtomicWriteLeavesTheOldContent) {
  const TemporaryFolder folder;
  make_folder(folder.path() / "x" / "inside");
  EXPECT_THROW(write_file_atomically(folder.path() / "x", "new"), Error);  // a folder cannot be replaced by a file
  EXPECT_TRUE(fs::is_directory(folder.path() / "x" / "inside"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Files, TreesWithUnwritableFoldersAreRemoved) {
  const TemporaryFolder folder;
  const auto deep = folder.path() / "a" / "b";
  make_folder(deep);
  write_file_atomically(deep / "file", "x");
  ::chmod(deep.c_str(), 0500);
  remove_tree(folder.path() / "a");
  EXPECT_FALSE(fs::exists(folder.path() / "a"));
  remove_tree(folder.path() / "a");  // absent is fine
}

TEST(Files, ALockIsHeldByOneUntilItsEnd) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "lock";
  {
    const FileLock held = FileLock::wait(path);
    EXPECT_FALSE(FileLock::try_now(path));
  }
  EXPECT_TRUE(FileLock::try_now(path));
  const FileLock one = FileLock::wait(path, FileLock::Mode::kShared);
  EXPECT_TRUE(FileLock::try_now(path, FileLock::Mode::kShared));
  EXPECT_FALSE(FileLock::try_now(path));
}

TEST(Files, SizesReadAsPeopleReadThem) {
  EXPECT_EQ(human_size(3), "3 B");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(std::uintmax_t{5} << 30), "5.0 GiB");
}

}  // namespace
}  // namespace kiln
