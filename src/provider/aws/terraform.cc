// The writer knows as much of the language as these resources need: blocks, and attributes whose "=" stand in one column.
#include "provider/aws/terraform.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "aws/answer.h"
#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider::on_aws {

namespace {

std::string quoted(const std::string& text) { return hcl_string(text); }
std::string truth(bool value) { return value ? "true" : "false"; }

// "a.b" or "[a, b]": an expression, not text.
std::string in_list(const std::vector<std::string>& expressions) { return "[" + join(expressions, ", ") + "]"; }

class Body {
 public:
  explicit Body(int depth) : depth_(depth) {}

  void set(const std::string& name, const std::string& expression) { lines_.emplace_back(name, expression); }
  // A block or a map after the attributes, with a blank line before.
  void add_block(const std::string& heading, const Body& body) {
    flush();
    if (!text_.empty()) text_ += "\n";
    text_ += indent() + heading + " {\n" + body.text() + indent() + "}\n";
  }
  std::string text() const {
    Body copy = *this;
    copy.flush();
    return copy.text_;
  }

 private:
  std::string indent() const { return std::string(static_cast<std::size_t>(depth_) * 2, ' '); }
  void flush() {
    std::size_t width = 0;
    for (const auto& [name, expression] : lines_) width = std::max(width, name.size());
    if (!lines_.empty() && !text_.empty()) text_ += "\n";
    for (const auto& [name, expression] : lines_)
      text_ += indent() + name + std::string(width - name.size(), ' ') + " = " + expression + "\n";
    lines_.clear();
  }
  int depth_;
  std::vector<std::pair<std::string, std::string>> lines_;
  std::string text_;
};

// A word that the language takes as a name.
std::string identifier(const std::string& text) {
  std::string name;
  for (const char letter : text) {
    const bool fits = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9');
    name += fits ? letter : '_';
  }
  return name.empty() || (name[0] >= '0' && name[0] <= '9') ? "_" + name : name;
}

class Document {
 public:
  Document(const NetworkState& state, std::string name) : state_(state), name_(std::move(name)) {}

  std::string write() {
    choose_names();
    settings();
    vpc();
    for (const auto& subnet : state_.subnets) {
      if (has(subnet)) write_subnet(subnet);
    }
    for (const auto& gateway : state_.gateways) {
      if (has(gateway)) write_gateway(gateway);
    }
    for (const auto& table : state_.route_tables) {
      if (has(table)) write_table(table);
    }
    for (const auto& endpoint : state_.endpoints) {
      if (has(endpoint)) write_endpoint(endpoint);
    }
    for (const auto& group : state_.groups) {
      if (has(group)) write_group(group);
    }
    return std::move(text_);
  }

 private:
  bool ours(const Thing& thing) const { return name_.empty() || thing.is_of(name_); }
  bool has(const Thing& thing) const { return references_.count(thing.id) > 0; }

  void choose(const Thing& thing, const std::string& type, std::string label) {
    label = identifier(label);
    for (int number = 2; !used_.insert(type + "." + label).second; ++number) label = identifier(label) + "_" + std::to_string(number);
    references_[thing.id] = type + "." + label;
  }
  // Every resource's name, before any is written: they refer to each other.
  void choose_names() {
    const std::string base = name_.empty() ? "main" : name_;
    choose(*state_.vpc(), "aws_vpc", base);
    for (const auto& subnet : state_.subnets) {
      if (ours(subnet)) choose(subnet, "aws_subnet", name_.empty() ? subnet.id : subnet.zone);
    }
    for (const auto& gateway : state_.gateways) {
      if (ours(gateway) && !gateway.vpc.empty()) choose(gateway, "aws_internet_gateway", base);
    }
    for (const auto& table : state_.route_tables) {
      if (!ours(table)) continue;
      choose(table, table.main ? "aws_default_route_table" : "aws_route_table", name_.empty() && !table.main ? table.id : base);
    }
    for (const auto& endpoint : state_.endpoints) {
      if (ours(endpoint) && endpoint.kind == "Gateway")
        choose(endpoint, "aws_vpc_endpoint", endpoint.service.substr(endpoint.service.rfind('.') + 1));
    }
    for (const auto& group : state_.groups) {
      if (ours(group) && group.name != "default") choose(group, "aws_security_group", name_.empty() ? group.name : "nodes");
    }
  }

  // "aws_vpc.main.id" where the resource is written here, else the id itself.
  std::string reference(const std::string& id) const {
    const auto found = references_.find(id);
    return found == references_.end() ? quoted(id) : found->second + ".id";
  }

  void settings() {
    text_ = name_.empty() ? fmt::format("# The VPC {} in {}: subnets, gateway, route tables, gateway endpoints and security groups.\n",
                                        state_.vpc()->id, state_.region)
                          : fmt::format("# The kiln network {} in {}.\n", name_, state_.region);
    text_ +=
        "# Written by `kiln network export`. The import blocks make Terraform take over what is there; after the first\n"
        "# `terraform apply` they can be removed.\n\n";
    Body source(3), providers(2), terraform(1), provider(1);
    terraform.set("required_version", quoted(">= 1.5"));
    Body required(2);
    required.set("aws", "{\n      source  = \"hashicorp/aws\"\n      version = \">= 5.0\"\n    }");
    terraform.add_block("required_providers", required);
    text_ += "terraform {\n" + terraform.text() + "}\n\n";
    provider.set("region", quoted(state_.region));
    text_ += "provider \"aws\" {\n" + provider.text() + "}\n";
  }

  void emit(const std::string& address, const std::string& import_id, Body body, const Tags& tags) {
    Body tag_lines(2);
    bool any = false;
    for (const auto& [key, value] : tags) {
      // AWS's own cannot be set.
      if (key.starts_with("aws:")) continue;
      const bool plain = identifier(key) == key;
      tag_lines.set(plain ? key : quoted(key), quoted(value));
      any = true;
    }
    if (any) body.add_block("tags =", tag_lines);
    Body import(1);
    import.set("to", address);
    import.set("id", quoted(import_id));
    const auto dot = address.find('.');
    text_ += "\nimport {\n" + import.text() + "}\n\n";
    text_ += fmt::format("resource \"{}\" \"{}\" {{\n{}}}\n", address.substr(0, dot), address.substr(dot + 1), body.text());
  }
  void emit(const Thing& thing, const Body& body) { emit(references_.at(thing.id), thing.id, body, thing.tags); }

  void vpc() {
    const Vpc& vpc = *state_.vpc();
    Body body(1);
    body.set("cidr_block", quoted(vpc.cidr));
    if (!vpc.tenancy.empty() && vpc.tenancy != "default") body.set("instance_tenancy", quoted(vpc.tenancy));
    body.set("enable_dns_support", truth(vpc.dns_support));
    body.set("enable_dns_hostnames", truth(vpc.dns_hostnames));
    emit(vpc, body);
  }

  void write_subnet(const Subnet& subnet) {
    Body body(1);
    body.set("vpc_id", reference(subnet.vpc));
    body.set("availability_zone", quoted(subnet.zone));
    body.set("cidr_block", quoted(subnet.cidr));
    if (subnet.public_on_launch) body.set("map_public_ip_on_launch", "true");
    emit(subnet, body);
  }

  void write_gateway(const Gateway& gateway) {
    Body body(1);
    body.set("vpc_id", reference(gateway.vpc));
    emit(gateway, body);
  }

  void write_table(const RouteTable& table) {
    // EC2's names of a route's ends, and Terraform's.
    static const std::map<std::string, std::string> kEnds = {{"destinationCidrBlock", "cidr_block"},
                                                             {"destinationIpv6CidrBlock", "ipv6_cidr_block"},
                                                             {"destinationPrefixListId", "destination_prefix_list_id"},
                                                             {"gatewayId", "gateway_id"},
                                                             {"natGatewayId", "nat_gateway_id"},
                                                             {"networkInterfaceId", "network_interface_id"},
                                                             {"vpcEndpointId", "vpc_endpoint_id"},
                                                             {"transitGatewayId", "transit_gateway_id"},
                                                             {"vpcPeeringConnectionId", "vpc_peering_connection_id"},
                                                             {"egressOnlyInternetGatewayId", "egress_only_gateway_id"},
                                                             {"carrierGatewayId", "carrier_gateway_id"},
                                                             {"localGatewayId", "local_gateway_id"},
                                                             {"coreNetworkArn", "core_network_arn"}};
    Body body(1);
    if (table.main) {
      body.set("default_route_table_id", references_.at(table.vpc) + ".default_route_table_id");
    } else {
      body.set("vpc_id", reference(table.vpc));
    }
    for (const auto& route : table.routes) {
      const auto target = kEnds.find(route.target_kind), destination = kEnds.find(route.destination_kind);
      // The VPC's own route and those of gateway endpoints and VPN gateways are nobody's to write.
      if (!route.by_create_route) continue;
      // Left out, Terraform would remove it.
      const bool unknown = target == kEnds.end() || destination == kEnds.end();
      if (unknown || (table.main && (route.target_kind == "carrierGatewayId" || route.target_kind == "localGatewayId"))) {
        fail("route table {} has a route {} to {}: Terraform's {} has no argument for that", table.id, route.destination, route.target,
             table.main ? "aws_default_route_table" : "aws_route_table");
      }
      Body lines(2);
      lines.set(destination->second, quoted(route.destination));
      lines.set(target->second, reference(route.target));
      body.add_block("route", lines);
    }
    // The provider finds a VPC's main table by the VPC.
    emit(references_.at(table.id), table.main ? table.vpc : table.id, body, table.tags);
    for (const auto& association : table.associations) {
      if (!references_.count(association.subnet)) continue;
      const std::string subnet = references_.at(association.subnet);
      Body lines(1);
      lines.set("subnet_id", reference(association.subnet));
      lines.set("route_table_id", reference(table.id));
      emit("aws_route_table_association." + subnet.substr(subnet.find('.') + 1), association.subnet + "/" + table.id, lines, {});
    }
  }

  void write_endpoint(const Endpoint& endpoint) {
    Body body(1);
    std::vector<std::string> tables;
    for (const auto& table : endpoint.route_tables) tables.push_back(reference(table));
    body.set("vpc_id", reference(endpoint.vpc));
    body.set("service_name", quoted(endpoint.service));
    body.set("vpc_endpoint_type", quoted(endpoint.kind));
    body.set("route_table_ids", in_list(tables));
    emit(endpoint, body);
  }

  // Rules with one description make one block; EC2 keeps a description with each address.
  void write_rules(Body& body, const std::string& direction, const SecurityGroup& group, const Json& permissions) {
    using kiln::aws::list;
    using kiln::aws::text;
    struct Rule {
      std::vector<std::string> cidrs, ipv6, prefixes, groups;
      bool self = false;
    };
    // Nothing may come in: said, not left open.
    if (list(permissions, "").empty()) return body.set(direction, "[]");
    for (const Json& permission : list(permissions, "")) {
      std::map<std::string, Rule> rules;
      const auto by_description = [&](const char* path, const char* value, const std::function<void(Rule&, const std::string&)>& add) {
        for (const Json& each : list(permission, path)) add(rules[text(each, "description")], text(each, value));
      };
      by_description("ipRanges", "cidrIp", [](Rule& rule, const std::string& value) { rule.cidrs.push_back(quoted(value)); });
      by_description("ipv6Ranges", "cidrIpv6", [](Rule& rule, const std::string& value) { rule.ipv6.push_back(quoted(value)); });
      by_description("prefixListIds", "prefixListId", [](Rule& rule, const std::string& value) { rule.prefixes.push_back(quoted(value)); });
      by_description("groups", "groupId", [&](Rule& rule, const std::string& value) {
        if (value == group.id) {
          rule.self = true;
        } else {
          rule.groups.push_back(reference(value));
        }
      });
      for (const auto& [description, rule] : rules) {
        Body lines(2);
        if (!description.empty()) lines.set("description", quoted(description));
        lines.set("protocol", quoted(text(permission, "ipProtocol")));
        lines.set("from_port", std::to_string(kiln::aws::integer(permission, "fromPort").value_or(0)));
        lines.set("to_port", std::to_string(kiln::aws::integer(permission, "toPort").value_or(0)));
        if (!rule.cidrs.empty()) lines.set("cidr_blocks", in_list(rule.cidrs));
        if (!rule.ipv6.empty()) lines.set("ipv6_cidr_blocks", in_list(rule.ipv6));
        if (!rule.prefixes.empty()) lines.set("prefix_list_ids", in_list(rule.prefixes));
        if (!rule.groups.empty()) lines.set("security_groups", in_list(rule.groups));
        if (rule.self) lines.set("self", "true");
        body.add_block(direction, lines);
      }
    }
  }

  void write_group(const SecurityGroup& group) {
    Body body(1);
    body.set("name", quoted(group.name));
    body.set("description", quoted(group.description));
    body.set("vpc_id", reference(group.vpc));
    write_rules(body, "ingress", group, group.ingress);
    write_rules(body, "egress", group, group.egress);
    emit(group, body);
  }

  const NetworkState& state_;
  std::string name_, text_;
  std::map<std::string, std::string> references_;  // EC2's id → "aws_subnet.us_east_1a"
  std::set<std::string> used_;
};

}  // namespace

std::string hcl_string(const std::string& text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char letter = text[at];
    const bool opens_template = (letter == '$' || letter == '%') && at + 1 < text.size() && text[at + 1] == '{';
    if (letter == '"' || letter == '\\') {
      out += '\\';
    } else if (opens_template) {
      out += letter;
    }
    if (letter == '\n') {
      out += "\\n";
    } else if (letter == '\r') {
      out += "\\r";
    } else if (letter == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(letter));
    } else {
      out += letter;
    }
  }
  return out + "\"";
}

std::string write_terraform(const NetworkState& state, const std::string& name) { return Document(state, name).write(); }

}  // namespace kiln::provider::on_aws
