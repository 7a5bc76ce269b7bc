// Small string helpers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kiln {

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);

// `text` as one word for /bin/sh.
std::string shell_quote(std::string_view text);

// The candidate that `word` was probably meant to be: at most a third of its letters wrong (Levenshtein distance), else nothing.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kiln
