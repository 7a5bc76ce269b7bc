#include "provider/aws/launch_mark.h"

#include "base/error.h"
#include "base/strings.h"
#include "provider/aws/account.h"

namespace kiln::provider::on_aws {

namespace {

fs::path mark_of(const std::string& cluster) { return Account::folder_of(cluster) / "launching"; }
fs::path lock_of(const std::string& cluster) { return Account::folder_of(cluster) / "lock"; }

FileLock take_lock(const std::string& cluster) {
  make_folder(Account::folder_of(cluster), 0700);
  auto lock = FileLock::try_now(lock_of(cluster));
  if (!lock) fail_usage("another kiln on this machine launches a cluster '{}' just now", cluster);
  return std::move(*lock);
}

}  // namespace

LaunchMark::LaunchMark(const std::string& cluster, const std::string& launch) : lock_(take_lock(cluster)) {
  write_file_atomically(mark_of(cluster), launch + "\n");
}

std::optional<FileLock> LaunchMark::hold_off(const std::string& cluster) {
  std::error_code ignored;
  if (!fs::exists(Account::folder_of(cluster), ignored)) return std::nullopt;
  return FileLock::try_now(lock_of(cluster));
}

bool LaunchMark::is_abandoned(const std::string& cluster, const std::string& launch) {
  const auto text = read_file_if_there(mark_of(cluster));
  return text && trim(*text) == launch && FileLock::try_now(lock_of(cluster));
}

}  // namespace kiln::provider::on_aws
