"""The load: a process that keeps some connections busy, and what it saw, as JSON on its standard output.

    python -m bench.client < order.json

It speaks just enough HTTP to cost less than what it measures: one thread, keep-alive sockets, requests made before
the clock starts. An order has the port, the number of `connections` and either `requests` (raw, sent in turn until
`count` are answered) or `sync` (a request whose `next` is followed, by each connection for itself, up to `pages`).
"""

from __future__ import annotations

import base64
import json
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

_NEXT = re.compile(rb'"next":"([^"]+)"')
_LENGTH = re.compile(rb"[Cc]ontent-[Ll]ength: *(\d+)")
_CHUNK = 1 << 20


@dataclass
class Load:
    """What a run of the client saw. `seconds` from the first byte sent to the last one received."""

    seconds: float
    answers: int
    bytes: int
    statuses: dict[str, int]
    #: milliseconds of each answer, ascending
    latencies: list[float] = field(repr=False)
    cpu_s: float = 0.0
    #: how often each connection of a `sync` was sent the `marker` of the order
    objects: list[int] | None = None
    #: connections that the server ended before they were answered, and that were opened again
    reopened: int = 0

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    def latency(self, share: float) -> float:
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]

    def require(self, status: int) -> Load:
        """Raise unless every answer had this status."""
        if self.statuses != {str(status): self.answers}:
            raise RuntimeError(f"answers with {self.statuses}, expected {status}")
        return self


def get(path: str, token: str, *, basic: str = "", gzip: bool = False) -> bytes:
    """A GET as a TAXII client sends it, with a token or as this name with the token as password."""
    secret = f"Basic {base64.b64encode(f'{basic}:{token}'.encode()).decode()}" if basic else f"Bearer {token}"
    more = "Accept-Encoding: gzip\r\n" if gzip else ""
    accept = "application/taxii+json;version=2.1"
    return f"GET {path} HTTP/1.1\r\nHost: b\r\nAccept: {accept}\r\nAuthorization: {secret}\r\n{more}\r\n".encode()


def post(path: str, token: str, body: bytes) -> bytes:
    """A POST of an envelope."""
    kind = "application/taxii+json;version=2.1"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: b\r\nAccept: {kind}\r\nContent-Type: {kind}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def drive(port: int, connections: int, **order: Any) -> Load:
    """Run the client in a process of its own."""
    for name in ("requests", "sync"):
        if name in order:
            order[name] = [each.decode("latin-1") for each in order[name]]
    text = json.dumps({"port": port, "connections": connections, **order})
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return Load(**json.loads(done.stdout))


class _Connection:
    def __init__(self, port: int) -> None:
        self.port = port
        self.sock = self._open()
        self.request = self.sent = b""
        self.reopened = 0
        self.pages = self.objects = 0
        self.begin = 0.0
        self.parts: list[bytes] = []
        self.size = 0
        self.expected = 0
        self.head = b""

    def _open(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def reopen(self, selector: selectors.BaseSelector) -> None:
        """Ask again on another connection, as any HTTP client does when a kept one was ended (RFC 7230, 6.3.1)."""
        selector.unregister(self.sock)
        self.sock.close()
        self.sock = self._open()
        selector.register(self.sock, selectors.EVENT_READ, self)
        self.reopened += 1
        self.sock.sendall(self.sent)

    def send(self, request: bytes) -> None:
        self.sent = request
        self.parts, self.size, self.expected, self.head = [], 0, 0, b""
        self.begin = time.perf_counter()
        self.sock.sendall(request)

    def receive(self) -> bool:
        """Take in what is there; whether the answer is whole. Raises ConnectionResetError when nothing came."""
        data = self.sock.recv(_CHUNK)
        if not data:
            if self.size:
                raise RuntimeError("the server ended the connection in the middle of an answer")
            raise ConnectionResetError
        self.parts.append(data)
        self.size += len(data)
        if not self.expected:
            head, found, _ = b"".join(self.parts).partition(b"\r\n\r\n")
            if not found:
                return False
            length = _LENGTH.search(head)
            self.head = head
            self.expected = len(head) + 4 + (int(length[1]) if length else 0)
        return self.size >= self.expected


def _run(order: dict[str, Any]) -> dict[str, Any]:
    requests = [each.encode("latin-1") for each in order.get("requests", [])]
    syncs = [each.encode("latin-1") for each in order.get("sync", [])]
    count, pages = order.get("count", len(requests)), order.get("pages", 0)
    marker = order.get("marker", "").encode()
    selector = selectors.DefaultSelector()
    statuses: dict[str, int] = {}
    latencies: list[float] = []
    sent = received = 0
    busy = 0
    connections = [_Connection(order["port"]) for _ in range(order["connections"])]
    start = time.perf_counter()
    for number, connection in enumerate(connections):
        selector.register(connection.sock, selectors.EVENT_READ, connection)
        if syncs:
            connection.request = syncs[number % len(syncs)]
            connection.send(connection.request)
        elif sent < count:
            connection.send(requests[sent % len(requests)])
            sent += 1
        else:
            continue
        busy += 1
    while busy:
        for key, _ in selector.select():
            connection = key.data
            try:
                if not connection.receive():
                    continue
            except ConnectionResetError:
                connection.reopen(selector)
                continue
            now = time.perf_counter()
            latencies.append(1000 * (now - connection.begin))
            received += connection.size
            status = connection.head[9:12].decode()
            statuses[status] = statuses.get(status, 0) + 1
            connection.pages += 1
            if marker:
                connection.objects += b"".join(connection.parts).count(marker)
            if syncs:
                token = _NEXT.search(b"".join(connection.parts[:2])[len(connection.head) : len(connection.head) + 800])
                if token is not None and connection.pages < pages:
                    connection.send(_following(connection.request, token[1]))
                    continue
            elif sent < count:
                connection.send(requests[sent % len(requests)])
                sent += 1
                continue
            busy -= 1
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "answers": len(latencies),
        "bytes": received,
        "statuses": statuses,
        "latencies": sorted(latencies),
        "objects": [connection.objects for connection in connections] if marker else None,
        "reopened": sum(connection.reopened for connection in connections),
        "cpu_s": used.ru_utime + used.ru_stime,
    }


def _following(request: bytes, token: bytes) -> bytes:
    line, rest = request.split(b" HTTP/1.1", 1)
    return line + (b"&" if b"?" in line else b"?") + b"next=" + token + b" HTTP/1.1" + rest


if __name__ == "__main__":
    print(json.dumps(_run(json.load(sys.stdin))))
