#include "node/hosts.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"

namespace kiln::node {

namespace {

constexpr std::string_view kBegin = "# kiln: the cluster's nodes (rewritten by kiln-node)";
constexpr std::string_view kEnd = "# kiln: end";

// The words of a hosts line, its comment left out.
std::vector<std::string> words_of(std::string_view line) {
  line = line.substr(0, line.find('#'));
  std::vector<std::string> words;
  std::string word;
  for (const char c : line) {
    if (c != ' ' && c != '\t' && c != '\r') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

}  // namespace

const config::NodeEntry* first_master(const std::vector<config::NodeEntry>& nodes) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [](const auto& node) { return node.role == "master"; });
  return found == nodes.end() ? nullptr : &*found;
}

std::string hosts_with_block(const std::string& old, const std::vector<config::NodeEntry>& nodes) {
  std::set<std::string> ours{"master"};
  for (const auto& node : nodes) ours.insert(node.name);
  std::string text;
  bool inside = false, has_localhost = false;
  for (const auto& line : split(old, '\n')) {
    if (line == kBegin) inside = true;
    if (!inside) {
      const auto words = words_of(line);
      const bool names_ours =
          std::any_of(words.begin() + (words.empty() ? 0 : 1), words.end(), [&](const auto& word) { return ours.count(word) != 0; });
      if (std::find(words.begin(), words.end(), "localhost") != words.end()) has_localhost = true;
      if (!names_ours) text += line + "\n";
    }
    if (line == kEnd) inside = false;
  }
  while (text.ends_with("\n\n")) text.pop_back();
  if (text == "\n") text.clear();
  if (!has_localhost) text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + text;
  text += std::string(kBegin) + "\n";
  const auto* master = first_master(nodes);
  for (const auto& node : nodes) {
    if (node.address.empty()) continue;
    text += node.address + " " + node.name + (&node == master && node.name != "master" ? " master" : "") + "\n";
  }
  return text + std::string(kEnd) + "\n";
}

void write_hosts(const Paths& paths, const std::vector<config::NodeEntry>& nodes) {
  try {
    const auto path = paths.etc("hosts");
    const std::string old = read_file_if_there(path).value_or("");
    const std::string text = hosts_with_block(old, nodes);
    if (text == old) return;
    try {
      // Not by rename alone: in containers /etc/hosts may be a mount point.
      write_file_atomically(path, text);
    } catch (const Error&) {
      if (std::FILE* file = std::fopen(path.c_str(), "we")) {
        std::fwrite(text.data(), 1, text.size(), file);
        std::fclose(file);
      } else {
        throw;
      }
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "kiln-node: {}\n", error.what());
  }
}

void write_hostname(const Paths& paths, const std::string& name) {
  try {
    if (read_file_if_there(paths.etc("hostname")) != name + "\n") write_file_atomically(paths.etc("hostname"), name + "\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "kiln-node: {}\n", error.what());
  }
  // Agents with a root of their own are guests on a machine that has its name already.
  if (paths.root == "/" && ::sethostname(name.data(), name.size()) < 0) {
    // A container's runtime has set it, and may forbid it to us.
  }
}

std::optional<std::string> address_of(const std::string& host, const std::vector<config::NodeEntry>& nodes) {
  in_addr parsed;
  if (::inet_pton(AF_INET, host.c_str(), &parsed) == 1) return host;
  if (host == "localhost") return "127.0.0.1";
  for (const auto& node : nodes)
    if (node.name == host && !node.address.empty()) return node.address;
  if (host == "master")
    if (const auto* master = first_master(nodes)) return master->address;
  return {};
}

}  // namespace kiln::node
