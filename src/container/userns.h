// An ordinary user's way to be root inside a cell: a user namespace with the subordinate ids that /etc/subuid and /etc/subgid give.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kiln::container {

struct IdRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// The ranges of `user` (name or number) in the text of /etc/subuid or /etc/subgid; lines that make no sense are passed over.
std::vector<IdRange> parse_subordinate_ids(const std::string& text, const std::string& user, std::uint32_t number);

// This user's, from FILE ("/etc/subuid", "/etc/subgid").
std::vector<IdRange> subordinate_ids(const std::string& file);
std::uint64_t count_of(const std::vector<IdRange>& ranges);
// The fewest ids that an image can need: nobody and nogroup have number 65534.
inline constexpr std::uint64_t kFewestIds = 65536;

std::string user_name();

// Moves this process, which must have one thread, into a new user namespace: 0 inside is the user, 1, 2, … are the subordinate ids.
// Error with the command that mends it when the user has none or the kernel says no.
void enter_user_namespace();

// For root: a user namespace in which all ids are what they are outside. It holds what a user namespace can have of its own
// (binfmt_misc), and lacks what only the machine's root may.
void enter_own_user_namespace();

}  // namespace kiln::container
