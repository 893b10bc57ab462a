"""Evenkeel, nginx and HAProxy with the same pools and routes, which change from reload to reload; and how each is reloaded."""

import dataclasses
import glob
import http.client
import os
import pwd
import shutil
import signal
import subprocess
import time

import common

# Seconds after which a command that changes a balancer, or the change itself, has failed.
PATIENCE = 60
# Mean service times of the backends. Those of `web` differ, so that an algorithm has something to see, but by less than what
# ejection takes for broken.
WEB_MS, API_MS, STREAM_MS = (4, 5, 6, 8), (3, 3, 3, 3), (1, 1, 1)
# What a reload finds changed, one after the other.
CHANGES = ("weights", "backend added", "route added", "nothing", "backend removed", "pool added", "weights", "route removed",
           "timeout", "pool removed")


@dataclasses.dataclass
class Scene:
    """What a configuration says."""

    web: list
    api: list
    streams: list
    generation: int = 1
    weights: tuple = (1, 1, 1)
    spare: bool = False
    route: bool = False
    pool: bool = False
    timeout: int = 30

    def change(self, what, number):
        """Whatever changes, /generation tells that it has been taken over."""
        if what == "nothing":
            return
        self.generation += 1
        if what == "weights":
            self.weights = (1 + number % 3, 1 + number % 2, 2)
        elif what in ("backend added", "backend removed"):
            self.spare = what == "backend added"
        elif what in ("route added", "route removed"):
            self.route = what == "route added"
        elif what in ("pool added", "pool removed"):
            self.pool = what == "pool added"
        elif what == "timeout":
            self.timeout = 30 + number % 7

    def weighted_api(self):
        """Addresses and weights of the pool whose members change."""
        return [*zip(self.api, self.weights), *([(self.api[3], 1)] if self.spare else [])]

    def ports(self):
        return [*self.web, *self.api, *self.streams]


class Balancer:
    """One contestant: a process, perhaps others that it started, and the file that it reads."""

    def __init__(self, stage, scene, bound):
        self.stage, self.scene, self.bound = stage, scene, bound
        self.port, self.h2_port, self.admin_port = common.free_ports(3)
        self.upgrades = 0
        self.path = os.path.join(stage.folder, f"{self.name}.conf")

    def start(self):
        self.write(self.config())
        self.process = self.stage.start(self.name, self.command())
        common.wait_for(self.process, self.port, expects(self.scene.generation))

    def write(self, text):
        # As an editor does it: the file is the old one or the new one, and never half of it.
        with open(self.path + ".new", "w") as file:
            file.write(text)
        os.rename(self.path + ".new", self.path)

    def reload(self, what, number):
        """Changes the file and has it loaded. Returns how long the command took, how long until it could be seen, and what is
        wrong."""
        self.scene.change(what, number)
        self.write(self.config())
        begin = time.monotonic()
        wrong = self.ask_to_reload()
        took = time.monotonic() - begin
        if wrong:
            return took, None, wrong
        seen = self.until_seen(begin)
        if seen is None:
            return took, None, f"generation {self.scene.generation} is not there {PATIENCE} s after the reload"
        return took, seen, self.receipt_wrong(took, seen)

    def until_seen(self, begin):
        while time.monotonic() - begin < PATIENCE:
            try:
                if answer_of(self.port, "/generation") == str(self.scene.generation):
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.005)
        return None

    def receipt_wrong(self, took, seen):
        return None

    def refuse(self):
        """A broken file. Returns what is wrong, if it is not refused."""
        self.write(self.config() + self.broken)
        wrong = self.ask_to_refuse()
        self.write(self.config())
        if not wrong and answer_of(self.port, "/generation") != str(self.scene.generation):
            wrong = "what was there before is not there any more"
        return wrong

    def serving(self):
        """The processes whose memory and files are looked at: all there are."""
        return self.process.members()

    def stop(self):
        self.process.stop()


class Evenkeel(Balancer):
    name = "evenkeel"
    broken = "\nroutez: []\n"

    def __init__(self, stage, scene, bound):
        super().__init__(stage, scene, bound)
        # A copy, which an upgrade may find replaced.
        self.program = os.path.join(stage.folder, "bin", "evenkeel")
        self.original = os.path.join(stage.binaries, "evenkeel")
        os.makedirs(os.path.dirname(self.program), exist_ok=True)
        shutil.copy(self.original, self.program)

    def command(self):
        return [self.program, "-c", self.path]

    def config(self, more=""):
        scene = self.scene
        check = "health_check: { http: { path: /healthz }, interval: 2s, timeout: 1900ms, fall: 5 }"
        api = ", ".join(f"{{ address: 127.0.0.1:{port}, weight: {weight} }}" for port, weight in scene.weighted_api())
        added_pool = f"""  added:
    backends: [127.0.0.1:{scene.api[0]}]
    health_check: off
""" if scene.pool else ""
        added_route = "  - { match: { path: /added }, respond: { status: 200, body: added } }\n" if scene.route else ""
        added_route += "  - { match: { path_prefix: /pool }, pool: added }\n" if scene.pool else ""
        return f"""version: 1
threads: 2
upgrade_sock: {self.stage.folder}/upgrade.sock
pid_file: {self.stage.folder}/evenkeel.pid
grace_period_seconds: {self.bound or 86400}
graceful_shutdown_timeout_seconds: 5
listeners:
  - {{ address: 127.0.0.1:{self.port} }}
  - {{ address: 127.0.0.1:{self.h2_port}, h2c: true }}
{more}pools:
  web:
    backends: [{addresses(scene.web)}]
    balance: p2c
    {check}
    timeouts: {{ read: {scene.timeout}s }}
  api:
    backends: [{api}]
    {check}
  streams:
    backends: [{addresses(scene.streams)}]
    balance: least_request
    {check}
{added_pool}routes:
  - {{ match: {{ path: /generation }}, respond: {{ status: 200, body: "{scene.generation}" }} }}
  - {{ match: {{ path_prefix: /api }}, pool: api }}
  - {{ match: {{ path_prefix: /ws }}, pool: streams }}
  - {{ match: {{ path_prefix: /download }}, pool: streams }}
{added_route}  - {{ pool: web }}
admin: {{ address: 127.0.0.1:{self.admin_port} }}
"""

    def call(self, command, patience=PATIENCE):
        """Runs a command of the program: its exit status (None: it did not end), and all that it said."""
        try:
            # Not the copy: that may be a bad successor.
            done = subprocess.run([self.original, command, "-c", self.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=patience)
        except subprocess.TimeoutExpired as expired:
            return None, f"did not end within {patience} s: {(expired.output or b'').decode(errors='replace').strip()}"
        return done.returncode, done.stdout.strip()

    def ask_to_reload(self):
        status, self.said = self.call("reload")
        return None if status == 0 else f"exit status {status}: {self.said}"

    def receipt_wrong(self, took, seen):
        # One request takes some time, and much if the machine is busy.
        if seen - took > 1:
            return f"the command came back {seen - took:.1f} s before the change could be seen"
        return None if "generation" in self.said else f"no receipt: {self.said!r}"

    def ask_to_refuse(self):
        status, said = self.call("reload")
        if status != 2 or "routez" not in said or f"{self.path}:" not in said:
            return f"exit status {status} for a broken file, and the message: {said}"
        return None

    def upgrade(self):
        """Replaces the running program by itself. Returns how long it took, and what is wrong."""
        before = self.serving()
        begin = time.monotonic()
        status, said = self.call("upgrade")
        took = time.monotonic() - begin
        if status != 0:
            return took, f"exit status {status}: {said}"
        if self.serving() == before:
            return took, f"the process is the same as before ({before}): {said}"
        return took, None

    def all_processes(self):
        """Every process of ours that runs, old ones too."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self.is_ours(pid)]

    def is_ours(self, pid):
        # A successor may have begun a session of its own.
        try:
            return common.session_of(pid) == self.process.pid or os.readlink(f"/proc/{pid}/exe").startswith(self.stage.folder)
        except OSError:
            return False

    def serving(self):
        """Of those that hold the listening socket the one that was started last."""
        holders = [pid for pid in self.all_processes() if listens(pid, self.port)]
        return sorted(holders, key=started)[-1:]

    def stop(self):
        self.process.stop()
        for pid in self.all_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Nginx(Balancer):
    name = "nginx"
    broken = "\nroutez off;\n"

    def command(self):
        return [common.find_program("nginx"), "-e", "stderr", "-p", self.stage.folder, "-c", self.path]

    def config(self):
        scene = self.scene
        # As root, workers would become a user who cannot enter the temporary folder.
        user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
        temporary = "".join(f"    {kind}_temp_path nginx-{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        api = "".join(f" server 127.0.0.1:{port} weight={weight};" for port, weight in scene.weighted_api())
        added = 'location = /added { return 200 "added"; }\n' if scene.route else ""
        added += "location /pool { proxy_pass http://added; }\n" if scene.pool else ""
        added_pool = f"    upstream added {{ server 127.0.0.1:{scene.api[0]}; }}\n" if scene.pool else ""
        return f"""{user}daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_max_body_size 1m;
{temporary}    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection "";
    proxy_read_timeout {scene.timeout}s;
    upstream web {{ zone web 256k; random two least_conn;{servers(scene.web)} keepalive 128; }}
    upstream api {{ zone api 256k;{api} keepalive 128; }}
    upstream streams {{ zone streams 256k; least_conn;{servers(scene.streams)} }}
{added_pool}    server {{
        listen 127.0.0.1:{self.port};
        listen 127.0.0.1:{self.h2_port} http2;
        location = /generation {{ return 200 "{scene.generation}"; }}
        location /api {{ proxy_pass http://api; }}
        location /download {{ proxy_pass http://streams; proxy_buffering off; }}
        location /ws {{
            proxy_pass http://streams;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
        }}
        {added}location / {{ proxy_pass http://web; }}
    }}
}}
"""

    def ask_to_reload(self):
        done = subprocess.run([*self.command(), "-s", "reload"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        return None if done.returncode == 0 else f"exit status {done.returncode}: {done.stdout.strip()}"

    def ask_to_refuse(self):
        return None if self.ask_to_reload() else "a broken file was taken"


class Haproxy(Balancer):
    name = "haproxy"
    broken = "\nroutez off\n"

    def command(self):
        # With a master, which starts a new worker on USR2 with -sf; -db keeps it in the foreground.
        return [common.find_program("haproxy"), "-W", "-db", "-f", self.path]

    def config(self):
        scene = self.scene
        check = "option httpchk GET /healthz\n    default-server check inter 2s fall 5"
        api = "".join(f"    server s{port} 127.0.0.1:{port} weight {weight}\n" for port, weight in scene.weighted_api())
        added = '    http-request return status 200 content-type text/plain string added if { path /added }\n' if scene.route else ""
        added += "    use_backend added if { path_beg /pool }\n" if scene.pool else ""
        added_pool = f"backend added\n    server s0 127.0.0.1:{scene.api[0]}\n" if scene.pool else ""
        return f"""global
    nbthread 2
    maxconn 8000
    stats socket {self.stage.folder}/haproxy.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    option redispatch
    retries 3
    timeout connect 2s
    timeout client 1h
    timeout server {scene.timeout}s
    timeout http-keep-alive 75s
    timeout tunnel 1h
    http-reuse always
frontend all
    bind 127.0.0.1:{self.port}
    bind 127.0.0.1:{self.h2_port} proto h2
    http-request return status 200 content-type text/plain string "{scene.generation}" if {{ path /generation }}
{added}    use_backend api if {{ path_beg /api }}
    use_backend streams if {{ path_beg /ws }} or {{ path_beg /download }}
    default_backend web
backend web
    balance random(2)
    {check}
{haproxy_servers(scene.web)}backend api
    balance roundrobin
    {check}
{api}backend streams
    balance leastconn
    {check}
{haproxy_servers(scene.streams)}{added_pool}"""

    def ask_to_reload(self):
        self.process.child.send_signal(signal.SIGUSR2)

    def ask_to_refuse(self):
        self.ask_to_reload()
        # It says so in its log alone. Were it to take the file, it would say another generation, or end.
        time.sleep(1)


BALANCERS = {each.name: each for each in (Evenkeel, Nginx, Haproxy)}


def addresses(ports):
    return ", ".join(f"127.0.0.1:{port}" for port in ports)


def servers(ports):
    return "".join(f" server 127.0.0.1:{port};" for port in ports)


def haproxy_servers(ports):
    return "".join(f"    server s{port} 127.0.0.1:{port}\n" for port in ports)


def answer_of(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode(errors="replace").strip()
    finally:
        connection.close()


def expects(generation):
    def check(connection):
        connection.request("GET", "/generation")
        found = connection.getresponse().read().decode(errors="replace")
        if found != str(generation):
            raise common.Failure(f"expected generation {generation}, got {found!r}")
        connection.request("GET", "/web/1")
        if connection.getresponse().read() != b"/web/1":
            raise common.Failure("wrong answer to GET /web/1")

    return check


def listens(pid, port):
    """Whether a process holds the socket that listens on this port of 127.0.0.1."""
    return bool(inodes_of(pid) & listeners().get(port, set()))


def listeners():
    """The inodes of listening TCP sockets, by port."""
    found = {}
    with open("/proc/net/tcp") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(fields[9])
    return found


def established():
    """The inodes of TCP sockets over which something may come yet."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return {fields[9] for fields in rows if fields[3] == "01"}


def inodes_of(pid):
    return {link[8:-1] for link in open_files(pid) if link.startswith("socket:[")}


def open_files(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            found.append(os.readlink(path))
        except OSError:
            pass
    return found


def started(pid):
    fields = common.stat_fields(pid)
    return int(fields[19]) if fields else 0
