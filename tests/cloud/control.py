"""What tests ask of the fake itself, under /_fake/: faults to come, the log of what came, settings. None of it is AWS; kiln never calls it.

A fault waits for a request that fits (service, operation, region; each may be "*" or left out; mutating: true or false) and acts on the nth of
them (default 1, counted from when it was set), `times` times in a row (default 1, 0: for ever):
  throttle          the service's own throttling error
  500               an internal error, nothing was done
  error-after       it was done, yet an internal error is the answer
  hang-up-before    the connection is cut, nothing was done
  hang-up-after     it was done, the connection is cut before the answer
  stop-before       nothing is done nor answered until the client has gone: for tests that kill it right before a call (`acted` tells when)
  stop-after        it is done, but not answered until the client has gone: right after the call
  capacity          InsufficientInstanceCapacity
  latency           the answer waits for `ms`
  code:CODE         an error with that code (`message`, `status` may be given)
"""
import threading
import time

from errors import HangUp, Refusal

READS = ("Describe", "Get", "List", "Head", "Search", "Lookup", "Simulate", "Select", "AssumeRole")
KINDS = ("throttle", "500", "error-after", "hang-up-before", "hang-up-after", "stop-before", "stop-after", "capacity", "latency")
GONE_SECONDS = 60  # that a client which was to be killed has to go
THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "ebs": ("RequestThrottledException", 400), "s3": ("SlowDown", 503), "ssm": ("ThrottlingException", 400)}


def mutating(service, operation, dry_run, method):
    if dry_run:
        return False
    if service == "s3":
        return method not in ("GET", "HEAD")
    return not operation.startswith(READS)


class Fault:
    def __init__(self, fields):
        known = {"service", "operation", "region", "nth", "kind", "times", "ms", "message", "status", "mutating"}
        unknown = sorted(set(fields) - known)
        kind = str(fields.get("kind", ""))
        if unknown or not (kind in KINDS or kind.startswith("code:")):
            raise ValueError(f"unknown field {unknown[0]}" if unknown else f"unknown kind '{kind}'")
        self.fields = fields
        self.kind = kind
        self.nth, self.times = int(fields.get("nth", 1)), int(fields.get("times", 1))
        self.seen = self.acted = 0
        self.done = False  # of those that act after the call: the call has been done

    def takes(self, service, operation, region, is_mutating):
        if self.fields.get("mutating", is_mutating) != is_mutating:
            return False
        for name, value in (("service", service), ("operation", operation), ("region", region)):
            if self.fields.get(name, "*") not in ("*", value):
                return False
        if self.times and self.acted >= self.times:
            return False
        self.seen += 1
        if self.seen < self.nth:
            return False
        self.acted += 1
        return True


class Faults:
    def __init__(self):
        self.faults, self.lock, self.numbers = [], threading.Lock(), 0

    def add(self, fields):
        fault = Fault(fields)
        with self.lock:
            self.numbers += 1
            fault.number = self.numbers
            self.faults.append(fault)
        return {"id": fault.number}

    def clear(self, number=""):
        """That one; all when none is named."""
        with self.lock:
            self.faults = [fault for fault in self.faults if number not in ("", str(fault.number))]

    def list(self, number=""):
        with self.lock:
            return [dict(fault.fields, id=fault.number, seen=fault.seen, acted=fault.acted, done=fault.done) for fault in self.faults
                    if number in ("", str(fault.number))]

    def take(self, service, operation, region, is_mutating):
        with self.lock:
            return [fault for fault in self.faults if fault.takes(service, operation, region, is_mutating)]

    @staticmethod
    def before(faults, service, connection):
        for fault in faults:
            kind = fault.kind
            if kind == "latency":
                time.sleep(float(fault.fields.get("ms", 0)) / 1000)
            elif kind in ("hang-up-before", "stop-before"):
                if kind == "stop-before":
                    until_gone(connection)
                raise HangUp
            elif kind == "throttle":
                code, status = THROTTLED.get(service, ("Throttling", 400))
                raise Refusal(code, "Request limit exceeded.", status, "ACCOUNT_THROTTLED" if service == "ebs" else None)
            elif kind == "500":
                raise internal(service)
            elif kind == "capacity":
                raise Refusal("InsufficientInstanceCapacity", "We currently do not have sufficient capacity in the Availability Zone you requested.", 500)
            elif kind.startswith("code:"):
                code = kind[5:]
                status = fault.fields.get("status")
                raise Refusal(code, fault.fields.get("message", f"{code}, as a fault asked for"), int(status) if status else None)

    @staticmethod
    def after(faults, service, connection):
        for fault in faults:
            if fault.kind in ("hang-up-after", "stop-after"):
                fault.done = True
                if fault.kind == "stop-after":
                    until_gone(connection)
                raise HangUp
            if fault.kind == "error-after":
                raise internal(service)


def until_gone(connection):
    """Returns when the client has closed its side."""
    connection.settimeout(GONE_SECONDS)
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def internal(service):
    return Refusal("InternalServerException" if service == "ebs" else "InternalError", "An internal error has occurred", 500)


class Log:
    """Every request, in order of its end."""

    FIELDS = ("number", "time", "service", "operation", "region", "account", "mutating", "dry_run", "status", "code", "ms", "parameters", "key", "role")

    def __init__(self):
        self.entries, self.violations = [], []
        self.lock, self.number = threading.Lock(), 0

    def add(self, service, operation, region, account, is_mutating, dry_run, status, code, started, parameters, key=None):
        ended = time.time()
        with self.lock:
            self.number += 1
            self.entries.append((self.number, ended, service, operation, region, account, is_mutating, dry_run, status, code,
                                 round((ended - started) * 1000, 2), parameters, key.id if key else None, key.arn if key else None))

    def violation(self, service, operation, region, refusal):
        with self.lock:
            self.violations.append({"service": service, "operation": operation, "region": region, "code": refusal.code, "message": refusal.message})

    def select(self, query):
        with self.lock:
            entries = list(self.entries)
        rows = [dict(zip(self.FIELDS, entry)) for entry in entries]
        for name in ("service", "operation", "region"):
            if name in query:
                rows = [row for row in rows if row[name] == query[name]]
        if "mutating" in query:
            rows = [row for row in rows if row["mutating"] == (query["mutating"] == "true")]
        if "since" in query:
            rows = [row for row in rows if row["number"] > int(query["since"])]
        return rows

    def counts(self, rows):
        counted = {}
        for row in rows:
            name = f"{row['service']}:{row['operation']}"
            counted[name] = counted.get(name, 0) + 1
        return counted

    def clear(self):
        with self.lock:
            self.entries, self.violations = [], []
