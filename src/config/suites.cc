// What kiln knows of distributions' suites: few facts, and they don't change once a suite is released.
#include <sys/utsname.h>

#include <algorithm>

#include "base/strings.h"
#include "config/image_spec.h"

namespace kiln::config {

namespace {

struct Suite {
  BaseSpec::Kind kind;
  const char* name;
  SuiteFacts facts;
};

// Java: the newest with long-term support in the suite on which Spark 4.1 runs. That is never 25 (trixie has it too): Hadoop 3.4's
// client calls Subject.getSubject, which Java 24 took away, and executors die of it.
const std::vector<Suite>& suites() {
  static const std::vector<Suite> kSuites = {{BaseSpec::Kind::kDebian, "trixie", {"21", "3.13"}},
                                             {BaseSpec::Kind::kDebian, "bookworm", {"17", "3.11"}},
                                             {BaseSpec::Kind::kUbuntu, "noble", {"21", "3.12", "linux-image-virtual"}},
                                             {BaseSpec::Kind::kUbuntu, "jammy", {"17", "3.10", "linux-image-virtual"}},
                                             {BaseSpec::Kind::kOci, "al2023", {"21", "3.11"}}};
  return kSuites;
}

const char* kind_name(BaseSpec::Kind kind) {
  switch (kind) {
    case BaseSpec::Kind::kDebian:
      return "debian";
    case BaseSpec::Kind::kUbuntu:
      return "ubuntu";
    case BaseSpec::Kind::kTarball:
      return "tarball";
    case BaseSpec::Kind::kOci:
      return "oci";
  }
  return "?";
}

}  // namespace

SuiteFacts suite_facts(const BaseSpec& base) {
  const bool any_kind = !base.is_suite();
  if (any_kind && base.suite.empty()) return {};
  std::vector<std::string> known;
  std::string hint;
  for (const auto& suite : suites()) {
    if (suite.name == base.suite && (any_kind || suite.kind == base.kind)) return suite.facts;
    if (suite.name == base.suite) hint = fmt::format("it is another distribution's: write '{}: {}'", kind_name(suite.kind), suite.name);
    if (any_kind || suite.kind == base.kind) known.emplace_back(suite.name);
  }
  // "stable" and "13" are moving or unknown to the archive: the code name is what stays.
  UsageError error(any_kind ? fmt::format("unknown suite {}", in_quotes(base.suite))
                            : fmt::format("unknown {} suite {}", kind_name(base.kind), in_quotes(base.suite)));
  error.set_hint(hint.empty() ? did_you_mean_or_list(base.suite, known) : hint);
  throw error;
}

Values builtin_values(const BaseSpec& base, const std::string& architecture) {
  const SuiteFacts facts = suite_facts(base);
  Values values = {
      {"arch", architecture}, {"suite", base.suite}, {"java_version", facts.java_version}, {"python_version", facts.python_version}};
  std::erase_if(values, [](const auto& entry) { return entry.second.empty(); });
  return values;
}

std::string host_architecture() {
  utsname system{};
  if (::uname(&system) != 0) return "amd64";
  const std::string machine = system.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return machine;
}

const std::vector<std::string>& known_targets() {
  static const std::vector<std::string> kTargets = {"rootfs", "oci", "disk", "ami", "gce"};
  return kTargets;
}

}  // namespace kiln::config
