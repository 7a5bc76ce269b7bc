#!/usr/bin/env python3
"""what-runs.py ROLE NODE INSTANCES SINCE: one line that says what Spark does on this node, or has done since that time; nothing when it is idle.

A master is asked for applications and drivers, each worker for executors and drivers: where masters are elsewhere only workers know. The
servers of this module (SQL, Connect) are applications that never end: what counts of them is that they have executors, which they give back
when they have had nothing to do for 20 s (dynamicAllocation in files/daemon).

Who does not listen runs nothing. Who gives no answer, or another than expected, is an error: the caller takes that for work.
"""
import json
import sys
import urllib.error
import urllib.request

SERVERS = ("Spark Connect server", "Thrift JDBC/ODBC server")


def ask(node, port):
    """What Spark says of itself, or None when nothing listens there."""
    url = f"http://{node}:{port}/json/"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} says {error.code}")
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        sys.exit(f"{url}: {error.reason}")
    except (OSError, ValueError) as error:
        sys.exit(f"{url}: {error}")


def of_master(state, since):
    for driver in state["activedrivers"]:
        return f"driver {driver['id']}"
    for app in state["activeapps"]:
        if app["name"] not in SERVERS:
            return f"application {app['id']} ({app['name']})"
    # Begun and ended between two questions: times are in milliseconds.
    for app in state["completedapps"]:
        if app["name"] not in SERVERS and (app["starttime"] + app["duration"]) / 1000 >= since:
            return f"application {app['id']} has ended"
    return ""


def of_worker(state):
    if state["executors"]:
        return f"{len(state['executors'])} executors"
    # A worker does not tell of its drivers but by the cores that they have.
    return "a driver" if state["coresused"] else ""


def main():
    role, node, instances, since = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    ports = [8080] if role == "master" else range(8081, 8081 + instances)
    for port in ports:
        state = ask(node, port)
        said = "" if state is None else of_master(state, since) if role == "master" else of_worker(state)
        if said:
            print(said)
            return


if __name__ == "__main__":
    main()
