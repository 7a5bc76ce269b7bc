// CycloneDX 1.5 as JSON; sbom.h says what is in it.
#include <algorithm>
#include <map>

#include "bake/sbom.h"

namespace kiln::bake {

namespace {

Json component(const SbomItem& item) {
  Json component = {{"type", item.library ? "library" : "application"}, {"bom-ref", item.id}, {"name", item.name}};
  if (!item.version.empty()) component["version"] = item.version;
  if (!item.comment.empty()) component["description"] = item.comment;
  if (!item.sha256.empty()) component["hashes"] = Json::array({{{"alg", "SHA-256"}, {"content", item.sha256}}});
  if (!item.purl.empty()) component["purl"] = item.purl;
  if (!item.licence.empty()) component["licenses"] = Json::array({Json::object({{"expression", item.licence}})});
  if (!item.url.empty()) component["externalReferences"] = Json::array({{{"type", "distribution"}, {"url", item.url}}});
  return component;
}

}  // namespace

std::string cyclonedx_text(const Bill& bill) {
  Json components = Json::array(), dependencies = Json::array(), parts = Json::array();
  std::map<std::string, Json> sources;
  for (const auto& item : sbom_items(bill)) {
    components.push_back(component(item));
    if (item.part_of.empty())
      parts.push_back(item.id);
    else
      sources[item.part_of].push_back(item.id);
  }
  dependencies.push_back({{"ref", "image"}, {"dependsOn", parts}});
  for (const auto& [module, ids] : sources) dependencies.push_back({{"ref", module}, {"dependsOn", ids}});
  Json image = {{"type", "operating-system"}, {"bom-ref", "image"}, {"name", bill.image}, {"version", bill.digest}};
  if (!bill.summary.empty()) image["description"] = bill.summary;
  if (const std::string comment = bill_comment(bill); !comment.empty())
    image["properties"] = Json::array({{{"name", "kiln:comment"}, {"value", comment}}});
  Json document = {{"bomFormat", "CycloneDX"},
                   {"specVersion", "1.5"},
                   {"version", 1},
                   {"metadata",
                    {{"timestamp", sbom_time(bill)},
                     {"tools", {{"components", Json::array({{{"type", "application"}, {"name", "kiln"}, {"version", KILN_VERSION}}})}}},
                     {"component", image}}},
                   {"components", components},
                   {"dependencies", dependencies}};
  document["serialNumber"] = "urn:uuid:" + uuid_of(document.dump());
  return document.dump(1) + "\n";
}

}  // namespace kiln::bake
