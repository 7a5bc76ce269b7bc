"""EC2's networks for tests: moto in this process, with what it lacks, behind a server that a test watches and disturbs.

 - every call is logged (operation, mutating or not, its parameters)
 - refusals that moto forgets: things that others stand on, a second gateway, a subnet with two route tables, a table with two endpoints
   of one service ("Error codes for the Amazon EC2 API"; VPC user guide, "Delete your VPC")
 - `trouble`: a function that the nth mutating call goes through
 - `lag_s`: what was made is not found for so long (EC2 is eventually consistent)
"""
import collections
import http.server
import io
import os
import re
import threading
import time
import traceback
import urllib.parse
import xml.etree.ElementTree as ElementTree

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
from moto.backends import get_backend  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402

REGION = "us-east-1"
ID = r"(?:vpc|subnet|igw|rtb|vpce|sg|rtbassoc)-[0-9a-f]+"
READS = ("Describe", "Get", "List")


class Refusal(Exception):
    def __init__(self, code, message="as the test asked", status=400):
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


class HangUp(Exception):
    pass


def backend():
    return get_backend("ec2")["123456789012"][REGION]


def subnets_of(table):
    return [association["SubnetId"] for association in table.associations if "SubnetId" in association]


def refuse_what_moto_allows(action, given):
    ec2, vpc, table = backend(), given.get("VpcId"), given.get("RouteTableId")
    dependency = Refusal("DependencyViolation", "it has dependencies and cannot be deleted")
    interfaces = ec2.enis.values()
    attached = [gateway for gateway in ec2.internet_gateways.values() if gateway.vpc and gateway.vpc.id == vpc]
    if action == "AttachInternetGateway" and attached:
        raise Refusal("InvalidParameterValue", f"Network {vpc} already has an internet gateway attached")
    if action == "DeleteVpc":
        groups = [group for group in ec2.groups.get(vpc, {}).values() if group.name != "default"]
        endpoints = [endpoint for endpoint in ec2.vpc_end_points.values() if endpoint.vpc_id == vpc and endpoint.state != "deleted"]
        if attached or groups or endpoints or any(interface.subnet.vpc_id == vpc for interface in interfaces):
            raise dependency
    if action == "DeleteSubnet" and any(interface.subnet.id == given["SubnetId"] for interface in interfaces):
        raise dependency
    if action == "DeleteSecurityGroup" and any(group.id == given["GroupId"] for interface in interfaces for group in interface.group_set):
        raise dependency
    if action == "AssociateRouteTable":
        for other in ec2.route_tables.values():
            if given["SubnetId"] in subnets_of(other):
                raise Refusal("Resource.AlreadyAssociated", "the specified association conflicts with an existing association")
    if action in ("CreateVpcEndpoint", "ModifyVpcEndpoint"):
        table = given.get("RouteTableId.1") or given.get("AddRouteTableId.1")
        for other in ec2.vpc_end_points.values():
            if other.id != given.get("VpcEndpointId") and other.state != "deleted" and table in other.route_table_ids:
                raise Refusal("RouteAlreadyExists", f"route table {table} already has a route with destination-prefix-list-id pl-63a5400a")


class Server:
    moto = DomainDispatcherApplication(create_backend_app)  # made ready by the first request, for seconds

    def __init__(self):
        self.lock = threading.RLock()
        self.reset()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status, answer = server.answer(self, body)
                except Refusal as refusal:
                    status = refusal.status
                    answer = (f"<Response><Errors><Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error></Errors>"
                              "<RequestID>r-1</RequestID></Response>").encode()
                except HangUp:
                    self.close_connection = True
                    return
                except Exception:
                    server.mistakes.append(traceback.format_exc())
                    self.close_connection = True
                    return
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:  # the client was killed
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Web(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):  # a client that went away
                pass

        self.web = Web(("127.0.0.1", 0), Handler)
        self.web.daemon_threads = True
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.web.server_port}"

    def reset(self):
        with self.lock:
            get_backend("ec2").reset()
            assert len(backend().vpcs) == 1  # the default one
            self.log, self.mutations, self.mistakes = [], 0, []
            self.trouble, self.latency_s, self.lag_s, self.born = None, 0.0, 0.0, {}

    def calls(self, mutating=None):
        return [action for action, changes in self.log if mutating is None or changes == mutating]

    def counts(self, mutating=None):
        return collections.Counter(self.calls(mutating))

    def answer(self, handler, body):
        given = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
        action = given["Action"]
        changes = not action.startswith(READS)
        with self.lock:
            self.log.append((action, changes))
            self.mutations += changes
            number = self.mutations
        if self.latency_s:
            time.sleep(self.latency_s)
        act = lambda: self.act(handler, body, given, action, changes)  # noqa: E731
        if changes and self.trouble:
            return self.trouble(number, action, act)
        return act()

    def hidden(self):
        return {name for name, born in self.born.items() if time.monotonic() < born + self.lag_s}

    def act(self, handler, body, given, action, changes):
        with self.lock:
            hidden = self.hidden() if self.lag_s else set()
            for value in given.values():
                if value in hidden:
                    raise Refusal("InvalidID.NotFound", f"The ID '{value}' does not exist")
            refuse_what_moto_allows(action, given)
            status, answer = self.ask_moto(handler, body)
            if action == "DeleteSubnet" and status == 200:  # its tie to a route table goes along
                for table in backend().route_tables.values():
                    for association in [each for each in table.associations if each.get("SubnetId") == given["SubnetId"]]:
                        backend().disassociate_route_table(association["RouteTableAssociationId"])
            if self.lag_s and changes and status == 200:
                for name in re.findall(f">({ID})<", answer.decode()):
                    self.born.setdefault(name, time.monotonic())
        return status, without(answer, hidden) if hidden and not changes else answer

    def ask_moto(self, handler, body):
        told = {}
        environment = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80",
                       "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_TYPE": handler.headers["Content-Type"], "CONTENT_LENGTH": str(len(body)),
                       "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
                       "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False, "REMOTE_ADDR": "127.0.0.1"}
        for name, value in handler.headers.items():
            environment["HTTP_" + name.upper().replace("-", "_")] = value
        answer = b"".join(self.moto(environment, lambda status, _headers, _why=None: told.update(status=int(status.split()[0]))))
        return told["status"], answer


def without(answer, hidden):
    """The answer of a Describe call less the things that are not to be seen yet."""
    root = ElementTree.fromstring(answer)
    for things in root:
        for thing in list(things):
            own_id = next((child.text for child in thing if child.text and re.fullmatch(ID, child.text)), None)
            if own_id in hidden:
                things.remove(thing)
    return ElementTree.tostring(root)
