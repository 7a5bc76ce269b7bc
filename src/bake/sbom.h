// An image's bill of materials in the two formats that others read. The same bill gives the same bytes: no clock, no random numbers.
//
// SPDX 2.3, JSON (https://spdx.github.io/spdx-spec/v2.3/): the document describes the image, which contains distribution packages, Python
// packages, Java archives, modules and kiln's agent; a module is generated from its sources, which carry SHA-256 checksums. What can be
// looked up elsewhere has a package URL (https://github.com/package-url/purl-spec). Licences are told where a package names its own in
// SPDX's terms, or in those of Debian's format that have one (bill.h); a guess would be worth less than NOASSERTION.
// The namespace ends in a digest of the document itself, so two documents never share one.
//
// CycloneDX 1.5, JSON (https://cyclonedx.org/docs/1.5/json/): the same components.
#pragma once

#include <string>
#include <vector>

#include "bake/bill.h"

namespace kiln::bake {

// Where every image has it.
inline constexpr const char* kSbomPath = "usr/lib/kiln/sbom.spdx.json";

std::string spdx_text(const Bill& bill);
std::string cyclonedx_text(const Bill& bill);

// ARTIFACT.spdx.json, beside what an image was exported to; gives its path.
std::filesystem::path write_sbom_beside(const Store& store, const Image& image, const std::filesystem::path& artifact);

struct SbomFormat {
  const char* name;  // "spdx", "cyclonedx"
  std::string (*text)(const Bill& bill);
};
const std::vector<SbomFormat>& sbom_formats();

// --- what both are made of (sbom.cc) ---

// One thing that the image contains or is made of.
struct SbomItem {
  std::string id;  // unique, of letters, digits, '.' and '-': "deb-libc6-amd64"
  std::string name, version;
  std::string purl;     // or empty
  std::string sha256;   // or empty
  std::string url;      // where it was downloaded from, or empty
  std::string licence;  // an SPDX expression, or empty
  std::string comment;  // where in the image it lies, what it was given
  std::string part_of;  // the id of the module whose source it is; empty: part of the image
  bool library = true;  // else an application: modules and the agent
};
std::vector<SbomItem> sbom_items(const Bill& bill);
// What is to be said of the image as a whole: privileged files, packages that could not be listed. Or empty.
std::string bill_comment(const Bill& bill);
// "/usr/bin/passwd (4755, 0:0)", …
std::vector<std::string> privileged_words(const Bill& bill);
// RFC 3339, in UTC.
std::string sbom_time(const Bill& bill);
// A random-looking UUID (RFC 9562, version 8) that is the same for the same text.
std::string uuid_of(const std::string& text);

}  // namespace kiln::bake
