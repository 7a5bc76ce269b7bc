"""Requests read, checked and answers written by botocore's service models (service-2.json): what a client sends must be what the model says.

parse() finds the operation and gives its parameters with the model's own names and Python types; names, types, required members,
lengths, ranges, patterns and enumerations are checked. The four protocols: `ec2` and `query` (Name.1.Inner=…), `json` (X-Amz-Target and a
JSON body) and the REST ones (method, path, headers, query, body). write_ec2() and write_rest_json() make answers from plain dicts with
the model's names; a name that the model lacks is a mistake of the fake and raises KeyError.
"""
import base64
import binascii
import datetime
import functools
import json
import re
import urllib.parse
from xml.sax.saxutils import escape

import botocore.exceptions
import botocore.session

from errors import Refusal

SESSION = botocore.session.Session()
# Instance types are the user's words, and newer ones than the model knows exist: RunInstances refuses what the fake does not offer.
OPEN_ENUMS = {"InstanceType"}
# EC2 refuses these with a code of their own (InvalidAMIName.Malformed).
OPEN_LIMITS = {"ImageNameRequest"}
S3_EXTRA = {"x-id"}  # newer SDKs name the operation in it


@functools.lru_cache(None)
def service(name):
    """botocore's model of a service by its signing name, or None."""
    aliases = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch", "states": "stepfunctions"}
    try:
        return SESSION.get_service_model(aliases.get(name, name))
    except (botocore.exceptions.UnknownServiceError, botocore.exceptions.DataNotFoundError):
        return None


def protocol(name):
    """A service's protocol; EC2's for a request that does not say whom it is for."""
    model = service(name) if name else None
    return model.metadata["protocol"] if model else "ec2"


def refuse(protocol_name, kind, message):
    """A violation in the protocol's words; kind: unknown, missing, type, value, action."""
    codes = {"ec2": {"unknown": "UnknownParameter", "missing": "MissingParameter", "type": "InvalidParameterValue", "value": "InvalidParameterValue",
                     "action": "InvalidAction"},
             "query": {"missing": "MissingParameter", "action": "InvalidAction"}, "json": {"type": "SerializationException", "action": "UnknownOperationException"},
             "rest-json": {"action": "UnknownOperationException"}, "rest-xml": {"action": "MethodNotAllowed"}}
    fallback = {"query": "ValidationError", "json": "ValidationException", "rest-json": "ValidationException", "rest-xml": "InvalidRequest"}
    code = codes.get(protocol_name, {}).get(kind) or fallback.get(protocol_name, "InvalidParameterValue")
    reason = "INVALID_PARAMETER_VALUE" if protocol_name == "rest-json" else None
    raise Refusal(code, message, 400, reason, violation=True)


# --- the values of one operation

class Checker:
    """Walks a parsed value beside its shape."""

    def __init__(self, protocol_name):
        self.protocol = protocol_name

    def check(self, shape, value, path):
        getattr(self, f"check_{shape.type_name}", self.check_scalar)(shape, value, path)

    def bad(self, kind, message):
        refuse(self.protocol, kind, message)

    def check_structure(self, shape, value, path):
        if not isinstance(value, dict):
            self.bad("type", f"{path or 'The request'} must be a structure")
        for name in value:
            if name not in shape.members:
                self.bad("unknown", f"The parameter {path + '.' if path else ''}{name} is not recognized")
        for name in shape.required_members:
            if name not in value:
                self.bad("missing", f"The request must contain the parameter {path + '.' if path else ''}{name}")
        for name, inner in value.items():
            self.check(shape.members[name], inner, f"{path}.{name}" if path else name)

    def check_list(self, shape, value, path):
        if not isinstance(value, list):
            self.bad("type", f"{path} must be a list")
        self.limits(shape, len(value), path, "members")
        for number, inner in enumerate(value, 1):
            self.check(shape.member, inner, f"{path}.{number}")

    def check_map(self, shape, value, path):
        if not isinstance(value, dict):
            self.bad("type", f"{path} must be a map")
        for key, inner in value.items():
            self.check(shape.key, key, path)
            self.check(shape.value, inner, f"{path}.{key}")

    def check_string(self, shape, value, path):
        if not isinstance(value, str):
            self.bad("type", f"{path} must be a string")
        self.limits(shape, len(value), path, "characters")
        if shape.enum and value not in shape.enum and shape.name not in OPEN_ENUMS:
            self.bad("value", f"Value ({value}) for parameter {path} is invalid. It must be one of {', '.join(shape.enum)}")
        pattern = shape.metadata.get("pattern")
        if pattern and not matches(pattern, value):
            self.bad("value", f"Value ({value}) for parameter {path} is invalid. It must match {pattern}")

    check_character = check_string

    def check_integer(self, shape, value, path):
        if isinstance(value, bool) or not isinstance(value, int):
            self.bad("type", f"Value ({value}) for parameter {path} is not a number")
        bound = 2**31 if shape.type_name == "integer" else 2**63
        if not -bound <= value < bound:
            self.bad("value", f"Value ({value}) for parameter {path} is out of range")
        self.limits(shape, value, path, "")

    check_long = check_integer

    def check_float(self, shape, value, path):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.bad("type", f"Value ({value}) for parameter {path} is not a number")

    check_double = check_float

    def check_boolean(self, shape, value, path):
        if not isinstance(value, bool):
            self.bad("type", f"Value ({value}) for parameter {path} is not a boolean")

    def check_scalar(self, shape, value, path):
        pass

    def limits(self, shape, size, path, unit):
        least, most = (None, None) if shape.name in OPEN_LIMITS else (shape.metadata.get("min"), shape.metadata.get("max"))
        if (least is not None and size < least) or (most is not None and size > most):
            self.bad("value", f"Value of parameter {path} is invalid: {size} {unit} where {least} to {most} are allowed")


@functools.lru_cache(None)
def compiled(pattern):
    try:
        return re.compile(pattern)
    except re.error:  # Java's classes, such as \p{L}
        return None


def matches(pattern, value):
    known = compiled(pattern)
    return known is None or known.search(value) is not None


# --- ec2 and query: a flat form

class Form:
    """Name.1.Inner=value as a tree, then as the shape's value."""

    def __init__(self, protocol_name):
        self.protocol = protocol_name

    def tree(self, pairs):
        root = {}
        for key, value in pairs:
            node = root
            for part in key.split("."):
                node = node.setdefault(part, {})
            if "" in node:
                refuse(self.protocol, "value", f"The parameter {key} is given twice")
            node[""] = value
        return root

    def name(self, shape, default):
        serialization = shape.serialization
        if self.protocol == "ec2":
            if "queryName" in serialization:
                return serialization["queryName"]
            if "name" in serialization:
                return serialization["name"][0].upper() + serialization["name"][1:]
            return default
        return serialization.get("name", default)

    def read(self, shape, node, path):
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, node, path)
        if kind == "list":
            return self.list(shape, node, path)
        if kind == "map":
            return self.map(shape, node, path)
        extra = [part for part in node if part]
        if extra:
            refuse(self.protocol, "unknown", f"The parameter {path}.{extra[0]} is not recognized")
        return scalar(self.protocol, shape, node[""], path)

    def structure(self, shape, node, path):
        known = {}
        for member, inner in shape.members.items():
            key = self.name(inner, member)
            if self.protocol == "query" and inner.type_name == "list" and inner.serialization.get("flattened"):
                key = self.name(inner.member, key)
            known[key] = (member, inner)
        value = {}
        for key, inner_node in node.items():
            if key == "":
                refuse(self.protocol, "type", f"The parameter {path} is a structure, not a value")
            if key not in known:
                refuse(self.protocol, "unknown", f"The parameter {path + '.' if path else ''}{key} is not recognized")
            member, inner = known[key]
            value[member] = self.read(inner, inner_node, f"{path}.{key}" if path else key)
        return value

    def list(self, shape, node, path):
        if self.protocol == "query" and not shape.serialization.get("flattened"):
            if set(node) == {""} and node[""] == "":
                return []
            member = self.name(shape.member, "member")
            if set(node) != {member}:
                refuse(self.protocol, "unknown", f"The parameter {path} is a list: {path}.{member}.1 is expected")
            node = node[member]
        return [self.read(shape.member, node[str(number)], f"{path}.{number}") for number in self.numbers(node, path)]

    def map(self, shape, node, path):
        if not shape.serialization.get("flattened"):
            node = node.get("entry", {})
        key_name, value_name = self.name(shape.key, "key"), self.name(shape.value, "value")
        return {node[str(n)][key_name][""]: self.read(shape.value, node[str(n)][value_name], f"{path}.{n}") for n in self.numbers(node, path)}

    def numbers(self, node, path):
        """1 to n, all of them: a gap is a client's mistake."""
        for number in range(1, len(node) + 1):
            if str(number) not in node:
                wrong = next(key for key in node if not (key.isdigit() and 1 <= int(key) <= len(node)))
                refuse(self.protocol, "unknown", f"The parameter {path}{'.' + wrong if wrong else ''} is not recognized: {path} is a list, numbered from 1")
        return range(1, len(node) + 1)


def scalar(protocol_name, shape, text, path):
    kind = shape.type_name
    if kind in ("integer", "long"):
        if not re.fullmatch(r"-?\d{1,20}", text):
            refuse(protocol_name, "type", f"Value ({text}) for parameter {path} is invalid. A number is expected")
        return int(text)
    if kind in ("float", "double"):
        try:
            return float(text)
        except ValueError:
            refuse(protocol_name, "type", f"Value ({text}) for parameter {path} is invalid. A number is expected")
    if kind == "boolean":
        if text not in ("true", "false"):
            refuse(protocol_name, "type", f"Value ({text}) for parameter {path} is invalid. true or false is expected")
        return text == "true"
    if kind == "timestamp":
        try:
            return parse_time(text)
        except ValueError:
            refuse(protocol_name, "type", f"Value ({text}) for parameter {path} is invalid. A time is expected")
    if kind == "blob":
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            refuse(protocol_name, "type", f"Invalid BASE64 encoding of {path}")
    return text


def parse_time(text):
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return datetime.datetime.fromtimestamp(float(text), datetime.timezone.utc)
    if text.endswith("GMT"):
        return datetime.datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.timezone.utc)
    time = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)


def parse_form(model, request, protocol_name):
    text = request.query if request.method == "GET" else bytes(request.body).decode("utf-8", "replace")
    if request.method == "POST" and request.query:
        text = f"{request.query}&{text}" if text else request.query
    pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
    fields = dict(pairs)
    action = fields.pop("Action", None)
    if action is None:
        refuse(protocol_name, "missing", "The request must contain the parameter Action")
    if action not in model.operation_names:
        refuse(protocol_name, "action", f"The action {action} is not valid for this web service.")
    version = fields.pop("Version", None)
    if version != model.api_version:
        raise Refusal("NoSuchVersion" if version else "MissingParameter", f"The requested version ({version}) of service {model.service_name} does not exist.",
                      violation=True)
    operation = model.operation_model(action)
    form = Form(protocol_name)
    root = form.tree([pair for pair in pairs if pair[0] not in ("Action", "Version")])
    return operation, (form.structure(operation.input_shape, root, "") if operation.input_shape else {})


# --- json

def parse_json(model, request):
    target = request.headers.get("x-amz-target", "")
    prefix, _, name = target.rpartition(".")
    if prefix != model.metadata.get("targetPrefix") or name not in model.operation_names:
        refuse("json", "action", f"unknown operation '{target}'")
    operation = model.operation_model(name)
    return operation, json_body(operation.input_shape, request.body, "json")


def json_body(shape, body, protocol_name):
    if not body:
        return {}
    try:
        return json_values(shape, json.loads(bytes(body)))
    except ValueError:
        refuse(protocol_name, "type", "the body is not JSON")


def json_values(shape, value):
    """JSON's names and forms into the model's; what does not fit is left for the checker to refuse."""
    if shape is None or value is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        names = {inner.serialization.get("name", member): member for member, inner in shape.members.items()}
        return {names.get(key, key): json_values(shape.members.get(names.get(key, key)), inner) for key, inner in value.items() if inner is not None}
    if shape.type_name == "list" and isinstance(value, list):
        return [json_values(shape.member, inner) for inner in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: json_values(shape.value, inner) for key, inner in value.items()}
    return value


# --- REST

class Routes:
    """Which operation a method, path and query mean."""

    def __init__(self, model):
        self.entries = []
        for name in model.operation_names:
            operation = model.operation_model(name)
            path, _, query = operation.http["requestUri"].partition("?")
            expression = re.sub(r"\\\{([A-Za-z]+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
            expression = re.sub(r"\\\{([A-Za-z]+)\\\+\\\}", r"(?P<\1>.+)", expression)
            literal = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            self.entries.append((operation.http["method"], re.compile(expression + "/?"), literal, operation))

    def find(self, request, query):
        best, best_score = None, -1
        for method, path, literal, operation in self.entries:
            if method != request.method:
                continue
            found = path.fullmatch(request.path)
            if not found or any(query.get(key) != value for key, value in literal.items()):
                continue
            score = 10 * len(literal) + self.required_present(operation, request, query)
            if score > best_score:
                best, best_score = (operation, {key: urllib.parse.unquote(value) for key, value in found.groupdict().items()}), score
        return best

    @staticmethod
    def required_present(operation, request, query):
        """What tells operations of one path apart (CopyObject from PutObject); -100 where a required one lacks."""
        score = 0
        shape = operation.input_shape
        for name in shape.required_members if shape else ():
            where, key = shape.members[name].serialization.get("location"), shape.members[name].serialization.get("name", name)
            if where in ("header", "querystring"):
                there = key.lower() in request.headers if where == "header" else key in query
                score += 1 if there else -100
        return score + 1000


@functools.lru_cache(None)
def routes(name):
    return Routes(service(name))


def parse_rest(model, request, protocol_name):
    query = dict(urllib.parse.parse_qsl(request.query, keep_blank_values=True))
    found = routes(request.service).find(request, query)
    if found is None:
        refuse(protocol_name, "action", f"no operation is {request.method} {request.path}")
    operation, in_path = found
    shape = operation.input_shape
    literal = dict(urllib.parse.parse_qsl(operation.http["requestUri"].partition("?")[2], keep_blank_values=True))
    values, body_members = {}, {}
    for name, member in shape.members.items() if shape else ():
        where, key = member.serialization.get("location"), member.serialization.get("name", name)
        if where == "uri":
            if key in in_path:
                values[name] = scalar(protocol_name, member, in_path[key], name)
        elif where == "querystring":
            if key in query:
                values[name] = rest_value(protocol_name, member, query.pop(key), name)
        elif where == "header":
            if key.lower() in request.headers:
                values[name] = rest_value(protocol_name, member, request.headers[key.lower()], name)
        elif where is None:
            body_members[name] = member
    unknown = [key for key in query if key not in literal and key not in S3_EXTRA]
    if unknown:
        refuse(protocol_name, "unknown", f"The parameter {unknown[0]} is not recognized")
    payload = shape.serialization.get("payload") if shape else None
    if protocol_name == "rest-json" and body_members and not payload:
        values.update(json_body(shape, request.body, protocol_name))
    elif payload and request.body:
        # XML bodies are read by the service behind; a blob is what it is.
        values[payload] = request.body
    return operation, values


def rest_value(protocol_name, shape, text, name):
    if shape.type_name == "list":
        return [scalar(protocol_name, shape.member, part.strip(), name) for part in text.split(",")]
    return scalar(protocol_name, shape, text, name)


def parse(request):
    """(the operation's model, its parameters) of a request; raises Refusal."""
    model = service(request.service)
    if model is None:
        raise Refusal("UnknownService", f"no service signs as '{request.service}'", 404, violation=True)
    name = model.metadata["protocol"]
    if name in ("ec2", "query"):
        operation, values = parse_form(model, request, name)
    elif name == "json":
        operation, values = parse_json(model, request)
    else:
        operation, values = parse_rest(model, request, name)
    shape = operation.input_shape
    if shape is not None:
        payload = shape.serialization.get("payload")
        checked = {key: value for key, value in values.items() if key != payload} if payload else values
        checker = Checker(name)
        if payload in shape.required_members and payload not in values:
            checker.bad("missing", f"The request must contain the parameter {payload}")
        if payload:
            for key, value in checked.items():
                checker.check(shape.members[key], value, key)
            for key in shape.required_members:
                if key not in values:
                    checker.bad("missing", f"The request must contain the parameter {key}")
        else:
            checker.check_structure(shape, values, "")
    return operation, values


# --- answers

def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def xml_value(shape, value, parts):
    kind = shape.type_name
    if kind == "structure":
        members = shape.members
        for key, inner in value.items():
            if inner is None:
                continue
            member = members[key]
            name = member.serialization.get("name", key)
            parts.append(f"<{name}>")
            xml_value(member, inner, parts)
            parts.append(f"</{name}>")
    elif kind == "list":
        name = shape.member.serialization.get("name", "item")
        for inner in value:
            parts.append(f"<{name}>")
            xml_value(shape.member, inner, parts)
            parts.append(f"</{name}>")
    elif kind == "boolean":
        parts.append("true" if value else "false")
    elif kind == "timestamp":
        parts.append(iso(value))
    elif kind == "blob":
        parts.append(base64.b64encode(value).decode())
    else:
        parts.append(escape(str(value)))


def write_ec2(operation, result, request_id):
    parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation.name}Response xmlns="http://ec2.amazonaws.com/doc/{operation.service_model.api_version}/">',
             f"<requestId>{request_id}</requestId>"]
    if operation.output_shape is not None:
        xml_value(operation.output_shape, result, parts)
    else:
        parts.append("<return>true</return>")
    parts.append(f"</{operation.name}Response>")
    return {"Content-Type": "text/xml;charset=UTF-8"}, "".join(parts).encode()


def write_rest_json(operation, result):
    shape = operation.output_shape
    payload = shape.serialization.get("payload")
    headers, fields, body = {}, {}, None
    for key, value in result.items():
        member = shape.members[key]
        if value is None:
            continue
        if key == payload:
            body = value
        elif member.serialization.get("location") == "header":
            headers[member.serialization["name"]] = str(value)
        else:
            fields[member.serialization.get("name", key)] = value.timestamp() if isinstance(value, datetime.datetime) else value
    if payload:
        headers["Content-Type"] = "application/octet-stream"
        return headers, body
    headers["Content-Type"] = "application/json"
    return headers, json.dumps(fields).encode()
