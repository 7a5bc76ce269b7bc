"""What tests/agents.py's clusters of real agents do: cases of supervision, launches, requests, losses."""

import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from agents import AGENT, Cluster, OVER, Refused, SANITIZED, SECRET, alive, ended, log_ready, message, service, wait_until


class Module:
    addCleanup = staticmethod(unittest.addModuleCleanup)


alone = None


def setUpModule():
    """Starts what takes a minute: a worker whose masters nobody has started."""
    global alone
    alone = Cluster(Module, ("master", "worker"))
    alone.write_files({"m": {"services": [service("s", "echo up; exec sleep 1000", on="worker", ready=log_ready("up"))]}}, idle_seconds=1)
    alone["worker-1"].start()


class Launch(unittest.TestCase):
    def test_setup_and_services_in_order_across_nodes(self):
        modules = {
            "base": {"setup.sh": "echo base > $KILN_MODULE_DIR/done\n", "params": {"size": {"default": "5"}}},
            "app": {
                "requires": ["base"],
                "params": {"colour-a": {"default": "red"}},
                "given": {"colour-a": "blue"},
                "setup.sh": "test -e $KILN_MODULE_DIR/../base/done\nenv > $KILN_MODULE_DIR/env\ncat $KILN_SECRET_FILE > $KILN_MODULE_DIR/secret\n",
                "services": [
                    service("master", "sleep 0.3; echo master is ALIVE {colour-a}; exec sleep 100", on="master", ready=log_ready("ALIVE blue")),
                    service("helper", "echo helper here; exec sleep 100", on="worker", after=["master"], ready=log_ready("here")),
                    service("worker", "echo waiting; read x < $KILN_GATE; echo registered; exec sleep 100",
                            on="worker", gate=["master"], ready=log_ready("registered")),
                    service("extra", "exit 1", enabled="no"),
                    service("tail", "echo never; exec sleep 100", on="master", after=["extra"]),
                ],
            },
        }
        cluster = Cluster(self, ("master", "worker", "worker")).start(modules)
        events = cluster.wait_ready()
        self.assertEqual(sorted(e["seq"] for e in events), [e["seq"] for e in events])
        at = {(e["node"], e["name"], e["kind"]): e["time"] for e in events}
        for worker in ("worker-1", "worker-2"):
            # The gated one is started before the master is ready, the other after it; neither gets ready before.
            ready = at["master-1", "service app.master", "end"]
            self.assertLess(at[worker, "service app.worker", "begin"], ready)
            self.assertGreater(at[worker, "service app.worker", "end"], ready)
            self.assertGreater(at[worker, "service app.helper", "begin"], ready)
            self.assertLess(at[worker, "service app.helper", "begin"], ready + 0.2)
            self.assertGreater(at[worker, "setup app", "begin"], at[worker, "setup base", "end"])
        states = {key: value["state"] for key, value in cluster.services().items()}
        self.assertEqual(states["master-1", "app.worker"], "off")
        self.assertEqual(states["worker-1", "app.worker"], "ready")
        self.assertEqual(states["master-1", "app.extra"], "off")
        self.assertEqual(states["master-1", "app.tail"], "ready")
        env = dict(line.split("=", 1) for line in cluster["worker-1"].read("usr/lib/kiln/modules/app/env").splitlines())
        self.assertEqual(env["KILN_PARAM_COLOUR_A"], "blue")
        self.assertEqual((env["KILN_STAGE"], env["KILN_MODULE"], env["KILN_NODE"]), ("setup", "app", "worker-1"))
        self.assertEqual((env["KILN_MASTER"], env["KILN_WORKERS"]), ("master-1", "worker-1 worker-2"))
        self.assertEqual((env["KILN_CPUS"], env["KILN_MEMORY_MB"]), ("2", "1024"))
        secret = hmac.new(SECRET.encode(), b"module:app", hashlib.sha256).hexdigest()
        self.assertEqual(cluster["worker-1"].read("usr/lib/kiln/modules/app/secret"), secret + "\n")
        self.assertEqual(os.stat(cluster["worker-1"].path("run/kiln/secrets/app")).st_mode & 0o777, 0o600)
        hosts = cluster["worker-2"].read("etc/hosts")
        for line in ("127.0.0.2 master-1 master", "127.0.0.4 worker-2", "127.0.0.1 localhost"):
            self.assertIn(line + "\n", hosts)
        self.assertEqual(cluster["worker-2"].read("etc/hostname"), "worker-2\n")

    def test_http_tcp_and_exec_readiness(self):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.2", 0))
            two.bind(("127.0.0.2", 0))
            web, plain = one.getsockname()[1], two.getsockname()[1]
        modules = {
            "probe": {
                "params": {"web": {"default": str(web)}},
                "services": [
                    {"name": "web", "exec": "python3 -m http.server --bind {address} {web}", "directory": "/etc",
                     "ready": {"kind": "http", "target": "http://{node}:{web}/os-release", "contains": "VERSION_ID", "timeout": 20}},
                    {"name": "plain", "exec": f"python3 -m http.server --bind 127.0.0.1 {plain}", "ready": {"kind": "tcp", "target": str(plain), "timeout": 20}},
                    service("file", "sleep 0.2; touch $KILN_LOG_DIR/there; exec sleep 100",
                            ready={"kind": "exec", "target": "test -e $KILN_LOG_DIR/there", "timeout": 20}),
                ],
            }
        }
        Cluster(self).start(modules).wait_ready()

    def test_a_failing_setup_is_told_with_its_last_lines(self):
        modules = {"bad": {"setup.sh": "for i in $(seq 50); do echo line $i; done\nfalse\n", "services": [service("s", "sleep 100")]},
                   "good": {"services": [service("s", "sleep 100")]}}
        cluster = Cluster(self).start(modules)
        events = cluster.events(lambda seen: ended("node master-1")(seen) and ended("service good.s")(seen))
        end = [e for e in events if e["kind"] == "end" and e["name"] == "setup bad"][0]
        self.assertFalse(end["ok"])
        self.assertIn("line 50", end["text"])
        self.assertNotIn("line 30\n", end["text"])
        self.assertEqual(cluster.services()["master-1", "bad.s"]["state"], "failed")
        self.assertEqual(cluster.services()["master-1", "good.s"]["state"], "ready")

    def test_a_module_that_the_image_lacks(self):
        cluster = Cluster(self).write_files({"there": {"requires": ["missing"]}})
        cluster.master.start()
        end = [e for e in cluster.events(ended("node master-1")) if e["kind"] == "end"][-1]
        self.assertFalse(end["ok"])
        self.assertIn("module 'missing' is not in this image", end["text"])

    def test_run_scripts_once_when_all_is_ready(self):
        modules = {"app": {"run.sh": "echo ran $KILN_STAGE >> $KILN_MODULE_DIR/ran\n",
                           "services": [service("w", "sleep 0.2; echo up; exec sleep 100", on="worker", ready=log_ready("up"))]}}
        cluster = Cluster(self, ("master", "worker")).start(modules)
        events = cluster.events(ended("run app"))
        at = {(e["node"], e["name"], e["kind"]): e["seq"] for e in events}
        self.assertGreater(at["master-1", "run app", "begin"], at["worker-1", "service app.w", "end"])
        cluster.master.end()
        cluster.master.start()
        cluster.wait_ready()
        time.sleep(0.3)
        self.assertEqual(cluster.master.read("usr/lib/kiln/modules/app/ran"), "ran run\n")


class Supervision(unittest.TestCase):
    def test_a_service_that_cannot_start_fails_after_three_attempts(self):
        cluster = Cluster(self).start({"m": {"services": [service("s", "echo no luck; exit 3", ready=log_ready("never"))]}})
        start = time.monotonic()
        events = cluster.events(ended("service m.s"))
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(2, sum(message("service m.s", "starting it again")([e]) for e in events))
        self.assertFalse(events[-1]["ok"])
        self.assertIn("exit code 3", events[-1]["text"])
        self.assertIn("no luck", events[-1]["text"])

    def test_readiness_time_out(self):
        cluster = Cluster(self).start({"m": {"services": [service("s", "echo working; exec sleep 100", ready=log_ready("never", 1))]}})
        events = cluster.events(ended("service m.s"))
        self.assertIn("not ready after 1 s", events[-1]["text"])
        self.assertIn("working", events[-1]["text"])

    def test_kill_9_restarts_with_its_children_gone(self):
        cluster = Cluster(self).start({"m": {"services": [service("s", "sleep 1000 & echo child $!; wait", ready=log_ready("child"))]}})
        cluster.wait_ready()
        first = cluster.services()["master-1", "m.s"]
        child = int(cluster.master.log("m.s").split()[1])
        os.kill(first["pid"], signal.SIGKILL)
        cluster.events(message("service m.s", "ready again"))
        second = cluster.services()["master-1", "m.s"]
        self.assertEqual((second["state"], second["restarts"]), ("ready", 1))
        self.assertNotEqual(first["pid"], second["pid"])
        self.assertFalse(alive(child))
        # The pause doubles.
        os.kill(second["pid"], signal.SIGKILL)
        seen = cluster.events(lambda seen: sum(message("service m.s", "again in")([e]) for e in seen) == 2)
        texts = [e["text"] for e in seen if "again in" in e.get("text", "")]
        self.assertIn("killed by SIGKILL; starting it again in 0.2 s", texts[0])
        self.assertIn("in 0.4 s", texts[1])

    def test_one_shot_services(self):
        cluster = Cluster(self).start({"m": {"services": [
            service("once", "echo made; exit 0", restart="never", ready=log_ready("made")),
            service("next", "echo on; exec sleep 100", after=["once"], ready=log_ready("on"))]}})
        cluster.wait_ready()
        wait_until("it has ended", lambda: cluster.services()["master-1", "m.once"]["state"] == "stopped")

    def test_stop_order_and_a_service_that_ignores_the_signal(self):
        def noting(name, extra=""):
            return "trap \"echo %s >> %s; exit 0\" TERM; echo up; while :; do sleep 0.05; done%s" % (name, note, extra)

        cluster = Cluster(self, ("master", "worker"))
        note = os.path.join(cluster.folder, "note")
        cluster.start({"m": {"services": [
            service("low", noting("low"), on="master", ready=log_ready("up")),
            service("high", noting("high"), on="master", after=["low"], ready=log_ready("up")),
            service("worker", noting("worker"), on="worker", ready=log_ready("up")),
            service("deaf", "trap \"\" TERM; echo up; while :; do sleep 0.05; done", ready=log_ready("up"), stop={"signal": "TERM", "timeout": 1})]}})
        cluster.wait_ready()
        start = time.monotonic()
        self.assertEqual({"done": True}, cluster.master.ask({"do": "stop", "timeout": 5}))
        self.assertLess(time.monotonic() - start, 5)
        with open(note) as file:
            self.assertEqual(["worker", "high", "low"], file.read().split())
        self.assertEqual({"stopped", "off"}, {s["state"] for s in cluster.services().values()})
        self.assertEqual({"done": True}, cluster.master.ask({"do": "stop"}))

    def test_sigterm_stops_services_and_exits_0(self):
        cluster = Cluster(self).start({"m": {"services": [service("s", "echo up; exec sleep 1000", ready=log_ready("up"))]}})
        cluster.wait_ready()
        pid = cluster.services()["master-1", "m.s"]["pid"]
        cluster.master.end()
        self.assertEqual(0, cluster.master.process.returncode)
        self.assertFalse(alive(pid))

    def test_orphans_are_reaped(self):
        cluster = Cluster(self).start({"m": {"services": [service("s", "exec sleep 1000")]}})
        cluster.wait_ready()
        code, out, _ = cluster.master.run(["sh", "-c", "sh -c 'setsid sleep 0.2 > /dev/null 2>&1 & echo $!'"])
        self.assertEqual(0, code)
        pid = int(out)
        wait_until("the orphan is gone", lambda: not os.path.exists(f"/proc/{pid}"))

    def test_the_lease_ends_the_cluster(self):
        cluster = Cluster(self, ("master", "worker")).start(
            {"m": {"services": [service("s", "echo up; exec sleep 1000", ready=log_ready("up"))]}}, lease_until=int(time.time()) + 2)
        cluster.wait_ready()
        for node in cluster.nodes.values():
            self.assertEqual(OVER, node.process.wait(10))

    def test_an_idle_cluster_ends_and_a_busy_one_does_not(self):
        cluster = Cluster(self, ("master", "worker")).start(
            {"m": {"busy.sh": "[ ! -e $KILN_LOG_DIR/job ] || echo a job on $KILN_NODE\n",
                   "services": [service("s", "echo up; exec sleep 1000", ready=log_ready("up"))]}}, idle_seconds=2)
        cluster.wait_ready()
        # A command on a worker, then work of the worker's own that nobody waits for; each for longer than the limit.
        job = cluster["worker-1"].path("var/log/kiln/m/job")
        began = time.monotonic()
        self.assertEqual(0, cluster.master.run(["sh", "-c", f"sleep 5; : > {job}"], node="worker-1")[0])
        time.sleep(5)
        for node in cluster.nodes.values():
            self.assertIsNone(node.process.poll())
        os.unlink(job)
        ended = time.monotonic()
        for node in cluster.nodes.values():
            self.assertEqual(OVER, node.process.wait(20))
        self.assertGreater(time.monotonic() - ended, 1.5)
        self.assertGreater(ended - began, 10)
        self.assertIn("idle: nothing has gone on for 2 s: stopping the cluster", cluster.master.read("agent.out"))

    def test_looking_at_an_idle_cluster_is_no_work(self):
        cluster = Cluster(self).start({"m": {"services": [service("s", "echo up; exec sleep 1000", ready=log_ready("up"))]}}, idle_seconds=2)
        cluster.wait_ready()

        def over():
            try:
                cluster.master.ask({"do": "status"})
            except (ConnectionError, EOFError, AssertionError):
                pass
            return cluster.master.process.poll() is not None

        wait_until("the cluster has ended while it was looked at", over)

    def test_user_data_runs_once_before_setup(self):
        notes = []
        cluster = Cluster(self)
        note = cluster.master.path("note")
        cluster.start({"m": {"setup.sh": f"echo setup >> {note}\n", "services": [service("s", "exec sleep 1000")]}},
                      user_data=f"#!/bin/sh\nfalse\necho mine on $KILN_NODE\necho user data >> {note}\n")
        cluster.wait_ready()
        self.assertEqual("user data\nsetup\n", cluster.master.read("note"))
        self.assertIn("mine on master-1", cluster.master.log("user-data"))
        with cluster.master.channel() as channel:
            channel.send({"do": "logs", "service": "user-data"})
            notes.append(channel.receive())
        self.assertEqual(("O", b"mine on master-1\n"), notes[0])
        cluster.master.end()
        cluster.master.start()
        cluster.wait_ready()
        self.assertEqual("user data\nsetup\nsetup\n", cluster.master.read("note"))

    def test_user_data_that_fails_fails_the_node(self):
        cluster = Cluster(self)
        cluster.start({"m": {"setup.sh": f"echo setup >> {cluster.master.path('note')}\n", "services": [service("s", "exec sleep 1000")]}},
                      user_data="#!/usr/bin/env python3\nimport sys\nprint('no such thing')\nsys.exit(5)\n")
        ends = lambda events: [e for e in events if e["name"] == "node master-1" and e["kind"] == "end"]
        failed = ends(cluster.events(ends))[0]
        self.assertIs(False, failed.get("ok", True))
        self.assertIn("user-data failed: exit code 5\nno such thing", failed["text"])
        self.assertFalse(os.path.exists(cluster.master.path("note")))


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        class Test:
            addCleanup = staticmethod(cls.addClassCleanup)

        cls.cluster = Cluster(Test, ("master", "worker")).start({
            "m": {"test.sh": "echo testing $KILN_STAGE $KILN_NODE $WITH; exit 4\n",
                  "py.sh": "#!/usr/bin/env python3\nprint('snake')\n",
                  "services": [service("talker", "i=0; echo begin; while :; do if read x < $KILN_LOG_DIR/say; then echo said $x; fi; done", ready=log_ready("begin")),
                               service("quiet", "echo hush; exec sleep 1000", on="worker", ready=log_ready("hush"))],
                  "setup.sh": "mkfifo $KILN_LOG_DIR/say\necho set up\n"}})
        cls.cluster.wait_ready()

    def test_exec_here_and_relayed(self):
        for node in (None, "master-1", "master", "worker-1"):
            code, out, err = self.cluster.master.run(["sh", "-c", "cat; echo on $KILN_NODE $X >&2; exit 7"], b"hello", node=node, env={"X": "y"})
            self.assertEqual((code, out), (7, b"hello"))
            self.assertEqual(err, b"on %s y\n" % (b"worker-1" if node == "worker-1" else b"master-1"))

    def test_exec_carries_much_both_ways(self):
        data = os.urandom(6 << 20)
        code, out, _ = self.cluster.master.run(["cat"], data, node="worker-1")
        self.assertEqual(0, code)
        self.assertEqual(hashlib.sha256(data).digest(), hashlib.sha256(out).digest())

    def test_exec_waits_for_a_slow_reader(self):
        with self.cluster.master.channel() as channel:
            channel.send({"do": "exec", "argv": ["sh", "-c", "head -c 100000000 /dev/zero; echo end >&2"], "node": "worker-1"})
            time.sleep(0.5)
            for node in self.cluster.nodes.values():
                with open(f"/proc/{node.process.pid}/status") as file:
                    rss = int([l for l in file if l.startswith("VmRSS")][0].split()[1])
                self.assertLess(rss, 300000 if SANITIZED else 20000)
            total = 0
            while True:
                kind, payload = channel.receive()
                if kind == "J":
                    break
                total += len(payload) if kind == "O" else 0
            self.assertEqual((total, json.loads(payload)), (100000000, {"exit": 0}))

    def test_what_a_reader_has_not_read_when_the_command_ends_is_kept_for_it(self):
        for size, pause in ((1 << 20, 0.3), (3 << 20, 0.3), (6 << 20, 0.3), (9 << 20, 6.5)):
            with self.cluster.master.channel() as channel:
                channel.send({"do": "exec", "argv": ["head", "-c", str(size), "/dev/zero"], "node": "worker-1"})
                time.sleep(pause)  # what is tested: a pager that stands still
                total = 0
                while True:
                    kind, payload = channel.receive()
                    if kind == "J":
                        break
                    total += len(payload)
                self.assertEqual((total, json.loads(payload)), (size, {"exit": 0}))

    def test_input_that_nobody_reads_does_not_cost_the_answer(self):
        for node in ("master-1", "worker-1"):
            for _ in range(20):
                with self.cluster.master.channel() as channel:
                    channel.send({"do": "exec", "argv": ["sh", "-c", "head -c 4000000 /dev/zero; exit 3"], "node": node})
                    for _ in range(3):
                        channel.send(bytes(100000), "I")
                    time.sleep(0.05)  # what is tested: the answer waits in the sockets while the agent has ended with it
                    total = 0
                    while True:
                        kind, payload = channel.receive()
                        if kind == "J":
                            break
                        total += len(payload)
                    self.assertEqual((total, json.loads(payload)), (4000000, {"exit": 3}))

    def test_a_command_may_let_its_input_wait(self):
        data = os.urandom(20 << 20)
        code, out, _ = self.cluster.master.run(["sh", "-c", "sleep 8; sha256sum"], data, node="worker-1")
        self.assertEqual((code, out.split()[0].decode()), (0, hashlib.sha256(data).hexdigest()))

    def test_exec_of_nothing(self):
        code, _, err = self.cluster.master.run(["no-such-program"], node="worker-1")
        self.assertEqual(127, code)
        self.assertIn(b"cannot execute 'no-such-program': No such file", err)
        with self.assertRaisesRegex(AssertionError, "no node 'worker-9'"):
            self.cluster.master.run(["true"], node="worker-9")
        with self.assertRaisesRegex(AssertionError, "no user 'nobody-here'"):
            self.cluster.master.run(["true"], user="nobody-here")

    def test_exec_killed_and_signalled(self):
        self.assertEqual(137, self.cluster.master.run(["sh", "-c", "kill -9 $$"])[0])
        with self.cluster.master.channel() as channel:
            channel.send({"do": "exec", "argv": ["sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.02; done"], "node": "worker-1"})
            self.assertEqual(("O", b"up\n"), channel.receive())
            channel.send({"signal": "INT"})
            self.assertEqual(("J", {"exit": 9}), (lambda f: (f[0], json.loads(f[1])))(channel.receive()))

    def test_a_client_that_leaves_ends_its_command(self):
        with self.cluster.master.channel() as channel:
            channel.send({"do": "exec", "argv": ["sh", "-c", "echo $$; exec sleep 1000"], "node": "worker-1"})
            pid = int(channel.receive()[1])
            self.assertTrue(alive(pid))
        wait_until("the command ends", lambda: not alive(pid))

    def test_background_children_do_not_hold_exec(self):
        start = time.monotonic()
        self.assertEqual((0, b"x\n", b""), self.cluster.master.run(["sh", "-c", "sleep 5 & echo x"]))
        self.assertLess(time.monotonic() - start, 2)

    def test_terminal(self):
        with self.cluster.master.channel() as channel:
            channel.send({"do": "exec", "argv": ["sh", "-c", "tty >/dev/null && stty size; read x; stty size; echo got $x $TERM"],
                          "terminal": True, "rows": 30, "columns": 90, "env": {"TERM": "vt100"}, "node": "worker-1"})
            out = b""
            while b"30 90" not in out:
                out += channel.receive()[1]
            channel.send({"resize": {"rows": 40, "columns": 100}})
            channel.send(b"hi\n", "I")
            while True:
                kind, payload = channel.receive()
                if kind == "J":
                    break
                out += payload
            self.assertIn(b"40 100", out)
            self.assertIn(b"got hi vt100", out)
            self.assertEqual({"exit": 0}, json.loads(payload))

    def test_scripts(self):
        def run(request):
            with self.cluster.master.channel() as channel:
                channel.send(request)
                out = b""
                while True:
                    kind, payload = channel.receive()
                    if kind == "J":
                        return json.loads(payload), out
                    out += payload

        answer, out = run({"do": "script", "module": "m", "script": "test.sh", "env": {"WITH": "care"}})
        self.assertEqual(({"exit": 4}, b"testing test master-1 care\n"), (answer, out))
        self.assertEqual(({"exit": 0}, b"snake\n"), run({"do": "script", "module": "m", "script": "py.sh"}))
        for bad in ({"module": "m", "script": "../m/test.sh"}, {"module": "m", "script": "no.sh"}, {"module": "x", "script": "test.sh"}, {}):
            self.assertIn("error", run({"do": "script", **bad})[0])

    def test_logs(self):
        with self.cluster.master.channel() as channel:
            channel.send({"do": "logs", "node": "worker-1", "lines": 10})
            out = b""
            while True:
                kind, payload = channel.receive()
                if kind == "J":
                    break
                out += payload
            self.assertEqual({b"m.talker: begin", b"m.quiet: hush", b"m.setup: set up"}, set(out.splitlines()))
        with self.cluster.master.channel() as channel:
            channel.send({"do": "logs", "node": "worker-1", "service": "m.talker", "lines": 0, "follow": True})
            time.sleep(0.1)
            with open(self.cluster["worker-1"].path("var/log/kiln/m/say"), "w") as file:
                file.write("cheese\n")
            self.assertEqual(("O", b"said cheese\n"), channel.receive())
        answer = self.cluster.master.ask({"do": "logs", "service": "m.talkre"})
        self.assertIn("no service 'm.talkre'", answer["error"])
        self.assertEqual("did you mean 'm.talker'?", answer["hint"])

    def test_roster_reaches_every_node(self):
        nodes = self.cluster.roster() + [{"name": "worker-7", "role": "worker", "address": "127.0.0.77"}]
        self.assertEqual({"done": True}, self.cluster.master.ask({"do": "nodes", "nodes": nodes}))
        for node in self.cluster.nodes.values():
            self.assertIn("127.0.0.77 worker-7\n", node.read("etc/hosts"))
        self.assertFalse(self.cluster.status()["worker-7"]["connected"])
        self.assertEqual({"done": True}, self.cluster.master.ask({"do": "nodes", "nodes": self.cluster.roster()}))
        self.assertNotIn("worker-7", self.cluster.master.read("etc/hosts"))
        self.assertIn("error", self.cluster.master.ask({"do": "nodes", "nodes": [{"name": "a\nb", "role": "x", "address": "y"}]}))

    def test_refusals(self):
        with self.assertRaises(Refused):
            self.cluster.master.channel(secret="cd" * 32)
        for request in ({"do": "dance"}, {}, {"do": 3}, {"do": "exec"}, {"do": "exec", "argv": [1]}, {"do": "exec", "argv": []},
                        {"do": "events", "from": "x"}, {"do": "nodes", "nodes": 3}, {"do": "report"}, {"do": "stop", "timeout": "x"},
                        {"do": "exec", "argv": ["true"], "env": 3}, {"do": "logs", "lines": 1e300}):
            self.assertIn("error", self.cluster.master.ask(request), request)
        self.assertIn("ask a master", self.cluster["worker-1"].ask({"do": "status"})["hint"])

    def test_rubbish_on_the_port(self):
        import random

        chance = random.Random(7)
        where = (self.cluster.master.address, self.cluster.port)
        for i in range(300):
            with socket.create_connection(where) as rubbish:
                try:
                    rubbish.sendall(chance.randbytes(chance.randrange(1, 2000)))
                    if i % 3 == 0:
                        rubbish.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        # After the handshake too.
        for i in range(100):
            with self.cluster.master.channel() as channel:
                try:
                    payload = chance.choice([b"{", b"[]", b"null", b'{"do":"exec","argv":["cat"]}', chance.randbytes(50), b'{"do":"report","node":"\xff"}'])
                    channel.socket.sendall(struct.pack(">I", len(payload)) + chance.choice([b"J", b"I", b"Z"]) + payload + chance.randbytes(40))
                except OSError:
                    pass
        half_open = [socket.create_connection(where) for _ in range(400)]
        self.assertTrue(self.cluster.status()["worker-1"]["connected"])
        self.assertEqual((0, b"", b""), self.cluster.master.run(["true"], node="worker-1"))
        for one in half_open:
            one.close()

    @unittest.skipIf(SANITIZED, "built with sanitizers")
    def test_memory_and_idleness(self):
        pid = self.cluster["worker-1"].process.pid

        def read(name):
            with open(f"/proc/{pid}/{name}") as file:
                return file.read()

        def ticks():
            return sum(map(int, read("stat").split()[13:15]))

        def wakeups():
            return int([l for l in read("status").splitlines() if l.startswith("voluntary_ctxt")][0].split()[1])

        before, woken = ticks(), wakeups()
        time.sleep(1)
        self.assertLessEqual(ticks() - before, 1)
        self.assertLessEqual(wakeups() - woken, 3)
        self.assertLess(int([l for l in read("status").splitlines() if l.startswith("VmRSS")][0].split()[1]), 10 << 10)


class Loss(unittest.TestCase):
    modules = {"m": {"services": [service("s", "echo up; exec sleep 1000", ready=log_ready("up"))]}}

    def test_a_node_that_vanishes_and_comes_back(self):
        cluster = Cluster(self, ("master", "worker")).start(self.modules)
        cluster.wait_ready()
        worker = cluster["worker-1"]
        pid = cluster.services()["worker-1", "m.s"]["pid"]
        worker.process.kill()
        worker.process.wait()
        os.kill(pid, signal.SIGKILL)
        event = cluster.events(message("node worker-1", "lost"))[-1]
        self.assertFalse(event["ok"])
        self.assertFalse(cluster.status()["worker-1"]["connected"])
        worker.start()
        events = cluster.events(message("node worker-1", "back"))
        cluster.events(ended("node worker-1"), start=events[-1]["seq"])
        self.assertTrue(cluster.status()["worker-1"]["connected"])

    def test_workers_first_and_a_master_later(self):
        cluster = Cluster(self, ("master", "worker")).write_files(
            {"m": {"services": [service("a", "echo up; exec sleep 1000", on="master", ready=log_ready("up")),
                                service("b", "echo up; exec sleep 1000", on="worker", after=["a"], ready=log_ready("up"))]}})
        cluster["worker-1"].start()
        time.sleep(1)
        cluster.master.start()
        events = cluster.wait_ready()
        # What the worker told before there was anybody to hear it.
        self.assertTrue(any(e["node"] == "worker-1" and e["kind"] == "begin" and e["name"] == "node worker-1" for e in events))

    def test_a_restarted_master_hears_everything_again(self):
        cluster = Cluster(self, ("master", "worker")).start(self.modules)
        cluster.wait_ready()
        pid = cluster.services()["worker-1", "m.s"]["pid"]
        cluster.master.end()
        cluster.master.start()
        cluster.wait_ready()
        wait_until("the worker is there", lambda: cluster.status()["worker-1"]["connected"])
        self.assertEqual(pid, cluster.services()["worker-1", "m.s"]["pid"])

    def test_two_masters_know_the_same(self):
        cluster = Cluster(self, ("master", "master", "worker")).start(
            {"m": {"services": [service("m", "echo up; exec sleep 1000", on="master", ready=log_ready("up")),
                                service("w", "read x < $KILN_GATE; echo up; exec sleep 1000", on="worker", gate=["m"], ready=log_ready("up"))]}})
        cluster.wait_ready()
        for name in ("master-1", "master-2"):
            status = wait_until("all connected", lambda: (lambda s: s if all(n["connected"] for n in s["nodes"]) else None)(cluster[name].ask({"do": "status"})))
            self.assertEqual(3, len(status["nodes"]))
        self.assertEqual((0, b"worker-1\n", b""), cluster["master-2"].run(["sh", "-c", "echo $KILN_NODE"], node="worker-1"))

    def test_nodes_that_no_document_names_become_known(self):
        cluster = Cluster(self, ("master", "worker", "worker"))
        for node in cluster.nodes.values():
            node.write_files([n for n in cluster.roster() if n["role"] == "master" or n["name"] == node.name], self.modules)
            node.start()
        cluster.wait_ready()
        wait_until("the names are known", lambda: "127.0.0.4 worker-2\n" in cluster["worker-1"].read("etc/hosts"))


class CommandLine(unittest.TestCase):
    def run_agent(self, *words):
        done = subprocess.run([AGENT, *words], capture_output=True, text=True, timeout=10)
        return done.returncode, done.stdout + done.stderr

    def test_words(self):
        self.assertEqual(0, self.run_agent("version")[0])
        self.assertEqual(0, self.run_agent("--help")[0])
        self.assertEqual(2, self.run_agent()[0])
        self.assertEqual(2, self.run_agent("run", "--documnet", "x")[0])
        code, words = self.run_agent("run", "--document", "/nowhere/x.json")
        self.assertEqual(1, code)
        self.assertIn("cannot open '/nowhere/x.json'", words)

    def test_check(self):
        cluster = Cluster(self).write_files({"m": {}})
        self.assertEqual((0, ""), self.run_agent("check", cluster.master.path("node.json")))
        with open(cluster.master.path("bad.json"), "w") as file:
            file.write('{"kiln":1}')
        code, words = self.run_agent("check", file.name)
        self.assertEqual(2, code)
        self.assertIn("bad.json", words)

    def test_a_taken_port_is_told(self):
        cluster = Cluster(self).write_files({"m": {}})
        with socket.socket() as taken:
            taken.bind((cluster.master.address, cluster.port))
            taken.listen()
            code, words = self.run_agent("run", "--document", cluster.master.path("node.json"), "--root", cluster.master.root)
        self.assertEqual(1, code)
        self.assertIn("cannot listen on 127.0.0.2", words)

    @unittest.skipIf(SANITIZED or not shutil.which("strip"), "built with sanitizers, or no strip")
    def test_size(self):
        with tempfile.NamedTemporaryFile() as stripped:
            subprocess.run(["strip", "-o", stripped.name, AGENT], check=True)
            self.assertLess(os.path.getsize(stripped.name), 8 << 20)


class Workers(unittest.TestCase):
    """Last: see setUpModule."""

    def test_a_worker_without_masters_ends_itself(self):
        self.assertEqual(OVER, alone["worker-1"].process.wait(90))


if __name__ == "__main__":
    unittest.main()
