"""Counting the instructions of a contestant per request, under callgrind."""

import glob
import itertools
import os
import socket
import statistics
import subprocess
import time

import common

# What follows an answer, like giving the backend's connection back, belongs to its window.
SETTLE_SECONDS = 0.1


def request(path, host="127.0.0.1", headers=()):
    """A GET, with as many headers as a small real request has."""
    all_headers = {"Host": host, **common.REQUEST_HEADERS, **dict(headers)}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def count(stage, name, origins, options, requests, body, **evenkeel):
    """Instructions per request; idle work, which depends on the time that passes, is measured and taken off."""
    process, port = start(stage, name, origins, **evenkeel)
    with Client(port, requests, body) as client:
        client.ask(max(500, options.requests // 4))
        idle, seconds = window(stage, process, lambda: time.sleep(2))
        idle_per_second = idle / seconds
        samples = []
        for _ in range(options.windows):
            total, seconds = window(stage, process, lambda: client.ask(options.requests))
            samples.append((total - idle_per_second * seconds) / options.requests)
    process.stop()
    median = statistics.median(samples)
    spread = 100 * (max(samples) - min(samples)) / median
    print(f"{name:10}{median:18,.0f}{spread:10.2f}{idle_per_second:12,.0f}", flush=True)
    return median


def start(stage, name, origins, **evenkeel):
    wrapper = [
        common.find_program("valgrind"),
        "--tool=callgrind",
        f"--callgrind-out-file={dump_prefix(stage, name)}",
        f"--vgdb-prefix={vgdb_prefix(stage)}",
        # Threads take turns in a fixed order instead of racing for valgrind's lock.
        "--fair-sched=try",
    ]
    # The first probe is over before the first request, and no other one falls into a window.
    extra = {"health_check": "{ interval: 1h }", **evenkeel} if name != "minimal" else {}
    program = "minimal" if name == "minimal" else "evenkeel"
    return stage.start_contestant(name, origins, wrapper, program, **extra)


def window(stage, process, action):
    """Runs the action and returns how many instructions and seconds it took."""
    time.sleep(SETTLE_SECONDS)
    control(stage, process, "zero")
    begin = time.monotonic()
    action()
    time.sleep(SETTLE_SECONDS)
    seconds = time.monotonic() - begin
    control(stage, process, "dump")
    return total_instructions(newest_dump(stage, process.name)), seconds


def control(stage, process, command):
    vgdb = [common.find_program("vgdb"), f"--vgdb-prefix={vgdb_prefix(stage)}", f"--pid={process.pid}", command]
    if subprocess.run(vgdb, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        raise process.failure(f"valgrind did not take the command {command!r}")


def vgdb_prefix(stage):
    return os.path.join(stage.folder, "vgdb")


def dump_prefix(stage, name):
    return os.path.join(stage.folder, f"{name}.callgrind")


def newest_dump(stage, name):
    dumps = glob.glob(f"{dump_prefix(stage, name)}.*[0-9]")
    return max(dumps, key=lambda path: int(path.rpartition(".")[2]))


def total_instructions(path):
    with open(path) as file:
        for line in file:
            if line.startswith("totals:"):
                return int(line.split()[1])
    raise common.Failure(f"no totals in {path}")


class Client:
    """One request after the other on one keep-alive connection, over and over."""

    def __init__(self, port, requests, body):
        self.requests, self.body = itertools.cycle(requests), body
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, times):
        for request in itertools.islice(self.requests, times):
            self.socket.sendall(request)
            self.expect_answer()

    def expect_answer(self):
        answer = b""
        # A body of known length: the answer is whole when it ends with it.
        while not answer.endswith(b"\r\n\r\n" + self.body):
            part = self.socket.recv(65536)
            if not part:
                raise common.Failure("the connection was closed before the last answer")
            answer += part
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise common.Failure(f"wrong answer: {answer[:40]!r}")
