// Bills: what package databases say, also when they are odd, and that the two formats name the same things.
#include "bake/bill.h"

#include <gtest/gtest.h>

#include "bake/lock.h"
#include "bake/rpm.h"
#include "bake/sbom.h"
#include "base/error.h"
#include "base/files.h"

namespace kiln::bake {
namespace {

TEST(DpkgStatus, ReadsInstalledPackagesOnly) {
  const auto packages = parse_dpkg_status(
      "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib (1:1.3-2)\nVersion: 1:1.3-2+b1\n"
      "Description: a library\n Version: this is no field\n\n"
      "Package: left\nStatus: deinstall ok config-files\nVersion: 1\n\n"
      "Package: half\nStatus: install ok half-configured\nVersion: 1\n\n"
      "Package: apt\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 3.0");
  ASSERT_EQ(packages.size(), 2u);
  EXPECT_EQ(packages[0].name, "apt");
  EXPECT_EQ(packages[0].source, "apt");
  EXPECT_EQ(packages[0].source_version, "3.0");
  EXPECT_EQ(packages[1].version, "1:1.3-2+b1");
  EXPECT_EQ(packages[1].source, "zlib");
  EXPECT_EQ(packages[1].source_version, "1:1.3-2");
}

TEST(DpkgStatus, BrokenTextGivesNothing) {
  for (const char* text : {"", "\n\n\n", "Package: x", "no colon\nStatus: install ok installed\n", ":\n:\n"})
    EXPECT_TRUE(parse_dpkg_status(text).empty()) << text;
}

TEST(Rpm, ReadsItsAnswer) {
  const auto packages = parse_rpm_answer(
      "openssl-libs\t1\t3.0.7-27.el9\tx86_64\topenssl-3.0.7-27.el9.src.rpm\taa\n"
      "bash\t\t5.1.8-9.el9\tx86_64\tbash-5.1.8-9.el9.src.rpm\t\n"
      "kernel\t0\t6-2\tx86_64\tkernel-6-2.src.rpm\t\nkernel\t0\t6-1\tx86_64\tkernel-6-1.nosrc.rpm\t\n"
      "gpg-pubkey\t\t1-2\t(none)\t\t\nodd\t\t1-1\tnoarch\todd.rpm\t\nnot a line\n\t\t\t\t\t\n");
  ASSERT_EQ(packages.size(), 5u);
  EXPECT_EQ(packages[0].name, "bash");
  EXPECT_EQ(packages[0].kind, "rpm");
  EXPECT_EQ(packages[0].version, "5.1.8-9.el9");
  EXPECT_EQ(packages[0].source, "bash");
  EXPECT_EQ(packages[1].version, "6-1");
  EXPECT_EQ(packages[1].source_version, "6-1");
  EXPECT_EQ(packages[3].source, "odd");
  EXPECT_EQ(packages[3].source_version, "1-1");
  EXPECT_EQ(packages[4].version, "1:3.0.7-27.el9");
  EXPECT_EQ(packages[4].source, "openssl");
  EXPECT_EQ(packages[4].source_version, "1:3.0.7-27.el9");
  EXPECT_EQ(packages[4].digest, "aa");
}

TEST(Rpm, FindsDatabasesOfEveryKind) {
  for (const char* line :
       {"f 1 var/lib/rpm/Packages\n", "d 0 var\nf 9 usr/lib/sysimage/rpm/rpmdb.sqlite\n", "f 1 usr/lib/sysimage/rpm/Packages.db\n"})
    EXPECT_TRUE(has_rpm_database(line)) << line;
  for (const char* line :
       {"", "w 0 var/lib/rpm/Packages\n", "f 1 opt/var/lib/rpm/Packages\n", "l 1 var/lib/rpm/Packages\n", "f 1 var/lib/rpm/Packages.old\n"})
    EXPECT_FALSE(has_rpm_database(line)) << line;
}

TEST(LayerBills, TopmostListOfEachKindCounts) {
  const auto package = [](const std::string& kind, const std::string& name) {
    return DistributionPackage{kind, name, "1", "all", name, "1"};
  };
  LayerBill base, packages, module;
  base.databases = {"deb", "rpm"};
  base.packages = {package("deb", "a"), package("rpm", "b")};
  packages.databases = {"rpm"};
  packages.packages = {package("rpm", "c")};
  const auto installed = installed_packages({base, packages, module});
  ASSERT_EQ(installed.size(), 2u);
  EXPECT_EQ(installed[0].name + installed[1].name, "ac");
}

TEST(PythonMetadata, EndsWithTheHeader) {
  const auto package = parse_python_metadata("Name: Six\nVersion: 1.17.0\n\nName: not this one\n", "usr/lib/six.dist-info");
  EXPECT_EQ(package.name, "Six");
  EXPECT_EQ(package.version, "1.17.0");
  EXPECT_EQ(package.licence, "");
}

TEST(OsRelease, QuotesGo) {
  const auto os = parse_os_release("ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME='trixie'\nNAME\n");
  EXPECT_EQ(os.id, "debian");
  EXPECT_EQ(os.version, "13");
  EXPECT_EQ(os.codename, "trixie");
}

TEST(Copyright, OnlyWhatHasAnIdentifierForSure) {
  const std::string format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n";
  EXPECT_EQ(parse_copyright(format + "Files: *\nLicense: GPL-2+ or Expat\n text\n\nFiles: b\nLicense: ISC\n\nLicense: Expat\n words\n"),
            "(GPL-2.0-or-later OR MIT) AND ISC AND MIT");
  EXPECT_EQ(parse_copyright(format + "License: GPL-2+ and Apache-2.0\n"), "Apache-2.0 AND GPL-2.0-or-later");
  for (const char* licence :
       {"public-domain", "GPL-2+ with Autoconf exception", "MIT", "", "or", "ISC or", "ISC ISC", "and ISC", "ISC or Expat and Zlib"})
    EXPECT_EQ(parse_copyright(format + "License: ISC\n\nLicense: " + licence + "\n"), "") << licence;
  EXPECT_EQ(parse_copyright("It is under the GPL.\nLicense: ISC\n"), "");
}

Bill bill() {
  Bill bill;
  bill.image = "toy";
  bill.digest = std::string(64, 'd');
  bill.os = {"debian", "13", "trixie"};
  bill.packages = {{"deb", "g++", "1", "amd64", "g++", "1", ""}, {"deb", "g--", "1", "amd64", "g--", "1", ""}};
  bill.python = {{"a_b", "1", "MIT OR Apache-2.0", "p"}, {"c", "1", "My own terms", "q"}};
  return bill;
}

TEST(Sbom, NamesThatBecomeOneIdentifierStayTwo) {
  const auto items = sbom_items(bill());
  EXPECT_EQ(items[0].id, "deb-g---amd64");
  EXPECT_EQ(items[1].id, "deb-g---amd64-2");
}

TEST(Sbom, OnlyLicencesThatValidatorsKnow) {
  const auto items = sbom_items(bill());
  EXPECT_EQ(items[2].licence, "MIT OR Apache-2.0");
  EXPECT_EQ(items[2].purl, "pkg:pypi/a-b@1");
  EXPECT_EQ(items[3].licence, "");
}

TEST(Sbom, AnotherContentHasAnotherNamespace) {
  Bill other = bill();
  other.packages[0].version = "2";
  EXPECT_EQ(spdx_text(bill()), spdx_text(bill()));
  EXPECT_NE(Json::parse(spdx_text(bill()))["documentNamespace"], Json::parse(spdx_text(other))["documentNamespace"]);
  EXPECT_NE(Json::parse(cyclonedx_text(bill()))["serialNumber"], Json::parse(cyclonedx_text(other))["serialNumber"]);
}

TEST(LayerBillJson, ComesBackAsItWas) {
  LayerBill layer;
  layer.databases = {"deb"};
  layer.packages = bill().packages;
  layer.python = bill().python;
  layer.jars = {{"opt/x.jar", "g", "a", "1"}};
  layer.privileged = {{"usr/bin/su", 04755, 0, 0}};
  layer.opaque = {"opt/gone"};
  layer.licences = {{"su", "ISC"}};
  EXPECT_EQ(LayerBill::from_json(layer.to_json()).to_json(), layer.to_json());
  EXPECT_TRUE(LayerBill::from_json(LayerBill().to_json()).databases.empty());
}

TEST(Lock, TellsEveryDifference) {
  Lock lock;
  lock.packages["base"] = {{"a", "1", "all", "aa"}, {"b", "1", "all", ""}, {"c", "1", "all", "cc"}};
  const auto installed = [](const std::string& name, const std::string& version) {
    return DistributionPackage{"deb", name, version, "all", name, version, ""};
  };
  EXPECT_TRUE(
      differences_from_lock(lock, "base", {installed("a", "1"), installed("b", "1"), installed("c", "1")}, {{"a 1 all", "aa"}}).empty());
  const auto lines =
      differences_from_lock(lock, "packages", {installed("a", "2"), installed("c", "1"), installed("d", "1")}, {{"c 1 all", "dd"}});
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "a 1 (all) can no longer be had: there is 2");
  EXPECT_EQ(lines[1], "b 1 (all) can no longer be had: it was not installed");
  EXPECT_NE(lines[2].find("another content"), std::string::npos);
  EXPECT_EQ(lines[3], "d 1 (all) is not in the lock");
}

TEST(Lock, TwoVersionsOfOneName) {
  Lock lock;
  lock.packages["base"] = {{"kernel", "1", "all", ""}, {"kernel", "2", "all", ""}};
  const auto installed = [](const std::string& version) {
    return DistributionPackage{"rpm", "kernel", version, "all", "kernel", version, ""};
  };
  EXPECT_TRUE(differences_from_lock(lock, "base", {installed("2"), installed("1")}, {}).empty());
  const auto lines = differences_from_lock(lock, "base", {installed("2"), installed("3")}, {});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], "kernel 1 (all) can no longer be had: there is 3");
}

TEST(Lock, RpmPackagesAreWhatTheBaseHasNot) {
  Lock lock;
  lock.packages["base"] = {{"a", "1-1", "noarch", "aa"}, {"b", "1-1", "noarch", ""}};
  lock.packages["packages"] = {{"a", "1-1", "noarch", "aa"}, {"b", "2-1", "noarch", ""}, {"c", "3:1-1", "x86_64", ""}};
  EXPECT_EQ(lock.rpm_packages("packages"), (std::vector<std::string>{"b-2-1.noarch", "c-3:1-1.x86_64"}));
  EXPECT_TRUE(lock.rpm_packages("base").empty());
}

TEST(Lock, WhatIsAddedIsALockOfItsOwn) {
  Lock lock;
  lock.packages["packages"] = {{"a", "1", "all", ""}};
  lock.added["machine"].packages = {{"a", "1", "all", ""}, {"b", "1", "all", ""}};
  const Lock added = lock_of_addition(lock, "machine");
  EXPECT_EQ(added.state_after("base").size(), 1u);
  EXPECT_EQ(added.state_after("packages").size(), 2u);
  EXPECT_THROW(lock_of_addition(lock, "engine"), UsageError);
}

TEST(Lock, PreferencesNameEachVersion) {
  Lock lock;
  lock.packages["base"] = {{"a", "1", "all", ""}};
  lock.packages["packages"] = {{"a", "1", "all", ""}, {"b", "2:3~x", "all", ""}};
  EXPECT_EQ(lock.preferences("base"), "Package: a\nPin: version 1\nPin-Priority: 1001\n\n");
  EXPECT_NE(lock.preferences("packages").find("Package: b\nPin: version 2:3~x\n"), std::string::npos);
}

TEST(Lock, NoLinesOfTheirOwnInPreferences) {
  TemporaryFolder folder;
  const auto file = folder.path() / "bad.lock.json";
  write_file_atomically(
      file,
      R"({"kiln_lock": 1, "image": "x", "architecture": "amd64", "layer_format": 1, "epoch": 1, "warm": false, "base": {}, "modules": {},
    "packages": {"base": ["a\nPin: version 1 all"]}})");
  EXPECT_THROW(read_lock(file), UsageError);
}

}  // namespace
}  // namespace kiln::bake
