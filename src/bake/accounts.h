// Accounts: modules that know nothing of each other may each add a user. Every one of their layers then holds a copy of /etc/passwd
// with its own line more, and the topmost would hide the others'. So these files are merged, line by line, before anything runs over
// all the layers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kiln::bake {

// passwd, group, shadow, gshadow, subuid, subgid below etc/.
bool is_account_file(std::string_view path);
const std::vector<std::string>& account_files();

struct AccountText {
  std::string module;  // empty: base and packages
  std::string text;
};
// `lowest` first, as the layers are stacked. Lines go by name (the part before the first ':'): those of the lowest, in its order, as
// the last module that changed them has them (members of groups from all), then each module's new ones.
// Error when two modules give one number to different names, or one name different numbers.
std::string merge_accounts(std::string_view path, const std::vector<AccountText>& layers);

// Whether two copies of passwd or group give one number to different names, or one name different numbers.
bool accounts_clash(std::string_view a, std::string_view b);

}  // namespace kiln::bake
