// A module's manifest (docs/modules.md) as a plain struct, from YAML or from the JSON that travels inside images.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/diagnostic.h"

namespace kiln::config {

struct Parameter {
  std::string default_value;
  std::string doc;
  std::vector<std::string> values = {};  // that it may have; empty: any
};

// What parameters must be for something to be so (`if: {source: git}`). Empty: it is always so.
using Condition = std::map<std::string, std::string>;

// One place a source can come from.
struct SourceLocation {
  enum class Kind { kUrl, kPypi, kMaven, kGit, kFile, kOci };  // kOci: of a base only (bake/source_oci.cc)
  Kind kind = Kind::kUrl;
  std::vector<std::string> what;  // url; requirement(s) "name==version"; coordinate(s) g:a:v; git url; path
  std::string sha256, sha512;     // url, file; the first also of an oci image that a lock names
  std::string ref;                // git: branch, tag or commit
  bool sdist = false;             // pypi: the source distribution
  bool transitive = true;         // maven
  bool unpack = false;            // url, pypi, file: an archive that init.sh gets unpacked
  Condition condition = {};       // `if`: where it does not hold, the location is not there
};

struct SourceSpec {
  std::string name;
  std::vector<SourceLocation> mirrors;  // tried in order; they are all to be unpacked, or none
  bool unpack() const { return !mirrors.empty() && mirrors[0].unpack; }
};

struct Ready {
  enum class Kind { kStarted, kHttp, kTcp, kExec, kLog };
  Kind kind = Kind::kStarted;
  std::string target;  // http: URL; tcp: port or host:port; exec: command; log: text that a line of the service's output contains (several:
                       // a line each)
  std::string contains;       // http: the body must contain it
  int timeout_seconds = 120;  // from the service's start; then it has failed
};

struct Service {
  std::string name;        // without the module's
  std::string on = "all";  // master, worker, all
  std::string user = "root";
  std::string exec;
  std::string directory = "/";
  std::map<std::string, std::string> env;
  std::map<std::string, std::string> ports;  // name → number (a parameter may stand for it until expanded)
  struct Page {
    std::string port, path = "/", title;
  };
  std::optional<Page> ui;
  std::string enabled = "true";
  std::string instances = "1";     // how many of it a node runs; see make_plan() for how they differ
  std::vector<std::string> after;  // service names, as written ("master" or "spark.master")
  std::vector<std::string> gate;
  Ready ready;
  std::string restart = "always";  // always, on-failure, never
  std::string stop_signal = "TERM";
  int stop_timeout_seconds = 10;
};

// The words that a service's `on`, `restart` and `stop.signal` may be.
const std::vector<std::string>& service_roles();
const std::vector<std::string>& restart_policies();
const std::vector<std::string>& stop_signals();
// More daemons of one kind than a node could use.
inline constexpr int kMaxInstances = 64;
// A day: whoever waits longer for a service waits for ever.
inline constexpr int kMaxServiceSeconds = 86400;

// A command that users run on the first master: `kiln submit`, `kiln shell NAME pyspark` …
struct NodeCommand {
  std::string exec;  // run as sh -c 'exec … "$@"'
  std::string user = "root";
  std::string doc;
};

// Compiling a big system from source on two processors takes about an hour; a script that takes twice as long hangs.
inline constexpr std::chrono::hours kDefaultScriptTimeout{2};

// What an image does when a container engine simply runs it, told by environment variables: see src/node/appliance.h.
struct Appliance {
  struct Switch {
    std::string service;
    std::string variable;                // turns it on or off; empty: none does
    bool on = true;                      // when the variable is not there
    std::string if_given, unless_given;  // a parameter: `on` only if it was given, or only if not
    std::vector<std::string> needs;      // services, one of which must be on too
  };
  struct Setting {
    std::string param;
    std::string variable;
    std::vector<std::string> options;  // -c, --cores
    std::string kind = "text";
    std::string prefix;  // what the value must begin with
  };
  std::vector<Switch> services;
  std::vector<Setting> params;
};
// What a setting's `kind` may be: text; number, from 1; size, as Java has it: 512m, 2g.
const std::vector<std::string>& setting_kinds();

// What a module needs only while its init.sh runs, and no image gets: see bake/plan.h.
struct BuildNeeds {
  Condition condition;                                       // `if`
  std::map<std::string, std::vector<std::string>> packages;  // as a module's
  bool network = false;                                      // init.sh may reach the network, with the settings of this machine
};

struct Module {
  std::string name;
  std::string summary;
  std::vector<std::string> requires_modules;  // "requires"
  std::vector<std::string> after;
  std::map<std::string, Parameter> params;
  bool network = false;
  std::chrono::seconds timeout = kDefaultScriptTimeout;      // of init.sh and of warm.sh
  std::map<std::string, std::vector<std::string>> packages;  // "debian", "rpm"; each for package_on()
  std::vector<SourceSpec> sources;
  std::optional<BuildNeeds> build;
  std::vector<Service> services;
  std::map<std::string, NodeCommand> commands;
  Appliance appliance;
  std::filesystem::path folder;  // where it was read from; empty when from JSON
};

// Reads FOLDER/module.yaml. The module's name is the folder's. ConfigError with file:line:column.
Module load_module(const std::filesystem::path& folder);
Module parse_module(const std::string& name, const std::string& file, const std::string& text);

// Everything wrong with the module in FOLDER, one line each ("file:line:col: what"): the manifest, scripts that don't parse, unknown
// placeholders, services that wait for each other or for one that is not there. Empty: it is right.
std::vector<std::string> check_module(const std::filesystem::path& folder);

// The same, each with its place and hint, for whoever shows the lines themselves.
std::vector<ConfigError> find_module_problems(const std::filesystem::path& folder);

// The form that travels inside images. Members have the manifest's names; lists stand where order counts; what has its default is left out.
Json module_to_json(const Module& module);
Module module_from_json(const Json& json);  // Error naming the member

// An entry of `packages:` is "NAME", or "NAME [ARCHITECTURE …]" as in Debian's control files (deb-src-control(5), "Build-Depends"): gives
// the name, or nothing where the package is not for that architecture.
std::optional<std::string> package_on(const std::string& entry, const std::string& architecture);

using Values = std::map<std::string, std::string>;
// Whether the parameters are what the condition says.
bool holds(const Condition& condition, const Values& params);
// UsageError for a value that the module's parameter may not have; nothing where the module has no such parameter.
void check_parameter_value(const Module& module, const std::string& parameter, const std::string& value);
// Replaces {name} by its value, {{ and }} by braces. Error for a name that has no value ("unknown placeholder '{x}' in '…'").
std::string expand(const std::string& text, const Values& values);
// The names in braces, in order. Error for a brace that is neither doubled nor part of one.
std::vector<std::string> placeholders(const std::string& text);
// What stands for itself everywhere, and what does in services and commands only (docs/modules.md). No parameter may be called so.
const std::vector<std::string>& bake_placeholders();
const std::vector<std::string>& node_placeholders();
// true, yes, on, 1 → true; false, no, off, 0, "" → false; else Error.
bool is_enabled(const std::string& text);
// "4" → 4; Error for what is no number from 1 to kMaxInstances.
int instance_count(const std::string& text);

// "worker_memory" → "WORKER_MEMORY": the end of KILN_PARAM_… and KILN_SOURCE_….
std::string variable_name(const std::string& name);
// Every parameter of the module: the given value, else the default with `builtins` ({java_version} …) filled in.
// Error for a given one that the module does not have, with the nearest as the hint; UsageError for a value that it may not have.
Values effective_params(const Module& module, const Values& given, const Values& builtins);

}  // namespace kiln::config
