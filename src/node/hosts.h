// Names of nodes: /etc/hosts with a block of ours, /etc/hostname, and look-ups without a resolver (a static program has none).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/node_document.h"
#include "node/paths.h"

namespace kiln::node {

// `old` (an /etc/hosts) with our block put in place of the former one, or behind the rest. Lines of others that give an address to one of
// our names are dropped: the first match wins, and distributions write "127.0.1.1 <hostname>".
std::string hosts_with_block(const std::string& old, const std::vector<config::NodeEntry>& nodes);

// Best effort: a read-only /etc is fine. The host's name is set where that is allowed.
void write_hosts(const Paths& paths, const std::vector<config::NodeEntry>& nodes);
void write_hostname(const Paths& paths, const std::string& name);

// The address of "localhost", a node, "master", or of an address itself. Nothing for what is not known.
std::optional<std::string> address_of(const std::string& host, const std::vector<config::NodeEntry>& nodes);
// The first master.
const config::NodeEntry* first_master(const std::vector<config::NodeEntry>& nodes);

}  // namespace kiln::node
