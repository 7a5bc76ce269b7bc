#include "bake/rpm.h"

#include <algorithm>
#include <tuple>

#include "bake/packages.h"
#include "bake/scripts.h"
#include "bake/steps.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::bake {

namespace {

constexpr const char* kAnswer = "/run/kiln/rpm";
// The largest distributions have some 60,000 packages, of 200 bytes here; what is larger is no answer.
constexpr std::uintmax_t kMaxAnswerBytes = 64 << 20;

// rpm before 4.14 has no SHA-256 of the header, and refuses to be asked for one.
constexpr const char* kAsk =
    "set -eu\n"
    "ask() { rpm -qa --queryformat \"$1\" > answer; }\n"
    "facts='%{NAME}\\t%|EPOCH?{%{EPOCH}}:{}|\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%|SOURCERPM?{%{SOURCERPM}}:{}|\\t'\n"
    "if ask \"$facts%|SHA256HEADER?{%{SHA256HEADER}}:{}|\\n\" || ask \"$facts\\n\"; then mv answer packages; fi\n";

// "bash-5.1.8-9.el9.src.rpm" → bash, 5.1.8-9.el9
std::pair<std::string, std::string> source_of(const std::string& file, const DistributionPackage& package) {
  std::string stem = file;
  for (const char* end : {".rpm", ".src", ".nosrc"}) {
    if (stem.ends_with(end)) stem.resize(stem.size() - std::string_view(end).size());
  }
  const std::size_t release = stem.rfind('-');
  const std::size_t version = release == std::string::npos || release == 0 ? std::string::npos : stem.rfind('-', release - 1);
  if (version == std::string::npos || version == 0) return {package.name, package.version};
  const std::string without_epoch = split_rpm_version(package.version).version;
  const std::string of = stem.substr(version + 1);
  // The file's name has no epoch; as a rule it is the package's.
  return {stem.substr(0, version), of == without_epoch ? package.version : of};
}

}  // namespace

bool has_rpm_database(const std::string& file_list) {
  for (const char* folder : {"usr/lib/sysimage/rpm", "var/lib/rpm"}) {
    for (const char* name : {"rpmdb.sqlite", "Packages.db", "Packages"}) {
      const std::string end = fmt::format(" {}/{}\n", folder, name);
      const std::size_t at = file_list.find(end);
      if (at == std::string::npos) continue;
      const std::size_t before = file_list.rfind('\n', at);
      if (file_list[before == std::string::npos ? 0 : before + 1] == 'f') return true;
    }
  }
  return false;
}

RpmVersion split_rpm_version(const std::string& version) {
  const std::size_t colon = version.find(':');
  if (colon == std::string::npos) return {"", version};
  return {version.substr(0, colon), version.substr(colon + 1)};
}

std::vector<DistributionPackage> parse_rpm_answer(const std::string& text) {
  constexpr std::size_t kFields = 6;
  std::vector<DistributionPackage> packages;
  for (const auto& line : split(text, '\n')) {
    const auto fields = split(line, '\t');
    if (fields.size() != kFields || fields[0].empty() || fields[0] == "gpg-pubkey") continue;
    DistributionPackage package;
    package.kind = "rpm";
    package.name = fields[0];
    const std::string& epoch = fields[1];
    package.version = epoch.empty() || epoch == "0" ? fields[2] : epoch + ":" + fields[2];
    package.architecture = fields[3];
    std::tie(package.source, package.source_version) = source_of(fields[4], package);
    package.digest = fields[5];
    packages.push_back(std::move(package));
  }
  std::sort(packages.begin(), packages.end(), [](const auto& a, const auto& b) {
    return std::tie(a.name, a.architecture, a.version) < std::tie(b.name, b.architecture, b.version);
  });
  return packages;
}

std::optional<std::vector<DistributionPackage>> ask_rpm(const Store& store, const RpmQuestion& question) {
  const WorkFolder work = store.make_work_folder();
  const fs::path answers = work.path() / "answers";
  make_folder(answers);
  Script script;
  script.argv = {"/bin/sh", "-c", kAsk};
  script.directory = kAnswer;
  script.env = plain_environment(0, false);
  script.what = "asking the image's rpm what is installed";
  RunStep step;
  step.lower = question.layers;
  step.scripts = {std::move(script)};
  step.binds = {{answers, kAnswer, false}};
  // What rpm writes beside its answer (a lock, an index) is thrown away with the work folder.
  run_over_layers({work.path(), question.log, 0, "rpm", 0, question.architecture}, step);
  const fs::path answer = answers / "packages";
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(answer, error)) || fs::file_size(answer, error) > kMaxAnswerBytes) return std::nullopt;
  return parse_rpm_answer(read_file(answer));
}

}  // namespace kiln::bake
