#include "provider/local/record.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/home.h"
#include "base/strings.h"

namespace kiln::provider::local {

namespace {

constexpr const char* kProvider = "local";

State state_from(const std::string& text) {
  for (const State state : {State::kCreating, State::kRunning, State::kStopped}) {
    if (text == state_name(state)) return state;
  }
  fail("unknown state '{}'", text);
}

struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

struct Route {
  std::uint32_t destination = 0, mask = 0;  // in host order
};

// /proc/net/route: Iface Destination Gateway Flags RefCnt Use Metric Mask …, numbers in hex of network order.
std::vector<Route> parse_routes(const std::string& text) {
  std::vector<Route> routes;
  for (const auto& line : split(text, '\n')) {
    char interface[64];
    unsigned destination = 0, gateway = 0, flags = 0, mask = 0;
    int ref = 0, use = 0, metric = 0;
    if (std::sscanf(line.c_str(), "%63s %x %x %x %d %d %d %x", interface, &destination, &gateway, &flags, &ref, &use, &metric, &mask) != 8)
      continue;
    routes.push_back({__builtin_bswap32(destination), __builtin_bswap32(mask)});
  }
  return routes;
}

}  // namespace

Json record_to_json(const Record& record) {
  const Cluster& cluster = record.cluster;
  Json nodes = Json::array();
  for (const auto& node : cluster.nodes) {
    nodes.push_back({{"name", node.name},
                     {"role", node.role},
                     {"address", node.address},
                     {"cpus", node.resources.cpus},
                     {"memory_bytes", node.resources.memory_bytes}});
  }
  Json json = {{"kiln", 1},
               {"name", cluster.name},
               {"state", state_name(cluster.state)},
               {"created", cluster.created},
               {"image", cluster.image},
               {"image_digest", cluster.image_digest},
               {"secret", cluster.secret},
               {"nodes", std::move(nodes)},
               {"notes", cluster.notes},
               {"layers", record.layer_keys},
               {"layer_folders", record.layer_folders},
               {"subnet", record.subnet},
               {"next_host", record.next_host},
               {"cgroup", record.cgroup}};
  if (cluster.lease_until) json["lease_until"] = *cluster.lease_until;
  return json;
}

Record record_from_json(const Json& json) {
  try {
    Record record;
    Cluster& cluster = record.cluster;
    cluster.name = json.at("name").get<std::string>();
    cluster.provider = kProvider;
    cluster.state = state_from(json.at("state").get<std::string>());
    cluster.created = json.at("created").get<std::int64_t>();
    cluster.image = json.at("image").get<std::string>();
    cluster.image_digest = json.at("image_digest").get<std::string>();
    cluster.secret = json.at("secret").get<std::string>();
    if (json.contains("lease_until")) cluster.lease_until = json.at("lease_until").get<std::int64_t>();
    for (const auto& node : json.at("nodes")) {
      Node entry;
      entry.name = node.at("name").get<std::string>();
      entry.role = node.at("role").get<std::string>();
      entry.address = node.at("address").get<std::string>();
      entry.resources = {node.at("cpus").get<double>(), node.at("memory_bytes").get<std::int64_t>()};
      cluster.nodes.push_back(std::move(entry));
    }
    cluster.notes = json.at("notes");
    record.layer_keys = json.at("layers").get<std::vector<std::string>>();
    record.layer_folders = json.at("layer_folders").get<std::vector<std::string>>();
    record.subnet = json.at("subnet").get<std::string>();
    record.next_host = json.at("next_host").get<unsigned>();
    record.cgroup = json.at("cgroup").get<std::string>();
    return record;
  } catch (const Json::exception& error) {
    fail("a cluster's record makes no sense: {}", error.what());
  }
}

std::filesystem::path clusters_folder() { return home_folder() / "clusters"; }
std::filesystem::path cluster_folder(const std::string& name) { return clusters_folder() / name; }

std::optional<Record> load_record(const std::filesystem::path& folder) {
  const auto text = read_file_if_there(folder / "cluster.json");
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) fail("cannot read '{}': it is no JSON object", (folder / "cluster.json").native());
  return record_from_json(json);
}

void save_record(const std::filesystem::path& folder, const Record& record) {
  const std::filesystem::path path = folder / "cluster.json", fresh = folder / "cluster.json.new";
  const std::string text = record_to_json(record).dump(2);
  const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(fresh.c_str(), path.c_str()) != 0) {
    fail("cannot write '{}': {}", path.native(), errno_text(errno));
  }
}

std::optional<Fd> try_lock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) fail("cannot open '{}': {}", path.native(), errno_text(errno));
  struct flock lock = whole_file(F_WRLCK);
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0) return fd;
  if (errno == EAGAIN || errno == EACCES) return std::nullopt;
  fail("cannot lock '{}': {}", path.native(), errno_text(errno));
}

bool is_locked(const std::filesystem::path& folder) {
  const Fd fd(::open((folder / "lock").c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock = whole_file(F_WRLCK);
  return fd && ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

std::string address_of(const std::string& subnet, unsigned host) { return fmt::format("{}.{}.{}", subnet, host / 256, host % 256); }

std::string take_address(Record& record) {
  constexpr unsigned kFirst = 2, kEnd = 65534;  // .0.0 and .255.255 are the subnet's own, .0.1 is the bridge's
  std::set<std::string> taken;
  for (const auto& node : record.cluster.nodes) taken.insert(node.address);
  for (unsigned tried = kFirst; tried < kEnd; ++tried) {
    if (record.next_host < kFirst || record.next_host >= kEnd) record.next_host = kFirst;
    std::string address = address_of(record.subnet, record.next_host++);
    if (!taken.contains(address)) return address;
  }
  fail("cluster '{}' has no address left for another node", record.cluster.name);
}

std::string choose_subnet(const std::string& routes) {
  const auto known = parse_routes(routes);
  const std::pair<unsigned, unsigned> candidates[] = {{10, 88}, {10, 188}, {172, 29}, {172, 23}, {10, 213}, {198, 18}};
  for (const auto& [first, second] : candidates) {
    const std::uint32_t subnet = first << 24 | second << 16;
    const bool clashes = std::any_of(known.begin(), known.end(), [&](const Route& route) {
      const std::uint32_t common = route.mask & 0xffff0000u;
      return route.mask != 0 && (subnet & common) == (route.destination & common);
    });
    if (!clashes) return fmt::format("{}.{}", first, second);
  }
  return "10.88";
}

bool has_default_route(const std::string& routes) {
  const auto known = parse_routes(routes);
  return std::any_of(known.begin(), known.end(), [](const Route& route) { return route.destination == 0 && route.mask == 0; });
}

config::Resources share_of_machine(config::Resources asked, std::size_t nodes, unsigned processors, std::int64_t available_bytes) {
  constexpr std::int64_t kStep = 64LL << 20, kLeast = 1LL << 30;
  if (asked.cpus <= 0) asked.cpus = processors;
  if (asked.memory_bytes <= 0) {
    const std::int64_t share = available_bytes / 4 * 3 / static_cast<std::int64_t>(std::max<std::size_t>(1, nodes));
    asked.memory_bytes = std::max(kLeast, share / kStep * kStep);
  }
  return asked;
}

std::int64_t available_memory_bytes() {
  const std::string text = read_file("/proc/meminfo");
  const auto at = text.find("MemAvailable:");
  long kibibytes = 0;
  if (at == std::string::npos || std::sscanf(text.c_str() + at, "MemAvailable: %ld", &kibibytes) != 1)
    fail("cannot tell how much memory is available");
  return static_cast<std::int64_t>(kibibytes) * 1024;
}

}  // namespace kiln::provider::local
