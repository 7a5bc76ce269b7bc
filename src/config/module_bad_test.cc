// Bad manifests, one mistake each.
#include <gtest/gtest.h>

#include "config/bad_input.h"
#include "config/module.h"

namespace kiln::config {
namespace {

constexpr char kDigest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// Manifests that need no more than a summary before the mistake.
std::string with_summary(const std::string& rest) { return "summary: s\n" + rest; }
// A service `a` with one more key.
std::string service(const std::string& rest) { return with_summary("services:\n  a:\n    exec: run\n    " + rest + "\n"); }
std::string source(const std::string& rest) { return with_summary("sources:\n  s: " + rest + "\n"); }

const std::vector<BadInput> kBadManifests = {
    {"empty", "»", "the manifest is empty", "summary"},
    {"only a comment", "»# spark\n", "the manifest is empty", "summary"},
    {"a list", "»- summary\n", "the manifest must be a map, found a list", ""},
    {"no summary", "»network: true\n", "the manifest lacks 'summary'", ""},
    {"summary without value", "»summary:\n", "'summary' has no value", ""},
    {"summary of two lines", "summary: »|\n  a\n  b\n", "'summary' must be one line", ""},
    {"unknown key", with_summary("»pakages: {debian: [a]}\n"), "unknown key 'pakages' in the manifest", "did you mean 'packages'?"},
    {"far from any key", with_summary("»zzzzzz: 1\n"), "unknown key 'zzzzzz'", "one of summary, requires"},
    {"timeout is no time", with_summary("timeout: »soon\n"), "'timeout' cannot be 'soon': a time starts with a number",
     "write for example 90s, 15m"},
    {"timeout is nothing", with_summary("timeout: »0s\n"), "'timeout' must be longer than nothing", ""},
    {"network is no truth", with_summary("network: »maybe\n"), "'network' must be true or false, found 'maybe'", ""},
    // relations
    {"requires itself", with_summary("requires: [java, »me]\n"), "module 'me' names itself in 'requires'", ""},
    {"requires twice", with_summary("requires: [java, »java]\n"), "module 'java' is named twice", ""},
    {"module name in capitals", with_summary("requires: [»Java]\n"), "'Java' is no module name", "'java' would do"},
    {"requires is a map", with_summary("requires: »{java: 1}\n"), "'requires' must be text, found a map", ""},
    // parameters
    {"parameter name", with_summary("params: {»Version: 1}\n"), "'Version' is no parameter name", ""},
    {"parameter's own name is kiln's", with_summary("params: {»suite: trixie}\n"), "a parameter cannot be called 'suite'", "kiln gives"},
    {"parameters that become one variable", with_summary("params: {a-b: 1, »a_b: 2}\n"), "both become KILN_PARAM_A_B", ""},
    {"parameter with a strange key", with_summary("params: {v: {default: 1, »docs: x}}\n"), "unknown key 'docs' in parameter 'v'", "'doc'"},
    {"default of another parameter", with_summary("params: {a: 1, b: \"x»{a}\"}\n"), "unknown placeholder '{a}' in a default",
     "one of arch"},
    {"default is a map of maps", with_summary("params: {a: {default: »{b: {}}}}\n"), "parameter 'a' must be text, found a map", ""},
    // packages
    {"unknown family", with_summary("packages: {»debain: [a]}\n"), "unknown key 'debain' in 'packages'", "did you mean 'debian'?"},
    {"package with a blank", with_summary("packages: {debian: »less vim}\n"), "'less vim' is no package name", "as a list"},
    {"package of a strange architecture", with_summary("packages: {debian: [»\"vim [x86_64]\"]}\n"), "'x86_64' is no architecture",
     "amd64 or arm64"},
    {"package of no architecture", with_summary("packages: {debian: [»\"vim []\"]}\n"), "'' is no architecture", "amd64 or arm64"},
    {"package that is an option", with_summary("packages: {debian: [»--purge]}\n"), "'--purge' is no package name", ""},
    {"package with an unknown placeholder", with_summary("params: {version: 1}\npackages: {debian: [\"jdk-»{verson}\"]}\n"),
     "unknown placeholder '{verson}'", "did you mean 'version'?"},
    {"package with a node's name", with_summary("packages: {debian: [\"x-»{node}\"]}\n"), "'{node}' is known on a node only", ""},
    {"lone brace", with_summary("packages: {debian: [»\"a}b\"]}\n"), "a lone '}' in 'a}b'", "write '}}' for a brace"},
    // sources
    {"url without digest", source("{»url: \"https://example.org/x.tgz\"}"), "a 'url' needs its 'sha256' or 'sha512'", "cannot verify"},
    {"url that is a path", source(fmt::format("{{url: »/tmp/x, sha256: {}}}", kDigest)), "'/tmp/x' is no URL", "file: …"},
    {"short digest", source("{url: \"https://example.org/x\", sha256: »abc}"), "'sha256' must be 64 hex digits, found 3", ""},
    {"digest of the other kind", source(fmt::format("{{url: \"https://example.org/x\", sha512: »{}}}", kDigest)),
     "'sha512' must be 128 hex digits, found 64", "SHA-256"},
    {"digest that is not hex", source("{url: \"https://example.org/x\", sha256: »xyz}"), "'sha256' must be hex digits, found 'x'", ""},
    {"two kinds", source("{pypi: a==1, »maven: \"a:b:1\"}"), "either 'pypi' or 'maven'", "write a list"},
    {"no kind", source("»{}"), "source 's' says no place to come from", "one of url, pypi"},
    {"mistyped kind", source("{»pypy: a==1}"), "unknown key 'pypy' in source 's'", "did you mean 'pypi'?"},
    {"text for a source", source("»https"), "source 's' must be a map", ""},
    {"no source at all", with_summary("sources:\n  »s:\n"), "source 's' has no value", ""},
    {"empty list of mirrors", source("»[]"), "source 's' is an empty list", ""},
    {"key of another kind", source("{pypi: a==1, »ref: main}"), "'ref' does not go with 'pypi'", "it belongs to 'git'"},
    {"unpacking of what is a folder", source("{maven: \"org.x:y:1\", »unpack: true}"), "'unpack' does not go with 'maven'",
     "it belongs to 'url'"},
    {"unpacking of several files", source("{pypi: [a==1, b==1], unpack: »true}"), "several files are not unpacked", "a source of its own"},
    {"unpacking from one mirror", source("»[{pypi: a==1, sdist: true, unpack: true}, {pypi: b==1}]"), "from some of its locations, and not",
     "at each"},
    {"condition of no parameter", with_summary("params: {source: a}\nsources:\n  s: {pypi: a==1, if: {»sorce: a}}\n"),
     "'if' names 'sorce', which is no parameter of the module", "did you mean 'source'?"},
    {"condition that never holds",
     with_summary("params: {source: {default: a, values: [a, b]}}\nsources:\n  s: {pypi: a==1, if: {source: »c}}\n"),
     "parameter 'source' is never 'c'", "one of a, b"},
    {"condition that is a list", with_summary("params: {source: a}\nsources:\n  s: {pypi: a==1, if: »[source]}\n"), "'if' must be a map",
     ""},
    // build
    {"build with a strange key", with_summary("build: {»package: {debian: [a]}}\n"), "unknown key 'package' in 'build'", "'packages'"},
    {"build of nothing", with_summary("»build: {}\n"), "'build' asks for nothing", "packages"},
    {"build for a strange family", with_summary("build: {packages: {»deb: [a]}}\n"), "unknown key 'deb' in 'packages'", "debian"},
    {"build if no parameter", with_summary("build: {if: {»a: b}, network: true}\n"), "'if' names 'a'", "it has none"},
    {"values without the default", with_summary("params: {p: {default: »a, values: [b, c]}}\n"),
     "parameter 'p' cannot be 'a': it is none of its 'values'", "one of b, c"},
    {"no values", with_summary("params: {p: {default: a, values: »[]}}\n"), "'values' is an empty list", "leave it out"},
    {"requirement without version", source("{pypi: »numpy}"), "'numpy' names no exact version", "'numpy==2.2.6'"},
    {"requirement with a range", source("{pypi: [a==1, »\"numpy>=2\"]}"), "'numpy>=2' names no exact version", "'numpy==2.2.6'"},
    {"requirement with a blank", source("{pypi: »numpy == 2}"), "'numpy == 2' is no 'name==version'", "'numpy==2.2.6'"},
    {"requirement that is an option", source("{pypi: »-r==1}"), "'-r==1' is no 'name==version'", "one version"},
    {"requirement twice", source("{pypi: [a==1, »a==1]}"), "'a==1' is named twice", ""},
    {"coordinate without version", source("{maven: [»\"org.x:y\"]}"), "'org.x:y' is no Maven coordinate", "group:artifact:version"},
    {"coordinate with an empty part", source("{maven: »\"org.x::1\"}"), "'org.x::1' is no Maven coordinate", "group:artifact:version"},
    {"git without ref", source("{»git: \"https://example.org/x.git\"}"), "a 'git' source needs its 'ref'", "a tag or commit"},
    {"git by a program", source("{git: »\"ext::sh -c x\", ref: v1}"), "is no URL of a git repository", "https://"},
    {"git ref that is an option", source("{git: \"https://example.org/x.git\", ref: »--upload-pack=x}"), "is no branch, tag or commit", ""},
    {"file outside", source("{file: »../../etc/passwd}"), "is outside of the module's folder", "copy the file"},
    {"source name", with_summary("sources: {»My.Source: {file: x}}\n"), "'My.Source' is no source name", ""},
    // services
    {"service without exec", with_summary("services:\n  a:\n    »on: master\n"), "service 'a' lacks 'exec'", ""},
    {"empty exec", with_summary("services: {a: {exec: »\"\"}}\n"), "'exec' is empty", ""},
    {"service name with a dot", with_summary("services: {»me.a: {exec: run}}\n"), "'me.a' is no service name", ""},
    {"service that is text", with_summary("services: {a: »run}\n"), "service 'a' must be a map, found 'run'", ""},
    {"unknown key of a service", service("»excec: x"), "unknown key 'excec' in service 'a'", "did you mean 'exec'?"},
    {"role", service("on: »mastre"), "'on' cannot be 'mastre'", "did you mean 'master'?"},
    {"role far off", service("on: »leader"), "'on' cannot be 'leader'", "one of master, worker, all"},
    {"restart", service("restart: »allways"), "'restart' cannot be 'allways'", "did you mean 'always'?"},
    {"signal", service("stop: {signal: »TREM}"), "'signal' cannot be 'TREM'", "TERM"},
    {"signal in small letters", service("stop: {signal: »term}"), "'signal' cannot be 'term'", "write it in capitals: 'TERM'"},
    {"stop timeout", service("stop: {timeout: »soon}"), "'timeout' cannot be 'soon'", "90s"},
    {"stop timeout of years", service("stop: {timeout: »400d}"), "'timeout' must be 0 to 86400 seconds", ""},
    {"unknown key of stop", service("stop: {»singal: TERM}"), "unknown key 'singal' in 'stop'", "did you mean 'signal'?"},
    {"port zero", service("ports: {ui: »0}"), "port 'ui' must be 1 to 65535, found '0'", ""},
    {"port out of range", service("ports: {ui: »70000}"), "port 'ui' must be 1 to 65535, found '70000'", ""},
    {"port by name", service("ports: {ui: »http}"), "port 'ui' must be a port's number, found 'http'", ""},
    {"one port twice", service("ports: {rpc: 7077, ui: »7077}"), "ports 'rpc' and 'ui' are both 7077", ""},
    {"ports as a list", service("ports: »[7077]"), "'ports' must be a map, found a list", ""},
    {"page without port", service("ui: »{title: x}"), "'ui' lacks 'port'", ""},
    {"page's path", service("ui: {port: 80, path: »jobs}"), "a page's path starts with '/'", "write '/jobs'"},
    {"variable of kiln", service("env: {»KILN_GATE: x}"), "variable 'KILN_GATE' is kiln's own", "KILN_"},
    {"variable's name", service("env: {»a-b: x}"), "'a-b' is no name of a variable", ""},
    {"relative directory", service("directory: »work"), "'directory' must be an absolute path, found 'work'", ""},
    {"enabled", service("enabled: »perhaps"), "'perhaps' is neither yes nor no", "true, yes"},
    {"user with a blank", service("user: »a b"), "'a b' is no user's name", ""},
    {"ready in no way", service("ready: »{timeout: 5}"), "'ready' says no way", "one of http, tcp, exec, log"},
    {"ready in two ways", service("ready: {http: \"http://x/\", »tcp: 80}"), "'ready' is either 'http' or 'tcp'", ""},
    {"ready by TLS", service("ready: {http: »\"https://{node}/\"}"), "is no http:// URL", "no TLS"},
    {"ready at no port", service("ready: {tcp: »\"{node}:http\"}"), "'tcp' must be a port or host:port", ""},
    {"contains without http", service("ready: {tcp: 80, »contains: x}"), "'contains' goes with 'http' only", ""},
    {"ready timeout zero", service("ready: {tcp: 80, timeout: »0}"), "'timeout' must be 1 to 86400 seconds", ""},
    {"shell variable in braces", service("user: u\n    ready: {exec: \"test $»{HOME}\"}"), "unknown placeholder '{HOME}'", "'{{' and '}}'"},
    // services that wait
    {"after nobody", service("after: [»mastr]"), "this module has no service 'mastr'", "MODULE.SERVICE"},
    {"after a mistyped one", with_summary("services:\n  master: {exec: a}\n  worker: {exec: b, after: [»mastr]}\n"),
     "this module has no service 'mastr'", "did you mean 'master'?"},
    {"gate of nobody, by its whole name", with_summary("services:\n  master: {exec: a}\n  worker: {exec: b, gate: »me.mster}\n"),
     "this module has no service 'mster'", "did you mean 'master'?"},
    {"after itself", service("after: »a"), "services wait for each other: a → a", ""},
    {"a cycle", with_summary("services:\n  a: {exec: x, after: [b]}\n  b: {exec: x, gate: [c]}\n  c: {exec: x, after: [»me.a]}\n"),
     "services wait for each other: a → b → c → a", ""},
    {"after twice", service("after: [x.y, »x.y]"), "service 'x.y' is named twice", ""},
    {"after a module's name that is none", service("after: [»X.y]"), "'X' is no module name", "'x' would do"},
    {"two services on one port",
     with_summary("services:\n  a: {exec: x, ports: {ui: 80}}\n  b: {exec: x, on: worker, ports: {web: »80}}\n"),
     "port 80 is taken by service 'a' on the same node", ""},
    // appliance
    {"appliance with a strange key", with_summary("appliance: {»service: {}}\n"), "unknown key 'service' in 'appliance'", "'services'"},
    {"appliance of no service", with_summary("appliance: {services: {»a: {}}}\n"), "this module has no service 'a'", ""},
    {"appliance of no parameter", with_summary("params: {cores: 1}\nappliance: {params: {»corse: {variable: X}}}\n"),
     "this module has no parameter 'corse'", "did you mean 'cores'?"},
    {"appliance: a setting without a way", with_summary("params: {a: 1}\nappliance: {params: {»a: {kind: number}}}\n"),
     "setting 'a' has no variable and no option", ""},
    {"appliance: no variable", with_summary("params: {a: 1}\nappliance: {params: {a: {variable: »a}}}\n"), "'a' is no variable's name", ""},
    {"appliance: kiln's own variable", with_summary("params: {a: 1}\nappliance: {params: {a: {variable: »KILN_A}}}\n"), "kiln's own", ""},
    {"appliance: a variable twice", with_summary("params: {a: 1, b: 2}\nappliance: {params: {a: {variable: A}, b: {variable: »A}}}\n"),
     "variable 'A' is there twice", ""},
    {"appliance: no option", with_summary("params: {a: 1}\nappliance: {params: {a: {options: [»c]}}}\n"), "'c' is no option", ""},
    {"appliance: unknown kind", with_summary("params: {a: 1}\nappliance: {params: {a: {variable: A, kind: »nubmer}}}\n"),
     "'kind' cannot be 'nubmer'", "did you mean 'number'?"},
    {"appliance: needs no service", service("user: x\nappliance: {services: {a: {needs: [»b]}}}"), "this module has no service 'b'",
     "one of a"},
    {"appliance: if no parameter", service("user: x\nappliance: {services: {a: {if: »b}}}"), "this module has no parameter 'b'", ""},
    // commands
    {"command without exec", with_summary("commands: {submit: »{doc: x}}\n"), "command 'submit' lacks 'exec'", ""},
    {"unknown key of a command", with_summary("commands: {submit: {exec: x, »usr: y}}\n"), "unknown key 'usr' in command 'submit'",
     "did you mean 'user'?"},
    {"command's placeholder", with_summary("commands: {submit: {exec: \"x »{nodee}\"}}\n"), "unknown placeholder '{nodee}'",
     "did you mean 'node'?"},
};

TEST(Module, refuses_bad_manifests_at_their_place) {
  expect_refused(kBadManifests, [](const std::string& file, const std::string& text) { parse_module("me", file, text); });
}

}  // namespace
}  // namespace kiln::config
