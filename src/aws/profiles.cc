#include "aws/profiles.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v\x1c\x1d\x1e\x1f";

std::string_view strip(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view strip_end(std::string_view text) {
  const std::size_t last = text.find_last_not_of(kBlanks);
  return last == std::string_view::npos ? std::string_view() : text.substr(0, last + 1);
}

[[noreturn]] void fail_at(const std::string& file, std::size_t line, const std::string& why) {
  Error error(fmt::format("{}:{}: {}", file, line, why));
  error.set_hint("see \"Configuration and credential file settings\" in the AWS CLI's guide");
  throw error;
}

// Reads line by line as configparser does: what a line is depends on its indentation against the last setting's.
class IniReader {
 public:
  explicit IniReader(const std::string& file) : file_(file) {}

  void read(std::string_view text) {
    std::size_t start = 0;
    while (start < text.size()) {
      const std::size_t end = text.find_first_of("\n\r", start);
      ++line_;
      take(text.substr(start, end == std::string_view::npos ? end : end - start));
      if (end == std::string_view::npos) break;
      start = end + (text.substr(end, 2) == "\r\n" ? 2 : 1);
    }
  }

  Sections finish() {
    Sections out;
    for (const auto& name : order_) {
      auto& settings = sections_[name];
      for (const auto& [key, lines] : defaults_) settings.try_emplace(key, lines);
      Section section;
      for (const auto& [key, lines] : settings) section[key] = setting_of(lines);
      out.emplace_back(name, std::move(section));
    }
    return out;
  }

 private:
  struct Lines {
    std::vector<std::string> text;
    std::size_t line = 0;
  };

  void take(std::string_view line) {
    const std::string_view value = strip(line);
    if (value.empty()) {
      if (current_ != nullptr) current_->text.emplace_back();
      return;
    }
    if (value.front() == '#' || value.front() == ';') return;
    const std::size_t indent = line.find_first_not_of(kBlanks);
    if (current_ != nullptr && indent > indent_) {
      current_->text.emplace_back(value);
      return;
    }
    indent_ = indent;
    if (value.front() == '[' && value.rfind(']') != std::string_view::npos && value.rfind(']') > 1)
      begin_section(std::string(value.substr(1, value.rfind(']') - 1)));
    else
      begin_setting(value);
  }

  void begin_section(const std::string& name) {
    current_ = nullptr;
    // configparser's own: its settings hold in all other sections.
    if (name == "DEFAULT") {
      section_ = &defaults_;
      return;
    }
    if (!sections_.try_emplace(name).second) fail_at(file_, line_, fmt::format("section [{}] is there twice", name));
    order_.push_back(name);
    section_ = &sections_[name];
  }

  void begin_setting(std::string_view value) {
    if (section_ == nullptr) fail_at(file_, line_, "a setting before the first [section]");
    const std::size_t mark = value.find_first_of("=:");
    if (mark == std::string_view::npos) fail_at(file_, line_, "neither a [section] nor a setting, which is NAME = VALUE");
    const std::string key = to_lower(strip(value.substr(0, mark)));
    if (key.empty()) fail_at(file_, line_, "a setting without a name");
    const auto [place, is_new] = section_->try_emplace(key);
    if (!is_new) fail_at(file_, line_, fmt::format("'{}' is there twice in this section", key));
    current_ = &place->second;
    current_->line = line_;
    current_->text.emplace_back(strip(value.substr(mark + 1)));
  }

  Setting setting_of(const Lines& lines) const {
    Setting out;
    out.value = std::string(strip_end(join(lines.text, "\n")));
    if (!out.value.starts_with('\n')) return out;
    for (const auto& raw : split(out.value, '\n')) {
      const std::string_view line = strip(raw);
      if (line.empty()) continue;
      const std::size_t equals = line.find('=');
      if (equals == std::string_view::npos) fail_at(file_, lines.line, "the indented lines below this one must be NAME = VALUE");
      out.nested[std::string(strip(line.substr(0, equals)))] = std::string(strip(line.substr(equals + 1)));
    }
    return out;
  }

  const std::string& file_;
  std::size_t line_ = 0, indent_ = 0;
  std::map<std::string, std::map<std::string, Lines>> sections_;
  std::vector<std::string> order_;
  std::map<std::string, Lines> defaults_;
  std::map<std::string, Lines>* section_ = nullptr;
  Lines* current_ = nullptr;
};

std::optional<std::string> find_value(const std::map<std::string, Section>& sections, const std::string& name, const std::string& setting) {
  const auto section = sections.find(name);
  if (section == sections.end()) return std::nullopt;
  const auto found = section->second.find(setting);
  if (found == section->second.end() || found->second.value.empty() || !found->second.nested.empty()) return std::nullopt;
  return found->second.value;
}

std::string home_of(const Surroundings& surroundings) {
  if (const auto home = surroundings.variable("HOME")) return *home;
  const passwd* user = ::getpwuid(::geteuid());
  return user != nullptr && user->pw_dir != nullptr ? user->pw_dir : "/";
}

}  // namespace

Sections parse_ini(const std::string& file, std::string_view text) {
  IniReader reader(file);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  reader.read(text);
  return reader.finish();
}

std::optional<std::vector<std::string>> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r') {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
      continue;
    }
    in_word = true;
    if (letter == '\\') {
      if (++i == text.size()) return std::nullopt;
      word += text[i];
    } else if (letter == '\'' || letter == '"') {
      for (++i; i < text.size() && text[i] != letter; ++i) {
        const bool escape = letter == '"' && text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\');
        word += text[escape ? ++i : i];
      }
      if (i == text.size()) return std::nullopt;
    } else {
      word += letter;
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

std::string expand_path(const Surroundings& surroundings, const std::string& path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '$') {
      out += path[i];
      continue;
    }
    const bool braces = i + 1 < path.size() && path[i + 1] == '{';
    std::size_t end = i + (braces ? 2 : 1);
    const std::size_t start = end;
    while (end < path.size() && (std::isalnum(static_cast<unsigned char>(path[end])) != 0 || path[end] == '_')) ++end;
    const auto value = end > start ? surroundings.variable(path.substr(start, end - start)) : std::nullopt;
    if (!value || (braces && (end == path.size() || path[end] != '}'))) {
      out += '$';
      continue;
    }
    out += *value;
    i = braces ? end : end - 1;
  }
  if (out == "~" || out.starts_with("~/")) out.replace(0, 1, home_of(surroundings));
  return out;
}

Profiles::Profiles(std::string config_file, std::string_view config, std::string credentials_file, std::string_view credentials)
    : config_file_(std::move(config_file)), credentials_file_(std::move(credentials_file)) {
  for (auto& [name, section] : parse_ini(config_file_, config)) {
    for (const auto& [kind, place] : {std::pair{"profile", &from_config_}, {"sso-session", &sso_sessions_}, {"services", &services_}}) {
      if (!name.starts_with(kind)) continue;
      const auto words = split_words(name);
      if (words && words->size() == 2) (*place)[(*words)[1]] = section;
      break;
    }
    if (name == "default") from_config_[name] = section;
  }
  for (auto& [name, section] : parse_ini(credentials_file_, credentials)) from_credentials_[name] = section;
  profiles_ = from_config_;
  for (const auto& [name, section] : from_credentials_) {
    for (const auto& [key, setting] : section) profiles_[name][key] = setting;
    profiles_.try_emplace(name);
  }
}

Profiles Profiles::load(const Surroundings& surroundings) {
  const std::string config = expand_path(surroundings, surroundings.variable("AWS_CONFIG_FILE").value_or("~/.aws/config"));
  const std::string credentials =
      expand_path(surroundings, surroundings.variable("AWS_SHARED_CREDENTIALS_FILE").value_or("~/.aws/credentials"));
  const auto content = [](const std::string& path) {
    std::error_code error;
    if (fs::is_directory(path, error)) return std::string();
    return read_file_if_there(path).value_or("");
  };
  return {config, content(config), credentials, content(credentials)};
}

std::vector<std::string> Profiles::names() const {
  std::vector<std::string> out;
  for (const auto& [name, section] : profiles_) out.push_back(name);
  return out;
}

std::optional<std::string> Profiles::value(const std::string& profile, const std::string& setting) const {
  return find_value(profiles_, profile, setting);
}

std::optional<std::string> Profiles::credentials_value(const std::string& profile, const std::string& setting) const {
  return find_value(from_credentials_, profile, setting);
}

std::optional<std::string> Profiles::config_value(const std::string& profile, const std::string& setting) const {
  return find_value(from_config_, profile, setting);
}

std::optional<std::string> Profiles::sso_value(const std::string& session, const std::string& setting) const {
  return find_value(sso_sessions_, session, setting);
}

std::optional<std::string> Profiles::service_value(const std::string& services, const std::string& service,
                                                   const std::string& setting) const {
  const auto section = services_.find(services);
  if (section == services_.end()) return std::nullopt;
  const auto found = section->second.find(service);
  if (found == section->second.end()) return std::nullopt;
  const auto value = found->second.nested.find(setting);
  if (value == found->second.nested.end() || value->second.empty()) return std::nullopt;
  return value->second;
}

}  // namespace kiln::aws
