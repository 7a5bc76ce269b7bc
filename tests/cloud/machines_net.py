"""The network of the fake EC2: an internet, a router for each VPC, a namespace for each instance and for each client.

        client (198.51.100.10)      clients' programs run here: kiln, ssh, scanners
           |
        internet (198.18.0.1)       here the cloud's API answers; public addresses lead to their VPC
           |
        VPC's router                public address <-> private address; security groups; metadata service, DHCP, DNS
           |  a veth pair for each instance
        instance (ens5)

An instance is alone on its wire, and the router answers for all others (proxy ARP), as in EC2: what one instance sends to another of its
subnet passes the router too, and so the security groups of both. The rules are one nftables table for each VPC, written anew as a whole, in one
transaction, whenever anything changes; connections that are known go on, as in EC2. Sources: Amazon VPC User Guide, "Security group rules",
"Internet gateways", "Amazon DNS server"; RFC 2544 and RFC 5737 for the addresses.
"""
import ipaddress
import os
import re
import shutil
import socket
import subprocess

from machines_kernel import MachineError, Namespace

API_ADDRESS = "198.18.0.1"
CLIENT_ADDRESS = "198.51.100.10"
CLIENT_GATEWAY = "198.51.100.1"
METADATA_ADDRESS = "169.254.169.254"
DNS_ADDRESS = "169.254.169.253"
MTU = 9001  # "Network MTU for your EC2 instance": jumbo frames within a VPC


def ethernet_address(private_ip):
    """Locally administered; the same for the same address, so that no server has to forget whose it was."""
    return "0e:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(private_ip).packed)


def gateway_of(cidr):
    return str(ipaddress.ip_network(cidr)[1])


def host_name(private_ip):
    return "ip-" + private_ip.replace(".", "-")


class Client:
    """A machine somewhere on the internet, for those who use the cloud."""

    def __init__(self, internet, address, number):
        self.namespace, self.address, self.port, self.joined = Namespace(), address, f"client{number}", 0
        self.namespace.settings(ping_group_range="0 2147483647")
        internet.batch(f"link add {self.port} type veth peer name eth0 netns {self.namespace.path}", f"link set {self.port} up",
                       f"route add {address}/32 dev {self.port}")
        self.namespace.batch(f"addr add {address}/32 dev eth0", "link set eth0 up", f"route add default via {CLIENT_GATEWAY} dev eth0 onlink")

    def close(self):
        self.namespace.close()


class Internet:
    def __init__(self):
        self.namespace = Namespace()
        self.namespace.settings(ip_forward=1, conf__all__rp_filter=0, conf__default__rp_filter=0)
        self.namespace.batch(f"addr add {API_ADDRESS}/32 dev lo", f"addr add {CLIENT_GATEWAY}/32 dev lo")
        self.clients, self.links = [], 0
        self.client()

    def client(self, address=CLIENT_ADDRESS):
        for client in self.clients:
            if client.address == address:
                return client
        client = Client(self.namespace, address, len(self.clients))
        self.clients.append(client)
        return client

    def link(self, vpc):
        """Joins a VPC's router to the internet."""
        pair = ipaddress.IPv4Address("100.64.0.0") + 2 * self.links
        port, self.links = f"vpc{self.links}", self.links + 1
        self.namespace.batch(f"link add {port} type veth peer name igw netns {vpc.path}", f"addr add {pair}/31 dev {port}", f"link set {port} up")
        vpc.batch(f"addr add {pair + 1}/31 dev igw", "link set igw up", f"route add default via {pair}")
        return str(pair + 1)

    def listen(self, port):
        """A listening socket for the cloud's API: clients and instances reach it at http://API_ADDRESS:port."""
        return listen_at(self.namespace, API_ADDRESS, port)

    def close(self):
        for client in self.clients:
            client.close()
        self.namespace.close()


def listen_at(namespace, address, port):
    def make():
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(1024)
        return server

    return namespace.call(make)


def rule_text(rule, direction, members):
    """One rule of a security group as nftables text, or nothing when nobody is meant (an empty group, IPv6).

    rule: {"protocol": "tcp"|"udp"|"icmp"|"-1"|number, "from_port", "to_port" (both may be missing), and "cidr" or "group"}.
    """
    side = "saddr" if direction == "ingress" else "daddr"
    if rule.get("group"):
        addresses = sorted(members.get(rule["group"], ()))
    else:
        addresses = [rule["cidr"]] if "." in rule.get("cidr", "") else []
    if not addresses:
        return None
    words = [] if addresses == ["0.0.0.0/0"] else [f"ip {side} {{ {', '.join(addresses)} }}"]
    protocol, first, last = str(rule.get("protocol", "-1")), rule.get("from_port"), rule.get("to_port")
    protocol = {"6": "tcp", "17": "udp", "1": "icmp"}.get(protocol, protocol)
    if protocol in ("tcp", "udp"):
        all_ports = first in (None, -1) or (first, last) == (0, 65535)
        words.append(f"meta l4proto {protocol}" if all_ports else f"{protocol} dport {first}-{last}")
    elif protocol == "icmp":
        words.append("meta l4proto icmp" if first in (None, -1) else f"icmp type {first}")
    elif protocol != "-1":
        words.append(f"meta l4proto {int(protocol)}")
    return " ".join(words + ["return"])


def chain(name, *lines):
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


# What an instance may ask of the router itself: the metadata service, DNS and DHCP, whatever its groups say.
INPUT_CHAIN = chain("input", "type filter hook input priority 0; policy drop;", "ct state established,related accept", 'iifname "lo" accept',
                    f'iifname "v*" ip daddr {METADATA_ADDRESS} tcp dport 80 accept', f'iifname "v*" ip daddr {DNS_ADDRESS} meta l4proto {{ tcp, udp }} th dport 53 accept',
                    'iifname "v*" udp dport 67 accept', 'iifname "v*" icmp type echo-request accept')


def forward_chain(ports):
    """What passes the router: what the sender's groups let out and the receiver's let in; clients that were let in (Vpc.admit) have no groups."""
    if not ports:
        return chain("forward", "type filter hook forward priority 0; policy drop;")
    jumps = lambda direction: ", ".join(f'"{port}" : jump {direction}_{port}' for port in ports)
    instances = ", ".join(f'"{port}"' for port in ports)
    return chain("forward", "type filter hook forward priority 0; policy drop;", "ct state established,related accept", f"iifname vmap {{ {jumps('egress')} }}",
                 f"oifname vmap {{ {jumps('ingress')} }}", f'iifname {{ "igw", {instances} }} oifname {{ "igw", {instances} }} accept',
                 f'iifname "peer*" oifname {{ {instances} }} accept')


class Vpc:
    """A VPC's router, with what it does for its instances: addresses, rules, DHCP and DNS. Not thread-safe."""

    def __init__(self, identity, cidr, internet, keeper, folder):
        self.id, self.cidr, self.internet, self.keeper, self.folder = identity, cidr, internet, keeper, folder
        self.instances = {}  # instance's id -> {private_ip, public_ip, groups: [id]}
        self.subnets, self.dhcp, self.peers, self.endpoints = set(), None, [], False
        self.namespace = Namespace()
        self.namespace.settings(ip_forward=1, conf__all__rp_filter=0, conf__default__rp_filter=0, conf__all__proxy_arp=1, conf__all__send_redirects=0, conf__default__send_redirects=0)
        self.up_address = internet.link(self.namespace)
        self.namespace.batch(f"addr add {METADATA_ADDRESS}/32 dev lo", f"addr add {DNS_ADDRESS}/32 dev lo", f"route add blackhole {cidr}")
        for name in ("hosts", "dhcp"):
            os.makedirs(f"{folder}/{name}", exist_ok=True)

    @staticmethod
    def port(instance_id):
        return "v" + re.sub("[^0-9a-f]", "", instance_id[2:])[-13:]

    def plug(self, instance_id, private_ip, subnet_cidr, namespace, dhcp):
        """Gives an instance its wire: `ens5` in its namespace; with its address and route, unless its system asks DHCP itself."""
        network, port, gateway = ipaddress.ip_network(subnet_cidr), self.port(instance_id), gateway_of(subnet_cidr)
        self.subnets.add(subnet_cidr)
        with open(f"{self.folder}/hosts/{private_ip}", "w") as file:
            file.write(f"{private_ip} {host_name(private_ip)}.ec2.internal {host_name(private_ip)}\n")
        with open(f"{self.folder}/dhcp/{private_ip}", "w") as file:
            file.write(f"{ethernet_address(private_ip)},{private_ip},{host_name(private_ip)},infinite\n")
        self.namespace.batch(f"link add {port} mtu {MTU} type veth peer name ens5 mtu {MTU} address {ethernet_address(private_ip)} netns {namespace.path}",
                             f"addr add {gateway}/{network.prefixlen} dev {port} noprefixroute", f"link set {port} up", f"route replace {private_ip}/32 dev {port}")
        # Else a router waits up to 0.8 s before it answers for a neighbour, so as not to be faster than the neighbour itself.
        self.namespace.settings(**{f"neigh__{port}__proxy_delay": 0})
        if not dhcp:
            namespace.batch(f"addr add {private_ip}/{network.prefixlen} dev ens5", "link set ens5 up", f"route add default via {gateway}")
        self.serve_dhcp()

    def admit(self, client):
        """Lets a client in, with one of the last addresses of the VPC's range."""
        if client in self.peers:
            return
        self.peers.append(client)
        port, address = f"peer{len(self.peers)}", ipaddress.ip_network(self.cidr)[-1 - len(self.peers)]
        inner = f"vpc{client.joined}"
        client.joined += 1
        self.namespace.batch(f"link add {port} type veth peer name {inner} netns {client.namespace.path}", f"link set {port} up", f"route add {address}/32 dev {port}")
        client.namespace.batch(f"addr add {address}/32 dev {inner}", f"link set {inner} up", f"route add {self.cidr} dev {inner} src {address}")

    def unplug(self, instance_id):
        # By name: a namespace's devices outlive it for a while.
        subprocess.run(self.namespace.prefix() + ["ip", "link", "del", self.port(instance_id)], stderr=subprocess.DEVNULL)

    def serve_dhcp(self):
        """dnsmasq, with a range for each subnet. It reads new hosts by itself, but not new ranges."""
        if self.dhcp and self.dhcp[0] == self.subnets and self.dhcp[1].poll() is None:
            return
        self.stop_dhcp()
        if not shutil.which("dnsmasq"):
            raise MachineError("cannot serve DHCP: there is no dnsmasq (package dnsmasq-base)")
        ranges = [f"--dhcp-range={ipaddress.ip_network(cidr)[0]},static,{ipaddress.ip_network(cidr).netmask},1h" for cidr in sorted(self.subnets)]
        with open(f"{self.folder}/dnsmasq.log", "ab") as log:
            process = subprocess.Popen(
                self.keeper.prefix(self.namespace) +
                ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--group=root", "--log-facility=-", "--bind-dynamic",
                 "--except-interface=igw", f"--listen-address={DNS_ADDRESS}", "--interface=v*", "--no-hosts", "--no-resolv", "--no-ping", "--dhcp-authoritative", "--local=/#/",
                 *(word for domain in ("amazonaws.com", "amazonaws.com.cn") for word in (f"--local=/{domain}/", f"--address=/{domain}/{API_ADDRESS}")),
                 f"--dhcp-leasefile={self.folder}/leases", f"--hostsdir={self.folder}/hosts", f"--dhcp-hostsdir={self.folder}/dhcp", "--domain=ec2.internal",
                 f"--dhcp-option=option:dns-server,{DNS_ADDRESS}", f"--dhcp-option=option:mtu,{MTU}", "--dhcp-rapid-commit"] + ranges,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.dhcp = (set(self.subnets), process)

    def stop_dhcp(self):
        if self.dhcp:
            self.dhcp[1].terminate()
            self.dhcp[1].wait()
        self.dhcp = None

    def public_route(self, verb, public_ip):
        subprocess.run(self.internet.namespace.prefix() + ["ip", "route", verb, f"{public_ip}/32", "via", self.up_address], stderr=subprocess.DEVNULL)

    def set_instance(self, instance_id, entry):
        """Who an instance is from now on, or None. Rules follow with write_rules()."""
        before = self.instances.pop(instance_id, None)
        if before and before["public_ip"] and (not entry or entry["public_ip"] != before["public_ip"]):
            self.public_route("del", before["public_ip"])
        if entry:
            self.instances[instance_id] = entry
            if entry["public_ip"]:
                self.public_route("replace", entry["public_ip"])

    def rules(self, groups):
        """The table as nftables text; `groups`: id -> {"ingress": [rule], "egress": [rule]}."""
        ports = {instance_id: self.port(instance_id) for instance_id in self.instances}
        chains = self.group_chains(groups, ports) + forward_chain(list(ports.values())) + INPUT_CHAIN + self.address_chains()
        return f"table ip vpc\ndelete table ip vpc\ntable ip vpc {{\n{chains}}}\n"

    def group_chains(self, groups, ports):
        """Two chains for each instance: they return what its security groups let in and out, and drop all else."""
        members = {}
        for entry in self.instances.values():
            for group in entry["groups"]:
                members.setdefault(group, set()).add(entry["private_ip"])
        text = ""
        for instance_id, entry in self.instances.items():
            for direction in ("ingress", "egress"):
                lines = [rule_text(rule, direction, members) for group in entry["groups"] for rule in groups.get(group, {}).get(direction, ())]
                if direction == "egress":
                    # An instance may only speak for itself (EC2's source/destination check).
                    lines.insert(0, f"ip saddr != {entry['private_ip']} drop")
                text += chain(f"{direction}_{ports[instance_id]}", *filter(None, lines), "drop")
        return text

    def address_chains(self):
        """Public addresses; who has none has no way out, or one to the API only."""
        private = {entry["public_ip"]: entry["private_ip"] for entry in self.instances.values() if entry["public_ip"]}
        to_private = ", ".join(f"{public} : {own}" for public, own in private.items())
        to_public = ", ".join(f"{own} : {public}" for public, own in private.items())
        others = f"ip saddr != {{ {', '.join(private.values())} }} " if private else ""
        api = f"ip daddr != {API_ADDRESS} " if self.endpoints else ""
        out = [f'oifname "igw" snat to ip saddr map {{ {to_public} }}'] if private else []
        out += [f'oifname "igw" ip daddr {API_ADDRESS} snat to {self.up_address}'] if self.endpoints else []
        return (chain("way_out", "type filter hook forward priority 10;", f'oifname "igw" {api}{others}drop')
                + chain("to_public", "type nat hook postrouting priority srcnat;", *out)
                + chain("to_private", "type nat hook prerouting priority dstnat;", *([f'iifname "igw" dnat to ip daddr map {{ {to_private} }}'] if private else [])))

    def write_rules(self, groups):
        self.namespace.run(["nft", "-f", "-"], input=self.rules(groups))

    def close(self):
        self.stop_dhcp()
        self.namespace.close()
