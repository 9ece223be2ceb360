"""Clients that are slow on purpose, and more of them than there are threads: others get their answers meanwhile."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.server import Server, is_running, lane, lanes, running, wait_until
from tests.world import MT, indicator

THREADS = 3
SETTINGS = f"threads = {THREADS}\nmax_waiting = 2\nmax_wait_s = 4\nbuffer_mb = 20\nmax_connections = 100\n"
LARGE, SMALL = lane(0), lane(1)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with few threads, and a collection with a page of some megabytes."""
    with running(
        tmp_path_factory.mktemp("slow"), workers=1, settings=SETTINGS, collections=lanes(3),
        max_content_length=20_000_000,
    ) as server:  # fmt: skip
        objects = [indicator(description="x" * 100_000) for _ in range(80)]
        server.post(LARGE, objects).raise_for_status()
        yield server


def require_quick(server: Server) -> None:
    """A client that behaves gets its answer at once."""
    began = time.monotonic()
    assert server.get("/taxii2/").status_code == 200
    assert server.post(SMALL, [indicator()]).status_code == 202
    assert time.monotonic() - began < 5


def head(server: Server, method: str, path: str, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: hub", f"Accept: {MT}", f"Authorization: Bearer {server.token('rw')}"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def objects_path(collection_id: str) -> str:
    return f"/api2/collections/{collection_id}/objects/"


@contextmanager
def many(
    server: Server, count: int, begin: bytes, receive_bytes: int = 0, first: bytes = b""
) -> Iterator[list[socket.socket]]:
    """So many connections that have sent this, each after the one before was answered `first`."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            each = stack.enter_context(socket.socket())
            if receive_bytes:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            each.settimeout(20)
            each.connect(("127.0.0.1", server.port))
            each.sendall(begin)
            assert each.recv(len(first)) == first
            found.append(each)
        yield found


def trickle(sockets: list[socket.socket], data: bytes, turns: int, while_: Callable[[], None]) -> None:
    for _ in range(turns):
        for each in sockets:
            each.sendall(data)
        while_()


# ---- slow writers


def test_heads_that_trickle_hold_nobody_up(slow: Server) -> None:
    with many(slow, 64, b"GET /taxii2/ HTTP/1.1\r\nX-Slow: ") as strangers:
        trickle(strangers, b"a", 3, lambda: require_quick(slow))


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_bodies_that_trickle_hold_nobody_up_and_are_stored_when_they_end(slow: Server, framing: str) -> None:
    made = indicator()
    body = json.dumps({"objects": [made]}).encode()
    body += b" " * (100_000 - len(body))
    begin = head(slow, "POST", objects_path(SMALL), f"Content-Type: {MT}", framing, "Expect: 100-continue")
    with many(slow, 64, begin, first=b"HTTP/1.1 100 Continue\r\n\r\n") as strangers:
        if framing.startswith("T"):
            trickle(strangers, b"%x\r\n" % len(body), 1, lambda: require_quick(slow))
        for start in (0, 1, 2):
            trickle(strangers, body[start : start + 1], 1, lambda: require_quick(slow))
        patient = strangers[0]
        patient.sendall(body[3:] + (b"\r\n0\r\n\r\n" if framing.startswith("T") else b""))
        assert patient.recv(100).startswith(b"HTTP/1.1 202")
    # The others hang up all at once, each with half a body to be answered: more than may wait here.
    wait_until(lambda: slow.get(f"{objects_path(SMALL)}{made['id']}/").status_code != 503)
    assert slow.get(f"{objects_path(SMALL)}{made['id']}/").status_code == 200


def test_nothing_is_gathered_of_a_body_whose_sender_may_not_post(slow: Server) -> None:
    """The answer comes before the body, for the stranger as for whoever waits for 100 Continue."""
    begin = f"POST {objects_path(SMALL)} HTTP/1.1\r\nHost: x\r\nAccept: {MT}\r\nContent-Type: {MT}\r\n"
    for more in ("Content-Length: 1000000\r\n", "Content-Length: 1000000\r\nExpect: 100-continue\r\n"):
        with many(slow, 1, f"{begin}{more}\r\n".encode()) as (wire,):
            answer = wire.recv(4000)
            assert answer.startswith(b"HTTP/1.1 401")
            assert b"Connection: close" in answer


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(slow: Server) -> None:
    begin = head(
        slow, "POST", objects_path(SMALL), f"Content-Type: {MT}", "Content-Length: 900000000", "Expect: 100-continue"
    )
    with many(slow, 1, begin) as (wire,):
        assert wire.recv(100).startswith(b"HTTP/1.1 413")


def test_bodies_that_fill_the_memory_make_room_for_each_other_with_503(slow: Server) -> None:
    begin = head(
        slow, "POST", objects_path(SMALL), f"Content-Type: {MT}", "Content-Length: 19000000", "Expect: 100-continue"
    )
    with many(slow, 2, begin, first=b"HTTP/1.1 100 Continue\r\n\r\n") as (slower, faster):
        slower.sendall(b" " * 9_000_000)
        time.sleep(0.3)
        faster.sendall(b" " * 15_000_000)
        assert slower.recv(100).startswith(b"HTTP/1.1 503")
        faster.sendall(b" " * 4_000_000)
        assert faster.recv(100).startswith(b"HTTP/1.1 422")
    require_quick(slow)


# ---- slow readers


def test_readers_that_do_not_read_hold_nobody_up_and_no_endless_memory(slow: Server) -> None:
    """32 pages of 8 MB are waiting to be read, and there is memory for two of them."""
    before = resident_mb(slow.workers()[0])
    begin = head(slow, "GET", objects_path(LARGE))
    with ExitStack() as stack:
        sizes = []
        for _ in range(8):
            stack.enter_context(many(slow, 4, begin, receive_bytes=4096, first=b"HTTP/1.1 200"))
            require_quick(slow)
            sizes.append(resident_mb(slow.workers()[0]) - before)
        assert sizes[-1] < 220
        assert sizes[-1] - sizes[1] < 80, "24 more pages of 8 MB, when the memory is full already"
        assert "the memory for slow clients is full (buffer_mb)" in slow.stderr()
    page = slow.get(objects_path(LARGE))
    assert len(page.json()["objects"]) == 80


def test_a_reader_that_is_slow_gets_the_whole_page(slow: Server) -> None:
    with many(slow, 1, head(slow, "GET", objects_path(LARGE), "Connection: close"), receive_bytes=65536) as (wire,):
        parts = []
        while data := wire.recv(200_000):
            parts.append(data)
            time.sleep(0.002)
    _, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert len(json.loads(body)["objects"]) == 80


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


# ---- too many


@contextmanager
def stuck(server: Server) -> Iterator[None]:
    """Every write waits in the store while this lasts."""
    with sqlite3.connect(server.store, isolation_level=None) as lock:
        lock.execute("begin immediate")
        try:
            yield
        finally:
            lock.execute("rollback")
    lock.close()


def test_when_every_thread_is_stuck_health_answers_and_others_are_told_to_come_back(slow: Server) -> None:
    with ThreadPoolExecutor(THREADS + 2) as pool:
        with stuck(slow):
            posts = [pool.submit(slow.post, SMALL, [indicator()]) for _ in range(THREADS)]
            wait_until(lambda: busy_threads(slow) == THREADS, what="they are in the store")
            waiting = [pool.submit(slow.post, SMALL, [indicator()]) for _ in range(2)]
            wait_until(lambda: busy_threads(slow) == THREADS + 2, what="no more may wait")
            began = time.monotonic()
            busy = slow.get("/taxii2/")
            assert time.monotonic() - began < 2
            require_overloaded(busy)
            assert requests.get(f"{slow.url}/healthz", timeout=5).status_code == 200
            for each in waiting:  # nobody waits for a thread longer than max_wait_s
                require_overloaded(each.result(10))
            assert not any(each.done() for each in posts)
        assert [each.result(20).status_code for each in posts] == [202] * THREADS
    require_quick(slow)


def busy_threads(server: Server) -> int:
    """How many requests have a thread or wait for one, as the worker said last."""
    text = requests.get(f"{server.url}/metrics", timeout=20).text
    (number,) = re.findall(r"^taxii_requests_in_progress (.*)$", text, re.MULTILINE)
    return int(float(number))


def require_overloaded(answer: requests.Response) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == MT
    assert answer.json()["http_status"] == "503"
    assert answer.json()["error_code"] == "unavailable"


def test_more_connections_than_there_may_be_make_room_for_each_other(slow: Server) -> None:
    """The oldest of the address that has the most goes; a client with few connections keeps its own."""
    friend = socket.create_connection(("127.0.0.1", slow.port), timeout=20, source_address=("127.0.0.2", 0))
    try:
        with many(slow, 150, b"") as strangers:
            require_quick(slow)
            wait_until(lambda: strangers[0].recv(1) == b"")
            friend.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert friend.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        friend.close()


def test_workers_without_their_parent_give_up_the_port_and_their_connections(tmp_path: Path) -> None:
    """Else the server could not be started again while clients keep their connections busy."""
    with running(tmp_path, workers=1, collections=lanes(1)) as server:
        (worker,) = server.workers()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as busy:
            busy.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert busy.recv(200).startswith(b"HTTP/1.1 200")
            assert server.process is not None
            server.process.kill()
            server.process.wait(20)
            wait_until(lambda: not is_running(worker), what="the end of the worker")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", server.port))
            again.listen()
