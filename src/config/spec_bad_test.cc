// Bad image and cluster specs, one mistake each.
#include <gtest/gtest.h>

#include "config/bad_input.h"
#include "config/cluster_spec.h"
#include "config/image_spec.h"

namespace kiln::config {
namespace {

std::string spec(const std::string& rest) { return "name: x\nbase: {debian: trixie}\n" + rest + "\n"; }
std::string based(const std::string& base) { return "name: x\nbase: " + base + "\n"; }

const std::vector<BadInput> kBadImageSpecs = {
    {"empty", "»", "the image spec is empty", "base: {debian: trixie}"},
    {"text", "»spark\n", "the image spec must be a map, found 'spark'", ""},
    {"no name", "»base: {debian: trixie}\n", "the image spec lacks 'name'", ""},
    {"no base", "»name: x\n", "the image spec lacks 'base'", ""},
    {"name in capitals", "name: »Spark 4\nbase: {debian: trixie}\n", "'Spark 4' is no image name", "'spark-4' would do"},
    {"name that is a path", "name: »../x\nbase: {debian: trixie}\n", "'../x' is no image name", "'x' would do"},
    {"unknown key", spec("»pakages: [a]"), "unknown key 'pakages' in the image spec", "did you mean 'packages'?"},
    {"duplicate key", spec("»name: y"), "key 'name' is given twice", "line 1"},
    {"base that is a word", based("»trixie"), "'base' must be a map", "write 'base: {debian: trixie}'"},
    {"base of nothing", based("»{mirror: \"https://example.org/\"}"), "'base' names no base", "one of debian, ubuntu, tarball, oci"},
    {"two bases", based("{debian: trixie, »ubuntu: noble}"), "either 'debian' or 'ubuntu'", ""},
    {"unknown suite", based("{debian: »trixi}"), "unknown debian suite 'trixi'", "did you mean 'trixie'?"},
    {"moving suite", based("{debian: »stable}"), "unknown debian suite 'stable'", "one of trixie, bookworm"},
    {"suite of the other", based("{debian: »noble}"), "unknown debian suite 'noble'", "write 'ubuntu: noble'"},
    {"tarball's suite", based("{tarball: x.tar, suite: »foo}"), "unknown suite 'foo'", "one of trixie"},
    {"tarball from the network", based("{tarball: »\"https://example.org/x.tar\"}"), "must be a file on this machine", "fetch it first"},
    {"tarball's digest", based("{tarball: x.tar, sha256: »12}"), "'sha256' must be 64 hex digits, found 2", ""},
    {"digest of a suite", based("{debian: trixie, »sha256: 12}"), "'sha256' goes with 'tarball' only", "signatures"},
    {"keyring of a tarball", based("{tarball: t.tar, »keyring: k.gpg}"), "'keyring' does not go with 'tarball'", ""},
    {"empty keyring", based("{ubuntu: noble, keyring: »''}"), "'keyring' is empty", "a file of public keys"},
    {"mirror", based("{debian: trixie, mirror: »example.org}"), "'example.org' is no URL of a mirror", "https://"},
    {"mirror with a password", based("{debian: trixie, mirror: »\"https://me:secret@example.org/debian\"}"), "must hold no credentials",
     "proxy"},
    {"mirror of a tarball", based("{tarball: x.tar, »mirror: \"https://example.org\"}"), "'mirror' does not go with 'tarball'", ""},
    {"image reference in capitals", based("{oci: »registry.example/Debian:12}"), "is no repository's name", "HOST[:PORT]/NAME"},
    {"image reference with a scheme", based("{oci: »\"https://registry.example/debian\"}"), "written without a scheme", "HOST[:PORT]/NAME"},
    {"image reference with half a digest", based("{oci: »\"debian@sha256:12\"}"), "'@' stands a digest", "HOST[:PORT]/NAME"},
    {"image of nothing", based("{oci: »\"\"}"), "'oci' is empty", ""},
    {"layout with an empty tag", based("{oci: »\"./layout:\"}"), "ends where a tag should stand", "or no ':'"},
    {"image and suite", based("{»oci: debian, debian: trixie}"), "either 'debian' or 'oci'", ""},
    {"image's suite", based("{oci: debian, suite: »foo}"), "unknown suite 'foo'", "one of trixie"},
    {"image's digest beside it", based("{oci: debian, »sha256: 12}"), "'sha256' goes with 'tarball' only", "NAME@sha256:"},
    {"mirror of an image", based("{oci: debian, »mirror: \"https://example.org\"}"), "'mirror' does not go with 'oci'", ""},
    {"image that is a list", based("{oci: »[debian]}"), "'oci' must be text, found a list", ""},
    {"architecture as uname says it", spec("architecture: »x86_64"), "'architecture' cannot be 'x86_64'", "did you mean 'amd64'?"},
    {"architecture", spec("architecture: »sparc"), "'architecture' cannot be 'sparc'", "one of amd64, arm64"},
    {"no architecture", spec("architecture: »[]"), "'architecture' is an empty list", "one or more of amd64, arm64"},
    {"architecture twice", spec("architecture: [amd64, arm64, »amd64]"), "architecture 'amd64' is named twice", "one image"},
    {"one of two architectures", spec("architecture: [amd64, »arm46]"), "'architecture' cannot be 'arm46'", "did you mean 'arm64'?"},
    {"one of two as uname says it", spec("architecture: [amd64, »aarch64]"), "'architecture' cannot be 'aarch64'", "did you mean 'arm64'?"},
    {"architectures as a map", spec("architecture: »{amd64: arm64}"), "'architecture' must be text, found a map", ""},
    {"architecture that is a list", spec("architecture: [»[amd64]]"), "each of 'architecture' must be text, found a list", ""},
    {"name too long with an architecture behind it",
     "name: »" + std::string(60, 'x') + "\nbase: {debian: trixie}\narchitecture: [amd64, arm64]\n",
     "is too long: the image for arm64 has '-arm64' behind it", "64 letters in all"},
    {"package", spec("packages: [less, »-y]"), "'-y' is no package name", ""},
    {"package with a placeholder", spec("packages: [»\"a-{suite}\"]"), "'a-{suite}' is no package name", ""},
    {"packages of an unknown family", spec("packages: {debian: [a], »rmp: [b]}"), "unknown key 'rmp' in 'packages'", "did you mean 'rpm'?"},
    {"family's package", spec("packages: {rpm: [»\"a b\"]}"), "'a b' is no package name", "as a list"},
    {"package that is a map", spec("packages: [»{a: b}]"), "each of 'packages' must be text, found a map", ""},
    {"modules as a map", spec("modules:\n  »spark: {version: 4}"), "'modules' must be a list, found a map", ""},
    {"module twice", spec("modules:\n  - spark\n  - »spark: {version: 4}"), "module 'spark' is chosen twice", "in one place"},
    {"two modules in one item", spec("modules:\n  - java:\n    »spark:"), "each item of 'modules' names one module", "indented below it"},
    {"module's name", spec("modules: [»Spark]"), "'Spark' is no module name", "'spark' would do"},
    {"module's name with parameters", spec("modules: [{»Spark: {a: b}}]"), "'Spark' is no module name", "'spark' would do"},
    {"module that is a list", spec("modules: [»[spark]]"), "must be a name, or a name with parameters", "- spark"},
    {"parameters that are text", spec("modules: [spark: »4.1]"), "the parameters of module 'spark' must be a map, found '4.1'", ""},
    {"parameter that is a map", spec("modules: [spark: {version: »{a: b}}]"), "parameter 'version' must be text, found a map", ""},
    {"unknown target", spec("targets: [rootfs, »disc]"), "unknown target 'disc'", "did you mean 'disk'?"},
    {"target twice", spec("targets: [oci, »oci]"), "target 'oci' is named twice", ""},
    {"no target", spec("targets: »[]"), "'targets' is an empty list", "one of rootfs"},
    {"ami as a word", spec("ami: »all"), "'ami' must be a map", "write 'ami: {regions: [us-east-1]}'"},
    {"unknown key of ami", spec("ami: {»region: all}"), "unknown key 'region' in 'ami'", "did you mean 'regions'?"},
    {"region that is none", spec("ami: {regions: »[europe]}"), "'europe' is no region", "us-east-1,eu-central-1"},
    {"all and a region", spec("ami: {regions: »[all, us-east-1]}"), "either 'all' or names of regions", ""},
    {"virtualization", spec("ami: {virtualization: [»pv]}"), "'virtualization'", "one of hvm, paravirtual"},
    {"boot mode twice", spec("ami: {boot_modes: [uefi, »uefi]}"), "'uefi' is named twice", ""},
    {"alias of a key", spec("ami: {kms_key: »alias/x}"), "'alias/x' is no KMS key's ARN", "takes no alias"},
    {"public and encrypted", spec("ami: {encrypted: true, launch_permissions: {public: »true}}"), "an encrypted image cannot be public",
     "leave out"},
    {"account", spec("ami: {launch_permissions: {accounts: [»1234]}}"), "'1234' is no AWS account", ""},
    {"tag of kiln's", spec("ami: {tags: {»kiln:image: x}}"), "not yours to set", ""},
    {"deprecated at once", spec("ami: {deprecate_after: »1m}"), "'deprecate_after' must be 1h to 3650d", ""},
    {"zone", spec("ami: {fast_snapshot_restore: [»us-east-1]}"), "'us-east-1' is no availability zone", "us-east-1a"},
    {"disk as a size", spec("disk: »8G"), "'disk' must be a map", "disk: {free: 2G}"},
    {"unknown key of a disk", spec("disk: {»room: 2G}"), "unknown key 'room' in 'disk'", "one of size, free"},
    {"disk with both", spec("disk: {size: 8G, »free: 2G}"), "either 'size' or 'free'", "the whole disk's"},
    {"disk of half a unit", spec("disk: {size: »1.5G}"), "must be whole GiB, 1G to 16T, found '1.5G'", "whole GiB"},
    {"disk of nothing", spec("disk: {size: »0}"), "must be whole GiB, 1G to 16T, found '0'", "whole GiB"},
    {"disk too large", spec("disk: {size: »17t}"), "must be whole GiB, 1G to 16T", "whole GiB"},
    {"disk without unit", spec("disk: {free: »lots}"), "'lots': a size starts with a number", "512m"},
    {"disk of too much room", spec("disk: {free: »40t}"), "must be 0 to 16T", ""},
    {"warm", spec("warm: »sure"), "'warm' must be true or false, found 'sure'", ""},
    {"epoch as a date", spec("epoch: »2026-01-01"), "'epoch' must be a whole number, found '2026-01-01'", ""},
    {"epoch before archives can say it", spec("epoch: »0"), "'epoch' must be 315532800 to", ""},
    {"extends nothing there", spec("extends: »nothing.yaml"), "cannot open", ""},
    {"extends a folder", spec("extends: »/"), "it is a folder", ""},
    {"tab", "name: x\nbase:\n»\tdebian: trixie\n", "a tab in the indentation", "blanks"},
};

TEST(ImageSpec, refuses_bad_specs_at_their_place) {
  expect_refused(kBadImageSpecs, [](const std::string& file, const std::string& text) { parse_image_spec(file, text); });
}

const std::vector<BadInput> kBadClusterSpecs = {
    {"empty", "»", "the cluster spec is empty", "name"},
    {"list", "»- demo\n", "the cluster spec must be a map, found a list", ""},
    {"unknown key", "name: demo\n»worker: 3\n", "unknown key 'worker' in the cluster spec", "did you mean 'workers'?"},
    {"name", "name: »My_Cluster\n", "'My_Cluster' is no cluster name", "'my-cluster' would do"},
    {"name that starts with a digit", "name: »3nodes\n", "'3nodes' is no cluster name", "'nodes' would do"},
    {"name too long", "name: »" + std::string(33, 'a') + "\n", "is no cluster name", "would do"},
    {"provider", "on: »AWS\n", "'AWS' is no provider's name", ""},
    {"image", "image: »Spark\n", "'Spark' is no image name", "'spark' would do"},
    {"no master", "masters: »0\n", "'masters' must be 1 to 9, found '0'", ""},
    {"negative workers", "workers: »-1\n", "'workers' must be 0 to 5000, found '-1'", ""},
    {"workers as text", "workers: »three\n", "'workers' must be a whole number, found 'three'", ""},
    {"cpus", "node: {cpus: »-2}\n", "'cpus' must be 0 to 4096, found '-2'", ""},
    {"memory without unit", "node: {memory: »2}\n", "a node's memory must be 128.0 MiB to", "did you mean '2g'?"},
    {"memory with a strange unit", "node: {memory: »2q}\n", "'q' is no unit of size", "512m"},
    {"unknown key of a node", "node: {»cpu: 2}\n", "unknown key 'cpu' in 'node'", "did you mean 'cpus'?"},
    {"node that is a number", "node: »2\n", "'node' must be a map, found '2'", ""},
    {"master's memory", "master: {cpus: 1, memory: »lots}\n", "'memory' cannot be 'lots'", "512m"},
    {"ttl without unit", "ttl: »8\n", "a time needs a unit", "'8s', '8m' or '8h'?"},
    {"ttl too short", "ttl: »10s\n", "ttl must be one minute", ""},
    {"ttl in a strange unit", "ttl: »8 weeks\n", "units of time are s, m, h and d", "90s"},
    {"module twice", "modules: [a, »a]\n", "module 'a' is chosen twice", "in one place"},
    {"deploy root", "deploy_root: »./nowhere\n", "'deploy_root' must be a folder, found './nowhere'", ""},
};

TEST(ClusterSpec, refuses_bad_specs_at_their_place) {
  expect_refused(kBadClusterSpecs, [](const std::string& file, const std::string& text) { parse_cluster_spec(file, text); });
}

}  // namespace
}  // namespace kiln::config
