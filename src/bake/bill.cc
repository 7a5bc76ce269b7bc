#include "bake/bill.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "bake/bill_job.h"
#include "bake/layer_files.h"
#include "bake/packages.h"
#include "bake/rpm.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "container/cell.h"

namespace kiln::bake {

namespace {

fs::path bill_file(const Store& store, const std::string& key) { return store.layer_folder(key).parent_path() / "bill.json"; }

// Nothing when it is not there, or of another format, or damaged: the layer is then read again.
std::optional<LayerBill> stored_bill(const Store& store, const std::string& key) {
  const auto text = read_file_if_there(bill_file(store, key));
  if (!text) return std::nullopt;
  try {
    const Json json = Json::parse(*text);
    if (json.at("format") != kBillFormat) return std::nullopt;
    return LayerBill::from_json(json);
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

// What the image's own rpm says, where the topmost of the layers has a database of its.
void add_rpm_packages(const Store& store, LayerBill& bill, const RpmQuestion& question) {
  const auto list_of = [](const fs::path& layer) { return read_file(layer.parent_path() / "files"); };
  if (!has_rpm_database(list_of(question.layers.back()))) return;
  const bool has_shell =
      std::any_of(question.layers.begin(), question.layers.end(), [&](const fs::path& layer) { return has_program(list_of(layer), "sh"); });
  const auto packages = has_shell ? ask_rpm(store, question) : std::nullopt;
  if (!packages) {
    bill.unread = true;
    return;
  }
  bill.databases.emplace_back("rpm");
  for (auto package : *packages) {
    for (std::string* text :
         {&package.name, &package.version, &package.architecture, &package.source, &package.source_version, &package.digest})
      *text = as_utf8(*text);
    bill.packages.push_back(std::move(package));
  }
}

// Everything of `path` and below it.
template <class Map>
void hide(Map& files, const std::string& path, bool itself) {
  if (itself) files.erase(path);
  const std::string prefix = path + "/";
  auto at = files.lower_bound(prefix);
  while (at != files.end() && at->first.starts_with(prefix)) at = files.erase(at);
}

bool tells(const config::SourceLocation& location, const SourceRecord& record) {
  using Kind = config::SourceLocation::Kind;
  const std::string& what = location.what.at(0);
  switch (location.kind) {
    case Kind::kUrl:
      return record.from == without_credentials(what);
    case Kind::kPypi:
      // One file's record has its URL on the index, several files' "pypi: …".
      return record.from.starts_with("pypi: ") || (!record.folder && record.name.ends_with(location.sdist ? ".gz" : ".whl"));
    case Kind::kMaven:
      return record.from.starts_with("maven: ");
    case Kind::kGit:
      return record.from.starts_with("git: ");
    case Kind::kFile:
      return record.from.starts_with("file: ");
    case Kind::kOci:
      return record.from.starts_with("oci: ");
  }
  return false;
}

// What the store knows of a source whose digest the layer has. A local file may have changed since: the digest tells, not the file.
BillSource bill_source(const Sources& sources, const SourceRequest& request, const std::string& digest) {
  BillSource source;
  source.name = request.spec.name;
  const auto& mirrors = request.spec.mirrors;
  source.location = mirrors.at(0);
  const bool local = mirrors[0].kind == config::SourceLocation::Kind::kFile;
  std::optional<SourceRecord> record = local ? std::nullopt : sources.find(request);
  if (record && record->digest == digest) {
    const auto gave = std::find_if(mirrors.begin(), mirrors.end(), [&](const auto& mirror) { return tells(mirror, *record); });
    // The first of its kind: mirrors of one digest give the same file.
    if (gave != mirrors.end()) {
      source.location = *std::find_if(mirrors.begin(), mirrors.end(), [&](const auto& mirror) { return mirror.kind == gave->kind; });
    }
    source.record = std::move(*record);
    return source;
  }
  source.record.digest = digest;
  if (local) {
    source.record.name = fs::path(mirrors[0].what.at(0)).filename();
    source.record.files = {{source.record.name, digest, ""}};
  }
  return source;
}

// The layer that the module's init.sh made; null where it has none.
const Layer* layer_of_module(const Image& image, const std::string& module) {
  for (const auto& layer : image.layers) {
    if (layer.module == module) return &layer;
  }
  return nullptr;
}

// The files of all modules are among the inputs of the top layer; without it, what its layer says.
std::map<std::string, std::string> files_of_module(const Image& image, const std::string& module) {
  for (auto layer = image.layers.rbegin(); layer != image.layers.rend(); ++layer) {
    const Json* at = &layer->inputs;
    for (const auto& name : {std::string("modules"), module, std::string("files")}) {
      const auto found = at->is_object() ? at->find(name) : at->end();
      at = at->is_object() && found != at->end() ? &*found : nullptr;
      if (at == nullptr) break;
    }
    if (at != nullptr) return at->get<std::map<std::string, std::string>>();
  }
  return {};
}

std::vector<BillSource> sources_of_module(const Store& store, const Image& image, const ImageModule& module,
                                          const config::Values& builtins) {
  const Layer* layer = layer_of_module(image, module.manifest.name);
  if (layer == nullptr) return {};
  const Json digests = layer->inputs.value("sources", Json::object());
  config::Values values = builtins;
  for (const auto& [name, value] : module.params) values[name] = value;
  const Sources sources(store);
  std::vector<BillSource> list;
  for (const auto& request : source_requests(module.manifest, values)) {
    const auto digest = digests.find(request.spec.name);
    if (digest != digests.end() && digest->is_string()) list.push_back(bill_source(sources, request, digest->get<std::string>()));
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return list;
}

}  // namespace

std::string as_utf8(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return text;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

Json LayerBill::to_json() const {
  Json json = {{"format", kBillFormat}, {"os", {{"id", os.id}, {"version", os.version}, {"codename", os.codename}}}};
  json["databases"] = databases;
  json["unread"] = unread;
  json["packages"] = Json::array();
  for (const auto& package : packages) {
    json["packages"].push_back({{"kind", package.kind},
                                {"name", package.name},
                                {"version", package.version},
                                {"architecture", package.architecture},
                                {"source", package.source},
                                {"source_version", package.source_version},
                                {"digest", package.digest}});
  }
  for (const char* list : {"python", "jars", "privileged"}) json[list] = Json::array();
  for (const auto& package : python)
    json["python"].push_back({{"name", package.name}, {"version", package.version}, {"licence", package.licence}, {"path", package.path}});
  for (const auto& jar : jars)
    json["jars"].push_back({{"path", jar.path}, {"group", jar.group}, {"artifact", jar.artifact}, {"version", jar.version}});
  for (const auto& file : privileged)
    json["privileged"].push_back({{"path", file.path}, {"mode", file.mode}, {"uid", file.uid}, {"gid", file.gid}});
  json["opaque"] = opaque;
  json["licences"] = licences;
  return json;
}

LayerBill LayerBill::from_json(const Json& json) {
  LayerBill bill;
  const Json& os = json.at("os");
  bill.os = {os.at("id"), os.at("version"), os.at("codename")};
  bill.databases = json.at("databases").get<std::vector<std::string>>();
  bill.unread = json.at("unread");
  for (const auto& package : json.at("packages")) {
    bill.packages.push_back({package.at("kind"), package.at("name"), package.at("version"), package.at("architecture"),
                             package.at("source"), package.at("source_version"), "", package.at("digest")});
  }
  for (const auto& package : json.at("python"))
    bill.python.push_back({package.at("name"), package.at("version"), package.at("licence"), package.at("path")});
  for (const auto& jar : json.at("jars")) bill.jars.push_back({jar.at("path"), jar.at("group"), jar.at("artifact"), jar.at("version")});
  for (const auto& file : json.at("privileged"))
    bill.privileged.push_back({file.at("path"), file.at("mode"), file.at("uid"), file.at("gid")});
  bill.opaque = json.at("opaque").get<std::vector<std::string>>();
  bill.licences = json.at("licences").get<std::map<std::string, std::string>>();
  return bill;
}

std::vector<LayerBill> layer_bills(const Store& store, const std::vector<std::string>& keys, const std::string& architecture) {
  std::vector<LayerBill> bills(keys.size());
  std::vector<std::size_t> unread;
  Json folders = Json::array();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (auto bill = stored_bill(store, keys[i])) {
      bills[i] = std::move(*bill);
      continue;
    }
    const fs::path folder = store.layer_folder(keys[i]);
    if (!fs::is_directory(folder)) fail("the layer '{}' is not in the store", keys[i].substr(0, 12));
    unread.push_back(i);
    folders.push_back(folder.native());
  }
  if (unread.empty()) return bills;
  const Json answer = container::run_in_cell(kBillJob, {{"folders", folders}});
  RpmQuestion question{{}, {}, architecture};
  std::vector<fs::path> all;
  for (const auto& key : keys) all.push_back(store.layer_folder(key));
  for (std::size_t i = 0; i < unread.size(); ++i) {
    const std::size_t index = unread[i];
    bills[index] = LayerBill::from_json(answer.at("bills").at(i));
    question.layers.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(index) + 1);
    store.folder("logs");
    question.log = store.log_file(keys[index]);
    add_rpm_packages(store, bills[index], question);
    write_file_atomically(bill_file(store, keys[index]), bills[index].to_json().dump() + "\n");
  }
  return bills;
}

std::vector<LayerBill> bills_with_work(const Store& store, const std::vector<std::string>& keys, const fs::path& work, const fs::path& log,
                                       const std::string& architecture) {
  auto bills = layer_bills(store, keys, architecture);
  const Json answer = container::run_in_cell(kBillJob, {{"folders", Json::array({(work / "fs").native()})}});
  bills.push_back(LayerBill::from_json(answer.at("bills").at(0)));
  RpmQuestion question{{}, log, architecture};
  for (const auto& key : keys) question.layers.push_back(store.layer_folder(key));
  question.layers.push_back(work / "fs");
  add_rpm_packages(store, bills.back(), question);
  return bills;
}

std::vector<DistributionPackage> installed_packages(const std::vector<LayerBill>& bills) {
  std::map<std::string, std::vector<DistributionPackage>> by_kind;
  for (const auto& bill : bills) {
    for (const auto& kind : bill.databases) by_kind[kind].clear();
    for (const auto& package : bill.packages) by_kind[package.kind].push_back(package);
  }
  std::vector<DistributionPackage> all;
  for (const auto& [kind, packages] : by_kind) all.insert(all.end(), packages.begin(), packages.end());
  return all;
}

std::map<std::string, MergedFile> merged_files(const Store& store, const std::vector<Layer>& layers, const std::vector<LayerBill>& bills) {
  std::map<std::string, MergedFile> files;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (const auto& path : bills[i].opaque) hide(files, path, false);
    const auto list = read_list(read_file(store.layer_folder(layers[i].key).parent_path() / "files"));
    for (const auto& file : list) {
      const std::string name = as_utf8(file.path);
      const auto before = files.find(name);
      // A folder over a folder is both; anything else hides what was there.
      if (before != files.end() && before->second.type == 'd' && file.type != 'd') hide(files, name, true);
      if (file.type == 'w')
        files.erase(name);
      else
        files[name] = {i, file.path, file.type, file.size_bytes};
    }
  }
  return files;
}

Bill bill_of(const Store& store, const Image& image, const std::string& agent_digest) {
  return with_context("reading what is in image '" + image.name + "'", [&] {
    Bill bill;
    bill.image = image.name;
    bill.summary = image.summary;
    bill.digest = image.digest;
    bill.architecture = image.architecture;
    bill.epoch = image.spec.value("epoch", std::int64_t{0});
    bill.agent_digest = agent_digest;
    // The top layer is kiln's own, and is not there while it is made.
    std::vector<Layer> layers;
    std::vector<std::string> keys;
    for (const auto& layer : image.layers) {
      if (layer.inputs.value("kind", "") == "agent") continue;
      layers.push_back(layer);
      keys.push_back(layer.key);
    }
    const auto bills = layer_bills(store, keys, image.architecture);
    const auto files = merged_files(store, layers, bills);
    std::map<std::string, std::string> licences;
    for (std::size_t i = 0; i < bills.size(); ++i) {
      const auto is_seen = [&](const std::string& path) {
        const auto found = files.find(path);
        return found != files.end() && found->second.layer == i;
      };
      if (!bills[i].os.id.empty()) bill.os = bills[i].os;
      const auto& kinds = bills[i].databases;
      if (bills[i].unread) bill.unread_packages = true;
      if (std::find(kinds.begin(), kinds.end(), "rpm") != kinds.end()) bill.unread_packages = false;
      for (const auto& [package, licence] : bills[i].licences) licences[package] = licence;
      for (const auto& package : bills[i].python) {
        if (is_seen(package.path + "/METADATA")) bill.python.push_back(package);
      }
      for (const auto& jar : bills[i].jars) {
        if (is_seen(jar.path)) bill.jars.push_back(jar);
      }
      for (const auto& file : bills[i].privileged) {
        if (is_seen(file.path)) bill.privileged.push_back(file);
      }
    }
    bill.packages = installed_packages(bills);
    for (auto& package : bill.packages) {
      if (const auto licence = licences.find(package.name); licence != licences.end()) package.licence = licence->second;
    }
    std::sort(bill.python.begin(), bill.python.end(),
              [](const auto& a, const auto& b) { return std::tie(a.name, a.path) < std::tie(b.name, b.path); });
    const auto by_path = [](const auto& a, const auto& b) { return a.path < b.path; };
    std::sort(bill.jars.begin(), bill.jars.end(), by_path);
    std::sort(bill.privileged.begin(), bill.privileged.end(), by_path);

    const auto spec = config::image_spec_from_json(image.spec);
    const auto builtins = config::builtin_values(spec.base, spec.architecture);
    for (const auto& module : image.modules) {
      const std::string& name = module.manifest.name;
      bill.modules.push_back(
          {name, module.manifest.summary, module.params, files_of_module(image, name), sources_of_module(store, image, module, builtins)});
    }
    return bill;
  });
}

Bill bill_of(const Store& store, const Image& image) {
  std::string agent;
  for (const auto& layer : image.layers) {
    if (layer.inputs.value("kind", "") == "agent") agent = layer.inputs.value("agent", "");
  }
  return bill_of(store, image, agent);
}

}  // namespace kiln::bake
