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

std::string to_lower(std::string_view text);  // ASCII only
// RFC 4648, with padding. from_base64() gives nothing for text that is not such.
std::string to_base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);
// Everything but letters, digits and "-._~" as %XX (RFC 3986), for a part of a URL.
std::string percent_encode(std::string_view text);
// Text for XML and HTML, also between double quotes: & < > " become &amp; &lt; &gt; &quot;.
std::string escape_xml(std::string_view text);

// `text` as one word for /bin/sh.
std::string shell_quote(std::string_view text);

// The candidate that `word` was probably meant to be: at most a third of its letters wrong (Levenshtein distance), else nothing.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kiln
