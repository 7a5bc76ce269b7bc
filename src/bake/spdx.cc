// SPDX 2.3 as JSON; sbom.h says what is in it.
#include "bake/sbom.h"

namespace kiln::bake {

namespace {

constexpr const char* kNoAssertion = "NOASSERTION";

Json spdx_package(const SbomItem& item) {
  Json package = {{"SPDXID", "SPDXRef-" + item.id},
                  {"name", item.name},
                  {"downloadLocation", item.url.empty() ? kNoAssertion : item.url},
                  {"filesAnalyzed", false},
                  {"licenseConcluded", kNoAssertion},
                  {"licenseDeclared", item.licence.empty() ? kNoAssertion : item.licence},
                  {"copyrightText", kNoAssertion},
                  {"primaryPackagePurpose", !item.part_of.empty() ? "SOURCE"
                                            : item.library        ? "LIBRARY"
                                                                  : "APPLICATION"}};
  if (!item.version.empty()) package["versionInfo"] = item.version;
  if (!item.comment.empty()) package["comment"] = item.comment;
  if (!item.sha256.empty()) package["checksums"] = Json::array({{{"algorithm", "SHA256"}, {"checksumValue", item.sha256}}});
  if (!item.purl.empty()) {
    package["externalRefs"] =
        Json::array({{{"referenceCategory", "PACKAGE-MANAGER"}, {"referenceType", "purl"}, {"referenceLocator", item.purl}}});
  }
  return package;
}

Json relationship(const std::string& from, const char* type, const std::string& to) {
  return {{"spdxElementId", "SPDXRef-" + from}, {"relationshipType", type}, {"relatedSpdxElement", "SPDXRef-" + to}};
}

}  // namespace

std::string spdx_text(const Bill& bill) {
  Json image = {{"SPDXID", "SPDXRef-image"},
                {"name", bill.image},
                {"versionInfo", bill.digest},
                {"downloadLocation", kNoAssertion},
                {"filesAnalyzed", false},
                {"licenseConcluded", kNoAssertion},
                {"licenseDeclared", kNoAssertion},
                {"copyrightText", kNoAssertion},
                {"primaryPackagePurpose", "OPERATING_SYSTEM"}};
  if (!bill.summary.empty()) image["summary"] = bill.summary;
  if (const std::string comment = bill_comment(bill); !comment.empty()) image["comment"] = comment;
  // array(): what braces around one value make of it depends on the compiler.
  Json packages = Json::array(), relationships = Json::array();
  packages.push_back(std::move(image));
  relationships.push_back(relationship("DOCUMENT", "DESCRIBES", "image"));
  for (const auto& item : sbom_items(bill)) {
    packages.push_back(spdx_package(item));
    relationships.push_back(item.part_of.empty() ? relationship("image", "CONTAINS", item.id)
                                                 : relationship(item.part_of, "GENERATED_FROM", item.id));
  }
  Json document = {{"spdxVersion", "SPDX-2.3"},
                   {"dataLicense", "CC0-1.0"},
                   {"SPDXID", "SPDXRef-DOCUMENT"},
                   {"name", bill.image},
                   {"creationInfo", {{"created", sbom_time(bill)}, {"creators", Json::array({"Tool: kiln-" KILN_VERSION})}}},
                   {"packages", packages},
                   {"relationships", relationships}};
  // The form that the specification gives to those who own no place on the web (2.3, 6.5).
  document["documentNamespace"] = "https://spdx.org/spdxdocs/" + bill.image + "-" + uuid_of(document.dump());
  return document.dump(1) + "\n";
}

}  // namespace kiln::bake
