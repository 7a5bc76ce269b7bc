// The configuration files that all AWS tools share: ~/.aws/config (or AWS_CONFIG_FILE) and ~/.aws/credentials (or
// AWS_SHARED_CREDENTIALS_FILE).
//
// The format is what AWS documents ("Configuration and credential file settings") as botocore reads it, with Python's configparser:
//
//   [profile dev]                 in the config file; [default] has no "profile"; in the credentials file the section is the name itself
//   region = eu-central-1         "=" or ":"; names are not case-sensitive
//   # or ; at the start           a comment; anywhere else they belong to the value
//   s3 =                          an indented line goes on with the value; a value that begins with a line break holds settings of its own
//     addressing_style = path
//   [sso-session corp], [services lab]     sections that profiles refer to
//
// A section or setting that is there twice is an error, as it is for the AWS CLI. Where both files know a profile the credentials file's
// settings go first. tests/30-aws.test compares with botocore.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/surroundings.h"

namespace kiln::aws {

struct Setting {
  std::string value;
  std::map<std::string, std::string> nested;  // of a value that begins with a line break
};
using Section = std::map<std::string, Setting>;
using Sections = std::vector<std::pair<std::string, Section>>;  // in the order of the file

// All sections of a text, by the name between the brackets. Error "FILE:LINE: why". Messages never repeat a line: it may be a secret.
Sections parse_ini(const std::string& file, std::string_view text);

// A section's name as the shell would split it: `profile "my work"` → {"profile", "my work"}; nothing where quotes don't match.
std::optional<std::vector<std::string>> split_words(std::string_view text);

class Profiles {
 public:
  // Reads both files; one that is not there is empty. `surroundings` tells their names and HOME.
  static Profiles load(const Surroundings& surroundings);
  Profiles() = default;
  Profiles(std::string config_file, std::string_view config, std::string credentials_file, std::string_view credentials);

  bool has(const std::string& profile) const { return profiles_.contains(profile); }
  std::vector<std::string> names() const;
  // The value of a setting; nothing when there is none (or it is empty).
  std::optional<std::string> value(const std::string& profile, const std::string& setting) const;
  // The static keys are read from one file each, the credentials file first.
  std::optional<std::string> credentials_value(const std::string& profile, const std::string& setting) const;
  std::optional<std::string> config_value(const std::string& profile, const std::string& setting) const;
  // Of a section [sso-session NAME]; [services NAME] (of a service: "ec2", "endpoint_url").
  bool has_sso_session(const std::string& name) const { return sso_sessions_.contains(name); }
  std::optional<std::string> sso_value(const std::string& session, const std::string& setting) const;
  bool has_services(const std::string& name) const { return services_.contains(name); }
  std::optional<std::string> service_value(const std::string& services, const std::string& service, const std::string& setting) const;

  const std::string& config_file() const { return config_file_; }
  const std::string& credentials_file() const { return credentials_file_; }
  // All of it, as tests compare it.
  const std::map<std::string, Section>& profiles() const { return profiles_; }
  const std::map<std::string, Section>& sso_sessions() const { return sso_sessions_; }
  const std::map<std::string, Section>& services() const { return services_; }

 private:
  std::string config_file_, credentials_file_;
  std::map<std::string, Section> profiles_, from_config_, from_credentials_, sso_sessions_, services_;
};

// `path` with a leading "~" and $VARIABLES replaced, as AWS's tools do for the files' names.
std::string expand_path(const Surroundings& surroundings, const std::string& path);

}  // namespace kiln::aws
