"""The two programs on either side of a balancer: `mirror`, its backends, and `traffic`, its clients."""

import http.client
import json
import os
import subprocess
import time

import balancers
import common


class Mirror:
    """All backends, in one process."""

    def __init__(self, stage, seed):
        times = [*balancers.WEB_MS, *balancers.API_MS, *balancers.STREAM_MS]
        ports = common.free_ports(len(times))
        places = [f"127.0.0.1:{port}={ms}ms" for port, ms in zip(ports, times)]
        command = [os.path.join(stage.binaries, "examples", "mirror"), *places, f"--seed={seed}"]
        self.process = stage.start("mirror", command)
        for port in ports:
            common.wait_for(self.process, port, counts_of)
        web, api = len(balancers.WEB_MS), len(balancers.WEB_MS) + len(balancers.API_MS)
        self.scene = balancers.Scene(web=ports[:web], api=ports[web:api], streams=ports[api:])

    def probes(self):
        """How many probes each backend has got so far, and the most that one got within a second since this was last asked. The
        one that comes and goes is left out."""
        counts = []
        for port in self.scene.ports():
            if port != self.scene.api[3]:
                counts.append(json.loads(balancers.answer_of(port, "/-/counts")))
        return {"probes": sum(each["probes"] for each in counts), "burst": max(each["burst"] for each in counts),
                "backends": len(counts)}


def counts_of(connection):
    connection.request("GET", "/-/counts")
    json.loads(connection.getresponse().read())


class Traffic:
    """The load client, which is told what happens."""

    def __init__(self, stage, balancer, options):
        command = [
            os.path.join(stage.binaries, "examples", "traffic"), f"--http=127.0.0.1:{balancer.port}",
            f"--h2=127.0.0.1:{balancer.h2_port}", f"--rate={options.rate}", f"--h2-rate={options.h2_rate}",
            f"--websockets={options.websockets}", f"--downloads={options.downloads}",
            f"--download-time={options.download_time}s", f"--timeout={options.timeout}s", f"--seed={options.seed}",
        ]
        self.log = os.path.join(stage.folder, "traffic.log")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                          cwd=stage.folder, start_new_session=True)
        stage.processes.append(self)
        self.last = None
        self.begin = time.monotonic() - self.report()["at_s"]

    def tell(self, line):
        try:
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
        except OSError as failure:
            with open(self.log, errors="replace") as log:
                raise common.Failure(f"traffic ended: {log.read().strip()}") from failure

    def enter(self, phase):
        self.tell(f"phase {phase}")

    def report(self):
        self.tell("report")
        return self.read()

    def read(self):
        line = self.child.stdout.readline()
        if not line:
            with open(self.log, errors="replace") as log:
                raise common.Failure(f"traffic ended without a report: {log.read().strip()}")
        self.last = json.loads(line)
        return self.last

    def until_open(self, how_many, patience=60):
        """Waits until so many WebSockets are open."""
        deadline = time.monotonic() + patience
        while self.report()["counts"].get("WebSockets opened", 0) < how_many:
            if time.monotonic() > deadline:
                raise common.Failure(f"not all {how_many} WebSockets are open after {patience} s: {self.last['failures']}")
            time.sleep(0.2)

    def finish(self):
        """Has it end properly, and returns its last report."""
        self.tell("stop")
        report = self.read()
        self.child.wait(timeout=60)
        return report

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


def failures(report, but=()):
    """How many there were, without kinds that end like this."""
    return sum(each["count"] for kind, each in report["failures"].items() if not kind.endswith(tuple(but)))


def shares(ports, later, earlier):
    """What each of the backends got of the good answers between two reports, in their order, and of how many."""
    names = [f"127.0.0.1:{port}" for port in ports]
    counts = [later["origins"].get(name, 0) - earlier["origins"].get(name, 0) for name in names]
    total = sum(counts)
    return [count / max(1, total) for count in counts], total


def in_flight(admin_port):
    """Of all backends of Evenkeel, by its own account."""
    pools = json.loads(balancers.answer_of(admin_port, "/api/v1/pools"))
    return sum(backend["in_flight"] for pool in pools for backend in pool["backends"])


UNREACHABLE = (OSError, ValueError, http.client.HTTPException)
