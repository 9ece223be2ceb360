"""What a client can do to the connection itself: every answer has TAXII form, and no connection loses its step."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from taxii_server.web import errors
from tests.e2e.server import Server
from tests.world import MT, RW, indicator

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


#: Every error_code with its title, as the documentation has them.
KNOWN = {*errors._TITLES.values(), ("bad-query", "Bad request")}


@dataclass
class Answer:
    """One response as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def require_error(self, *statuses: int) -> None:
        """It is a TAXII error resource with one of these statuses."""
        assert self.status in statuses, (self.status, self.body)
        assert self.all("Content-Type") == [MT]
        assert len(self.all("Date")) == 1
        resource = json.loads(self.body)
        assert resource["http_status"] == str(self.status)
        assert (resource["error_code"], resource["title"]) in KNOWN
        assert b"<" not in self.body
        assert b"Traceback" not in self.body


class Wire:
    """One TCP connection that sends whatever it is told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.stream = self.socket.makefile("rb")

    def send(self, *lines: str, body: bytes = b"", auth: bool = True) -> None:
        head = [*lines, "Host: hub", f"Accept: {MT}"]
        if auth:
            head.append(f"Authorization: Bearer {self.server.token('rw')}")
        self.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def raw(self, data: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # answered before it was read; the answer counts
            self.socket.sendall(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        status_line = self.stream.readline()
        if not status_line:
            raise EOFError
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        headers: list[tuple[str, str]] = []
        while line := self.stream.readline().rstrip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        answer = Answer(int(status_line.split()[1]), headers, b"")
        lengths = answer.all("Content-Length")
        if lengths and not head_only and answer.status >= 200:
            answer.body = self.stream.read(int(lengths[0]))
        return answer

    def has_ended(self) -> bool:
        """Whether the server has ended the connection, as far as that is known without waiting."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    def is_closed(self) -> bool:
        """Whether the server ends the connection now, without another word."""
        try:
            return self.stream.read(1) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with connected(server) as made:
        yield made


@contextmanager
def connected(server: Server) -> Iterator[Wire]:
    wire = Wire(server)
    try:
        yield wire
    finally:
        wire.stream.close()
        wire.socket.close()


POST = f"POST /api1/collections/{RW}/objects/ HTTP/1.1"
GET = f"GET /api1/collections/{RW}/objects/ HTTP/1.1"
DISCOVERY = "GET /taxii2/ HTTP/1.1"
CONTENT = f"Content-Type: {MT}"


def envelope(count: int = 1) -> bytes:
    return json.dumps({"objects": [indicator() for _ in range(count)]}).encode()


def chunked(body: bytes, size: int = 700) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


# ---- what never reaches the application


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (b"NONSENSE\r\n\r\n", (400,)),
        (b"GET\r\n\r\n", (400,)),
        (b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"get /taxii2/ HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"GET /taxii2/ HTTP/9.9\r\nHost: x\r\n\r\n", (400, 505)),
        (b"GET /taxii2/ HTTP/1.1\r\nHost x\r\n\r\n", (400,)),
        (b"GET /taxii2/ HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", (400,)),
        (b"GET /taxii2/ HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", (400,)),
        (b"GET /taxii2/?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
        (b"GET /taxii2/ HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n", (431,)),
        (b"GET /taxii2/ HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 500 + b"\r\n", (431,)),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", (400,)),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc", (400,)),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: fantasy\r\n\r\n", (400, 501)),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\nContent-Length: 3\r\n\r\nabc", (417,)),
    ],
    ids=lambda value: value[:60].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_what_is_no_http_request_gets_a_taxii_error_and_ends_the_connection(
    wire: Wire, raw: bytes, statuses: tuple[int, ...]
) -> None:
    wire.raw(raw)
    wire.answer().require_error(*statuses)
    assert wire.is_closed()


def test_nonsense_does_not_fill_the_log_with_tracebacks(server: Server) -> None:
    with connected(server) as wire:
        wire.raw(b"NONSENSE\r\n\r\n")
        wire.answer()
    assert "Traceback" not in server.stderr()


def test_a_url_of_eight_thousand_characters_is_read(wire: Wire) -> None:
    wire.send(f"GET /taxii2/?ignored={'a' * 8000} HTTP/1.1")
    assert wire.answer().status == 200


# ---- headers


@pytest.mark.parametrize("path", ["/taxii2/", "/api1/", "/nowhere/", "/healthz"])
def test_every_answer_has_one_date(wire: Wire, path: str) -> None:
    wire.send(f"GET {path} HTTP/1.1")
    answer = wire.answer()
    assert len(answer.all("Date")) == 1
    assert len(answer.all("Content-Length")) == 1
    assert len(answer.all("Content-Type")) == 1


@pytest.mark.parametrize("path", ["/taxii2/", "/api1/", "/api1/collections/", f"/api1/collections/{RW}/objects/"])
def test_head_is_get_without_the_body(wire: Wire, path: str) -> None:
    wire.send(f"GET {path} HTTP/1.1")
    got = wire.answer()
    wire.send(f"HEAD {path} HTTP/1.1")
    head = wire.answer(head_only=True)
    assert head.status == got.status
    assert head.all("Content-Type") == got.all("Content-Type")
    wire.send(DISCOVERY)  # had a body followed the head, this would read it
    assert wire.answer().status == 200


def test_a_head_that_fails_has_no_body_either(wire: Wire) -> None:
    wire.send("HEAD /nowhere/ HTTP/1.1")
    assert wire.answer(head_only=True).status == 404
    wire.send(DISCOVERY)
    assert wire.answer().status == 200


# ---- bodies


def test_a_client_that_waits_for_100_continue_gets_it(wire: Wire) -> None:
    body = envelope()
    wire.send(POST, CONTENT, f"Content-Length: {len(body)}", "Expect: 100-continue")
    assert wire.answer().status == 100
    wire.raw(body)
    assert wire.answer().status == 202


def test_a_chunked_body_needs_no_length(wire: Wire) -> None:
    wire.send(POST, CONTENT, "Transfer-Encoding: chunked", body=chunked(envelope(5)))
    answer = wire.answer()
    assert answer.status == 202
    assert json.loads(answer.body)["success_count"] == 5
    wire.send(DISCOVERY)
    assert wire.answer().status == 200


def test_a_chunked_body_beyond_the_limit_is_413(wire: Wire) -> None:
    wire.send(POST, CONTENT, "Transfer-Encoding: chunked", body=chunked(b" " * 1_100_000, 100_000))
    wire.answer().require_error(413)


def test_a_chunk_that_passes_the_limit_is_413_before_its_end(wire: Wire) -> None:
    wire.send(POST, CONTENT, "Transfer-Encoding: chunked", body=b"%x\r\n" % 1_100_000 + b" " * 1_000_001)
    answer = wire.answer()
    answer.require_error(413)
    assert b"max_content_length" in answer.body


@pytest.mark.parametrize(
    "body",
    [b"zz\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc\r\n0\r\n\r\n", b"3\r\nabcdef\r\n0\r\n\r\n", b"3;\x00\r\nabc\r\n0\r\n\r\n"],
    ids=["no-number", "negative", "longer-than-it-says", "bad-extension"],
)
def test_a_bad_chunk_is_400_and_ends_the_connection(server: Server, body: bytes) -> None:
    before = server.stderr().count("Traceback")
    with connected(server) as wire:
        wire.send(POST, CONTENT, "Transfer-Encoding: chunked", body=body)
        wire.answer().require_error(400)
        assert wire.is_closed()
    assert server.stderr().count("Traceback") == before


def test_a_body_shorter_than_its_length_is_400_and_stores_nothing(server: Server) -> None:
    made = indicator()
    body = json.dumps({"objects": [made]}).encode()
    before = server.stderr().count("Traceback")
    with connected(server) as wire:
        wire.send(POST, CONTENT, f"Content-Length: {len(body) + 100}", body=body)
        wire.socket.shutdown(socket.SHUT_WR)
        wire.answer().require_error(400)
    with connected(server) as wire:
        wire.send(POST, CONTENT, "Transfer-Encoding: chunked", body=chunked(body)[:-5])
        wire.socket.shutdown(socket.SHUT_WR)
        wire.answer().require_error(400)
    assert server.get(f"/api1/collections/{RW}/objects/{made['id']}/").status_code == 404
    assert server.stderr().count("Traceback") == before


def test_a_client_that_goes_away_in_the_middle_leaves_no_trace(server: Server) -> None:
    made = indicator()
    body = json.dumps({"objects": [made]}).encode()
    before = server.stderr().count("Traceback")
    for _ in range(5):
        with connected(server) as wire:
            wire.send(POST, CONTENT, f"Content-Length: {len(body) + 100}", body=body)
    time.sleep(0.3)
    assert server.get(f"/api1/collections/{RW}/objects/{made['id']}/").status_code == 404
    assert server.stderr().count("Traceback") == before


# ---- keep-alive after an answer that came before the body was read


def unread(body: bytes) -> list[tuple[str, list[str], bool, int]]:
    length = f"Content-Length: {len(body)}"
    return [
        ("401", [POST, CONTENT, length], False, 401),
        ("404", [POST.replace(RW, "d021ecc8-ab8e-41ab-815e-911c7e329f88"), CONTENT, length], True, 404),
        ("405", [POST.replace("POST", "PUT"), CONTENT, length], True, 405),
        ("415", [POST, "Content-Type: text/plain", length], True, 415),
        ("GET with a body", [GET, length], True, 200),
    ]


@pytest.mark.parametrize("size", [60, 30_000, 3_000_000], ids=["small", "medium", "large"])
@pytest.mark.parametrize("case", range(5))
def test_an_unread_body_is_never_taken_for_the_next_request(server: Server, size: int, case: int) -> None:
    smuggled = b"DELETE /api1/collections/ HTTP/1.1\r\nHost: x\r\n\r\n"
    body = (smuggled * (size // len(smuggled) + 1))[:size]
    _, lines, auth, status = unread(body)[case]
    with connected(server) as wire:
        wire.send(*lines, body=body, auth=auth)
        first = wire.answer()
        assert first.status == status
        wire.send(DISCOVERY)
        _next_is_discovery_or_the_end(wire)


@pytest.mark.parametrize("size", [1_000_001, 1_050_000, 8_000_000])
def test_a_body_that_is_too_large_is_413_and_never_a_broken_connection(server: Server, size: int) -> None:
    """A client that sends the whole body before it reads, as most do, must still get to read the answer."""
    for _ in range(3):
        with connected(server) as wire:
            wire.send(POST, CONTENT, f"Content-Length: {size}", body=b"x" * size)
            wire.answer().require_error(413)
            wire.send(DISCOVERY)
            _next_is_discovery_or_the_end(wire)


def _next_is_discovery_or_the_end(wire: Wire) -> None:
    try:
        answer = wire.answer()
    except (EOFError, ConnectionResetError):
        return
    assert (answer.status, b"api_roots" in answer.body) == (200, True), (answer.status, answer.body[:200])


def test_two_requests_in_one_packet_get_two_answers_in_order(wire: Wire) -> None:
    head = f"Host: hub\r\nAccept: {MT}\r\nAuthorization: Bearer {wire.server.token('rw')}\r\n\r\n"
    wire.raw(f"GET /taxii2/ HTTP/1.1\r\n{head}GET /api1/ HTTP/1.1\r\n{head}".encode())
    assert b"api_roots" in wire.answer().body
    assert b"max_content_length" in wire.answer().body


SILENT = [
    b"",
    b"GET /taxii2/ HT",
    b"GET /taxii2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /taxii2/ HT",
    b"NONSENSE\r\n\r\n",
]


@pytest.mark.parametrize("said", SILENT, ids=["nothing", "half", "one and a half", "nonsense"])
def test_strangers_that_only_hold_connections_do_not_keep_others_out(server: Server, said: bytes) -> None:
    """There are more of them than the worker has threads."""
    server.token("rw")
    strangers: list[Wire] = []
    try:
        with server.only(server.workers()[0]):
            for _ in range(40):
                strangers.append(Wire(server))
                strangers[-1].raw(said)
            time.sleep(0.3)
            began = time.monotonic()
            assert server.get("/taxii2/").status_code == 200
            assert time.monotonic() - began < 15
            if said != SILENT[-1]:
                assert not any(each.has_ended() for each in strangers), "it had to wait until strangers were ended"
    finally:
        for each in strangers:
            each.stream.close()
            each.socket.close()


def test_a_head_that_does_not_end_is_given_up(wire: Wire) -> None:
    wire.raw(b"GET /taxii2/ HTTP/1.1\r\nHost: x\r\n")
    began = time.monotonic()
    assert wire.is_closed()
    assert 5 < time.monotonic() - began < 20


def test_a_head_in_small_pieces_is_a_head(wire: Wire) -> None:
    token = wire.server.token("rw")
    head = f"GET /taxii2/ HTTP/1.1\r\nHost: x\r\nAccept: {MT}\r\nAuthorization: Bearer {token}\r\n\r\n"
    for _ in range(2):  # the second time on the kept connection
        for start in range(0, len(head), 10):
            wire.raw(head[start : start + 10].encode())
            time.sleep(0.002)
        assert wire.answer().status == 200
