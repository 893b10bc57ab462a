"""Upgrades of Evenkeel to programs that do not work: the one that runs must notice, say so, and serve on."""

import contextlib
import os
import socket
import sys
import time

import actors
import balancers
import common

# An upgrade to a program that hangs must end by itself at last.
PATIENCE = 180
# Seconds after which nothing is left of a successor that failed.
REAPED = 10
# Load before the first, and after each.
SETTLE = 2
WEBSOCKETS, DOWNLOADS = 50, 5

HANGS = "#!/bin/sh\nexec sleep 100000\n"
EXITS = "#!/bin/sh\necho 'this program ends at once' >&2\nexit 3\n"
# All is as it was, but the file that it is to read is another one.
MISLED = """#!/bin/sh
for each; do
    shift
    if [ "$each" = "{path}" ]; then each="{broken}"; fi
    set -- "$@" "$each"
done
exec "{real}" "$@"
"""
KILLED = """#!/bin/sh
"{python}" "{killer}" $$ {port} "{real}" "{mark}" &
exec "{real}" "$@"
"""
# Kills the successor as soon as it holds the listening socket, and has had a moment to begin with its work.
KILLER = """import os, signal, sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, {bench!r})
import balancers
pid, port, real, mark = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        if os.readlink(f"/proc/{{pid}}/exe") == real and balancers.listens(pid, port):
            time.sleep(0.2)
            os.kill(pid, signal.SIGKILL)
            open(mark, "w").close()
            break
    except OSError:
        if not os.path.exists(f"/proc/{{pid}}"):
            break
    time.sleep(0.01)
"""


@contextlib.contextmanager
def exits(bench):
    bench.install(EXITS)
    yield None


@contextlib.contextmanager
def hangs(bench):
    bench.install(HANGS)
    yield None


@contextlib.contextmanager
def broken(bench):
    """The file is broken when the upgrade begins."""
    bench.balancer.write(bench.balancer.config() + bench.balancer.broken)
    yield None


@contextlib.contextmanager
def misled(bench):
    """The file is well; the successor reads another, which is not."""
    path = bench.stage.write("broken.yaml", bench.balancer.config() + bench.balancer.broken)
    bench.install(MISLED.format(path=bench.balancer.path, broken=path, real=bench.real))
    yield None


@contextlib.contextmanager
def port_taken(bench):
    """A new listener, whose port somebody else holds."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        bench.balancer.write(bench.balancer.config(f"  - {{ address: 127.0.0.1:{port} }}\n"))
        yield None


@contextlib.contextmanager
def killed(bench):
    """After it has got the listening sockets, and before it is ready: a backend that is silent makes its first probes take long."""
    mark = os.path.join(bench.stage.folder, "killed")
    killer = bench.stage.write("killer.py", KILLER.format(bench=os.path.dirname(os.path.abspath(__file__))))
    bench.install(KILLED.format(python=sys.executable, killer=killer, port=bench.balancer.port, real=bench.real, mark=mark))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pool = (f"  silent:\n    backends: [127.0.0.1:{silent.getsockname()[1]}]\n"
                "    health_check: { http: { path: / }, interval: 4s, timeout: 3s }\n")
        bench.balancer.write(bench.balancer.config().replace("routes:\n", f"{pool}routes:\n", 1))
        yield lambda: None if os.path.exists(mark) else "it was never seen with the listening sockets, so nobody killed it"


# What the command says of each with exit status 1; of a broken file also 2, which says the same.
CASES = {"exits": (exits, [1]), "hangs": (hangs, [1]), "broken": (broken, [1, 2]), "misled": (misled, [1]),
         "port_taken": (port_taken, [1]), "killed": (killed, [1])}


class Bench:
    """Evenkeel under load, and the program that an upgrade finds."""

    def __init__(self, stage, balancer, traffic, but):
        self.stage, self.balancer, self.traffic, self.but = stage, balancer, traffic, but
        # Beside the one that is replaced.
        self.real = os.path.join(stage.folder, "bin", "evenkeel-good")
        os.link(balancer.program, self.real)

    def install(self, script):
        path = self.stage.write("successor", script)
        os.chmod(path, 0o755)
        os.rename(path, self.balancer.program)

    def restore(self):
        # What an upgrade starts next is the good one again, by the name that it has always had.
        link = os.path.join(self.stage.folder, "bin", "link")
        os.link(self.real, link)
        # Two names of one file: a rename would leave both.
        if os.path.exists(self.balancer.program):
            os.unlink(self.balancer.program)
        os.rename(link, self.balancer.program)
        self.balancer.write(self.balancer.config())

    def attempt(self, name):
        case, statuses = CASES[name]
        self.traffic.enter(name)
        failed, before = self.failures(), self.balancer.serving()
        begin = time.monotonic()
        with case(self) as arranged:
            status, said = self.balancer.call("upgrade", PATIENCE)
            took = time.monotonic() - begin
            wrong = [arranged()] if arranged else []
        self.restore()
        wrong += [
            None if status in statuses else f"exit status {status}",
            None if said else "not a word about it",
            None if self.balancer.serving() == before else f"{self.balancer.serving()} serves, before it was {before}",
            self.left_over(before),
        ]
        time.sleep(SETTLE)
        failed = self.failures() - failed
        return {"took_s": took, "status": status, "said": said, "failed": failed, "wrong": [each for each in wrong if each]}

    def failures(self):
        return actors.failures(self.traffic.report(), self.but)

    def left_over(self, before):
        """Processes of the successor that are still there, zombies too."""
        deadline = time.monotonic() + REAPED
        while True:
            left = sorted(set(self.balancer.all_processes()) - set(before))
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        names = [(pid, *(common.stat_fields(pid) or ["gone"])[:1]) for pid in left]
        return f"left over, with their state: {names}" if left else None

    def good(self):
        """After all that, a good successor must get through."""
        self.traffic.enter("good")
        failed = self.failures()
        took, wrong = self.balancer.upgrade()
        time.sleep(SETTLE)
        failed = self.failures() - failed
        return {"took_s": took, "status": 0, "said": "", "failed": failed, "wrong": [wrong] if wrong else []}


def run(binaries, options):
    options.websockets, options.downloads = min(options.websockets, WEBSOCKETS), min(options.downloads, DOWNLOADS)
    with common.Stage(binaries) as stage:
        mirror = actors.Mirror(stage, options.seed)
        balancer = balancers.Evenkeel(stage, mirror.scene, options.stream_bound)
        balancer.start()
        try:
            traffic = actors.Traffic(stage, balancer, options)
            traffic.until_open(options.websockets)
            time.sleep(SETTLE)
            bench = Bench(stage, balancer, traffic, options.but)
            results = {}
            for name in options.successors:
                common.progress(f"a successor that {name.replace('_', ' ')}")
                results[name] = bench.attempt(name)
            results["good"] = bench.good()
            report = traffic.finish()
        finally:
            balancer.stop()
            if options.keep_log:
                os.replace(balancer.process.log, options.keep_log)
    common.progress("")
    print_results(results, report)
    good = all(not each["failed"] and not each["wrong"] for each in results.values())
    return 1 if options.check and not good else 0


def print_results(results, report):
    print(f"{'successor':14}{'seconds':>9}{'status':>8}{'failed':>8}  what was said")
    for name, each in results.items():
        lines = each["said"].splitlines() or [""]
        print(f"{name:14}{each['took_s']:9.1f}{each['status']!s:>8}{each['failed']:8}  {lines[0]}")
        for line in lines[1:]:
            print(" " * 41 + line)
        for wrong in each["wrong"]:
            print(f"{'':14}WRONG: {wrong}")
    for kind, each in report["failures"].items():
        print(f"{kind}: the first after {each['first_s']:.1f} s; {each['phases']}")
