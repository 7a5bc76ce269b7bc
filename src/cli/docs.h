// The pages of the commands, the man page and the shell completions, all made from the same text as --help.
#pragma once

#include <filesystem>

namespace kiln::cli {

// Writes FOLDER/commands/NAME.md (and README.md, the overview), FOLDER/kiln.1 and FOLDER/completions/{kiln.bash,_kiln,kiln.fish}.
void write_docs(const std::filesystem::path& folder);

}  // namespace kiln::cli
