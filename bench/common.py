"""What the benchmarks share: building, free ports, origins, contestants, and ending every process."""

import argparse
import datetime
import glob
import http.client
import json
import os
import platform
import pwd
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ORIGINS = 3
# As many headers as a small real request has: parsing and copying them is part of a proxy's work.
REQUEST_HEADERS = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "User-Agent": "evenkeel-bench/1.0",
}
CASES = {
    "small": ("/", b"Hello, world\n"),
    "16k": ("/16k", b"0123456789abcdef" * 1024),
}


class Failure(Exception):
    """A benchmark that cannot go on, with what to tell its user."""


def find_program(name):
    # Debian keeps nginx and haproxy in a folder that is not in an ordinary user's PATH.
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name, path=path)


def require_programs(names):
    missing = [name for name in names if not find_program(name)]
    if missing:
        raise Failure(f"missing: {', '.join(missing)}\ntry: apt-get install -y nginx haproxy wrk valgrind")


def contestant_list(allowed):
    """Parser of a `--only` argument."""

    def parse(text):
        names = list(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(allowed)}")
        return names

    return parse


def build(names, profile):
    """Builds those of the programs that are ours and returns the folder with the binaries."""
    targets = []
    if "evenkeel" in names:
        targets += ["--bin", "evenkeel"]
    for example in ("minimal", "load", "mirror", "nothing", "origin", "traffic"):
        if example in names:
            targets += ["--example", example]
    if not targets:
        return None
    command = ["cargo", "build", "--profile", profile, *targets]
    if subprocess.run(command, cwd=REPOSITORY).returncode != 0:
        raise Failure(f"failed: {' '.join(command)}")
    return os.path.join(target_folder(), "debug" if profile == "dev" else profile)


def target_folder():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(metadata)["target_directory"]


def free_ports(count):
    """Ports nobody listens on, outside the range from which the kernel takes those of outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low, high = map(int, file.read().split())
    candidates = [port for port in range(10000, 65000) if not low <= port <= high]
    held = []
    try:
        for port in random.sample(candidates, len(candidates)):
            if len(held) == count:
                break
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
                held.append(probe)
            except OSError:
                probe.close()
        if len(held) < count:
            raise Failure("not enough free ports on 127.0.0.1")
        return [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()


class Process:
    """One program in a session of its own, so that all its processes can be found and a Ctrl-C reaches only us."""

    def __init__(self, name, command, folder):
        self.name = name
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )

    @property
    def pid(self):
        return self.child.pid

    def members(self):
        """The process ids of the program and its workers."""
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        return [pid for pid in pids if session_of(pid) == self.pid]

    def cpu_seconds(self):
        """User and system time so far."""
        ticks = os.sysconf("SC_CLK_TCK")
        fields = [stat_fields(pid) for pid in self.members()]
        return tuple(sum(int(field[i]) for field in fields if field) / ticks for i in (11, 12))

    def seconds_without_cpu(self):
        """For how long its threads so far could have run, and another program had the CPU; 0 where the kernel does not say."""
        return sum(waited for pid in self.members() for waited in run_queue_seconds(pid))

    def memory_mib(self, key):
        return sum(status_kib(pid, key) for pid in self.members()) / 1024

    def stop(self):
        # SIGINT is the fast shutdown of all contestants; SIGTERM would make some of them wait for their clients.
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for pid in self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def failure(self, what):
        with open(self.log, errors="replace") as log:
            return Failure(f"{self.name}: {what}\n{''.join(log.readlines()[-10:])}".rstrip())


def stat_fields(pid):
    """/proc/PID/stat from its third field on: the second may contain anything."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def run_queue_seconds(pid):
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path) as file:
                yield int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            pass


def prioritize(pid, nice):
    """Needs root below 0. A session has a priority of its own where the kernel groups by session, and nice alone does little."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        with open(f"/proc/{pid}/autogroup", "w") as file:
            file.write(str(nice))
    except FileNotFoundError:
        pass
    except PermissionError as failure:
        raise Failure(f"--nice {nice}: {failure.strerror}") from failure


def session_of(pid):
    fields = stat_fields(pid)
    return int(fields[3]) if fields else None


def status_kib(pid, key):
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(f"{key}:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class Stage:
    """A temporary folder and the processes started in it; both end with it, whatever happens."""

    def __init__(self, binaries, nice=0):
        self.binaries = binaries
        self.nice = nice
        self.processes = []

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = 65536 if most == resource.RLIM_INFINITY else min(most, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))
        self.folder = tempfile.mkdtemp(prefix="evenkeel-bench-")
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, name, command):
        process = Process(name, command, self.folder)
        self.processes.append(process)
        if self.nice:
            prioritize(process.pid, self.nice)
        return process

    def stop(self, process):
        """Ends a process before the stage does."""
        self.processes.remove(process)
        process.stop()

    def start_origins(self):
        """One nginx process is all three origins: it must cost the machine as little as possible."""
        ports = free_ports(ORIGINS)
        process = self.start("origins", nginx_command(self, "origins", origins_config(ports)))
        for port in ports:
            wait_for(process, port, answers_well)
        return ports

    def start_contestant(self, name, origins, wrapper=(), program=None, check=None, **options):
        """Starts a contestant, checks its answers, and returns it with its port."""
        (port,) = free_ports(1)
        command = CONTESTANTS[program or name](self, name, port, origins, **options)
        process = self.start(name, [*wrapper, *command])
        wait_for(process, port, check or uses_all_origins)
        return process, port


def origins_config(ports):
    server = """
    server {{
        listen 127.0.0.1:{port};
        add_header X-Origin {port};
        location / {{ return 200 "Hello, world\\n"; }}
        location = /16k {{ set $part "{part}"; return 200 "{parts}"; }}
    }}"""
    # A single nginx parameter may not be longer than 4 KiB.
    part, parts = "0123456789abcdef" * 64, "$part" * 16
    return "".join(server.format(port=port, part=part, parts=parts) for port in ports)


def nginx_command(stage, name, servers, connections=4096):
    temporary = "".join(
        f"    {kind}_temp_path {name}-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root, workers would become a user who cannot enter the temporary folder.
    user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
    config = f"""{user}daemon off;
worker_processes 1;
pid {name}.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    default_type text/plain;
    # Without these, connections would be closed every thousand requests or, between rounds, after a minute.
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
{temporary}{servers}
}}
"""
    path = stage.write(f"{name}.conf", config)
    return [find_program("nginx"), "-e", "stderr", "-p", stage.folder, "-c", path]


def nginx(stage, name, port, origins, balance="", server="", location=""):
    servers = "".join(f" server 127.0.0.1:{origin}{server};" for origin in origins)
    config = f"""
    upstream web {{
       {balance}{servers}
        keepalive 128;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {location}
        }}
    }}"""
    return nginx_command(stage, name, config)


def haproxy(stage, name, port, origins, balance="roundrobin", connect="5s", read="1h", server="", defaults=()):
    servers = "".join(f"    server s{origin} 127.0.0.1:{origin}{server}\n" for origin in origins)
    more = "".join(f"    {line}\n" for line in defaults)
    config = f"""global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect {connect}
    timeout client 1h
    timeout server {read}
    http-reuse always
{more}listen web
    bind 127.0.0.1:{port}
    balance {balance}
{servers}"""
    return [find_program("haproxy"), "-db", "-f", stage.write(f"{name}.cfg", config)]


def minimal(stage, _, port, origins):
    program = os.path.join(stage.binaries, "examples", "minimal")
    return [program, *(f"127.0.0.1:{each}" for each in (port, *origins))]


def evenkeel(stage, name, port, origins, routes="[{ pool: web }]", binary="evenkeel", **pool):
    admin = next(each for each in free_ports(2) if each != port)
    backends = ", ".join(f"127.0.0.1:{origin}" for origin in origins)
    keys = "".join(f"\n    {key}: {value}" for key, value in pool.items())
    config = f"""version: 1
threads: 1
listeners: [{{ address: 127.0.0.1:{port} }}]
pools:
  web:
    backends: [{backends}]{keys}
routes: {routes}
admin: {{ address: 127.0.0.1:{admin} }}
"""
    return [os.path.join(stage.binaries, binary), "-c", stage.write(f"{name}.yaml", config)]


CONTESTANTS = {"evenkeel": evenkeel, "minimal": minimal, "nginx": nginx, "haproxy": haproxy}


def wait_for(process, port, check, patience=60):
    """Repeats the check until it passes: a contestant may first have to probe its backends."""
    deadline = time.monotonic() + patience
    while True:
        if process.child.poll() is not None:
            raise process.failure(f"ended with {process.child.returncode} before it answered")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            return check(connection)
        except (OSError, http.client.HTTPException, Failure) as failure:
            if time.monotonic() > deadline:
                raise process.failure(str(failure)) from failure
            time.sleep(0.05)
        finally:
            connection.close()


def answers_well(connection):
    """Both bodies must arrive unchanged. Returns which origins answered."""
    return {expect_answer(connection, case) for case in CASES}


def uses_all_origins(connection):
    seen = set().union(*(answers_well(connection) for _ in range(2 * ORIGINS)))
    if len(seen) != ORIGINS:
        raise Failure(f"used {len(seen)} of {ORIGINS} origins")


def expect_answer(connection, case):
    path, body = CASES[case]
    connection.request("GET", path, headers=REQUEST_HEADERS)
    response = connection.getresponse()
    if (response.status, response.read()) != (200, body):
        raise Failure(f"wrong answer to GET {path}: status {response.status}")
    return response.headers["X-Origin"]


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def describe_environment(options):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": first_line(["git", "-C", REPOSITORY, "describe", "--always", "--dirty"]),
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
        "rustc": first_line(["rustc", "--version"]),
        "nginx": first_line([find_program("nginx"), "-v"]),
        "haproxy": first_line([find_program("haproxy"), "-v"]),
        "options": {key: value for key, value in vars(options).items() if key != "json"},
    }


def first_line(command):
    """What a program says about itself, if it is there and says something."""
    if command[0] is None:
        return None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return next(iter(done.stdout.splitlines()), None)


def cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def main(run):
    """Runs a benchmark; its exit status is what `run` returns."""
    try:
        sys.exit(run())
    except Failure as failure:
        print(f"{os.path.basename(sys.argv[0])}: {failure}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
