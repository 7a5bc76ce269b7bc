"""The fake EC2 as a program; tests/cloud/up runs it inside the venv that has moto and botocore. See docs/fake-ec2.md."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
import threading

import behind
import bodies
import ec2_images
import ec2_run
import front
import instance_control
import inventory
import stock
import world
# Those that are there for the operations they register.
import ebs, ec2_groups, ec2_guards, ec2_instances, ec2_regions, ec2_snapshots, ec2_tags, ec2_types, ec2_volumes  # noqa: E401,F401  pylint: disable=multiple-imports,unused-import


INNER_PORT = 5000  # where machines and their clients find the API, on the machines' own internet


def options():
    parser = argparse.ArgumentParser(prog="tests/cloud/up", description="A fake EC2 for kiln, the AWS CLI and any other tool, until Ctrl-C. See docs/fake-ec2.md.")
    parser.add_argument("--state", metavar="DIR", help="keep snapshots' blocks below DIR (a new folder below $TMPDIR if not given); removed at the end")
    parser.add_argument("--fault", metavar="FILE", help="faults to begin with: a JSON list, as POST /_fake/faults takes it")
    parser.add_argument("--settings", metavar="JSON", help="settings to begin with, as POST /_fake/settings takes them")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:0", help="where to listen; port 0 is any free one (%(default)s)")
    parser.add_argument("--environment", metavar="FILE", help="also write the lines to export to FILE, once it is ready")
    parser.add_argument("--no-machines", action="store_true", help="instances are states only: fast, and without root")
    parser.add_argument("--machines", choices=["container", "qemu"], default="container", help="what an instance is (%(default)s)")
    return parser.parse_args()


def environment(address, keys, inner):
    """What to export, for the first account; those of the other partitions as comments, and where clients of machines find the API."""
    lines = []
    for key, region in zip(keys, (facts["region"] for facts in world.PARTITIONS.values())):
        mark = "" if key.partition == "aws" else f"# {key.partition}: "
        lines += [f"{mark}export AWS_ACCESS_KEY_ID={key.id}", f"{mark}export AWS_SECRET_ACCESS_KEY={key.secret}", f"{mark}export AWS_REGION={region}", f"{mark}export AWS_DEFAULT_REGION={region}"]
    return [f"export AWS_ENDPOINT_URL=http://{address}", "export AWS_EC2_METADATA_DISABLED=true", *lines,
            *([f"# among the machines (see /_fake/client): export AWS_ENDPOINT_URL={inner}"] if inner else [])]


def write_private(path, text):
    """Written whole, readable by its owner only: keys are in it."""
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def start_machines(kind, folder):
    """The machines behind the instances; where they can't be, says why and what to do."""
    import machines  # pylint: disable=import-outside-toplevel
    why = machines.why_not()
    if why:
        raise SystemExit(f"up: {why}; `up --no-machines` does without them")
    return machines.Machines(folder, kind=kind, also=folder)


def assemble(arguments, folder):
    """All the parts, wired together."""
    there = world.World(folder)
    moto = behind.Behind(there)
    machines = None if arguments.no_machines else start_machines(arguments.machines, folder)
    service = moto.front = front.Front(there, moto, machines)
    service.bodies = bodies.Bodies(there, moto, machines)
    service.capacity, service.stock = ec2_run.Capacity(), stock.Stock(there)
    service.launcher = ec2_run.Launcher(service)
    service.pages["POST", "stock"] = service.stock.set_disk
    instance_control.InstanceControl(service)
    inventory.Inventory(service)
    front.send.clock = there.clock
    ec2_images.add_kernels(there)
    service.post_settings("", {}, json.loads(arguments.settings or "{}"))
    if arguments.fault:
        service.post_faults("", {}, json.loads(pathlib.Path(arguments.fault).read_text(encoding="utf-8")))
    return service


def main():
    arguments = options()
    if arguments.state:
        pathlib.Path(arguments.state).mkdir(parents=True, exist_ok=True)
    folder, service = tempfile.mkdtemp(prefix="fake-ec2-", dir=arguments.state), None
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        service = assemble(arguments, folder)
        address, _, port = arguments.listen.rpartition(":")
        server = socket.create_server((address, int(port)), backlog=512)
        service.serve(server)
        if service.machines:
            service.serve(service.machines.listen(INNER_PORT))
            service.inner_endpoint = f"http://198.18.0.1:{INNER_PORT}"
        lines = environment(f"{address}:{server.getsockname()[1]}", service.world.first_keys(), service.inner_endpoint)
        if arguments.environment:
            write_private(arguments.environment, "\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)
        ended.wait()
        service.closed = True
        server.close()
    finally:
        if service and service.machines:
            service.machines.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
