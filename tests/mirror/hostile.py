"""An upstream that answers as a test says, over real sockets."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.world import MT

COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"


@dataclass
class Reply:
    """One answer. `body` that is no bytes is sent as JSON; `cut` bytes less than Content-Length says are sent."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = MT
    cut: int = 0


@dataclass
class Request:
    """What was asked: the path, its parameters, its headers and its body."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes


Answering = Callable[[Request], Reply]


class Upstream:
    """Its `answers` decide what comes for objects, manifest and posts; requests are kept."""

    def __init__(self, server: ThreadingHTTPServer, answers: Answering, scheme: str) -> None:
        self.server = server
        self.answers = answers
        self.scheme = scheme
        self.requests: list[Request] = []
        self.max_content_length = 1_000_000

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/api/collections/{COLLECTION}/"

    def answer(self, request: Request) -> Reply:
        """The resources about the collection are always there."""
        if request.path == "/api/":
            root = {"title": "Root", "versions": [MT], "max_content_length": self.max_content_length}
            return Reply(root)
        if request.path == urlsplit(self.url).path:
            return Reply({"id": COLLECTION, "title": "Odd", "can_read": True, "can_write": True, "media_types": []})
        self.requests.append(request)
        return self.answers(request)

    def asked(self) -> list[dict[str, str]]:
        """The queries, in their order."""
        return [each.query for each in self.requests]


@contextmanager
def upstream(answers: Answering, tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """A server on a free port of this machine; ended at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            reply = made.answer(Request(self.command, parts.path, query, dict(self.headers), body))
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            headers = {"Content-Type": reply.media, "Content-Length": str(len(body))} | dict(reply.headers)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) - reply.cut])
            if reply.cut:
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def handle(self) -> None:
            with suppress(OSError):  # who does not like our certificate goes away
                super().handle()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made = Upstream(server, answers, "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


LAST = "X-TAXII-Date-Added-Last"


def page(objects: list[Any], last: str = "2026-01-01T00:00:00.000001Z", **more: Any) -> Reply:
    """A page of objects with its date."""
    body: dict[str, Any] = ({"objects": objects} if objects else {}) | more
    return Reply(body, headers={LAST: last})


def in_turn(*replies: Reply) -> Answering:
    """These answers one after the other, the last one for ever."""
    rest = list(replies)

    def answer(request: Request) -> Reply:
        return rest.pop(0) if len(rest) > 1 else rest[0]

    return answer
