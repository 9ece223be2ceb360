"""The end of a worker, and threads that cannot be had."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import PollableMethodQueue

from taxii_server.metering import NO_METER
from taxii_server.serving import answering
from taxii_server.serving.clients import Clients
from taxii_server.serving.connection import Connection, State
from taxii_server.serving.threads import Threads
from taxii_server.serving.worker import TaxiiWorker
from taxii_server.settings import Settings

WAIT_S = 30
NOTHING = SimpleNamespace(close=lambda: None)
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture
def queue() -> Iterator[PollableMethodQueue]:
    made = PollableMethodQueue()
    made.init()
    yield made
    made.close()


def parts(queue: PollableMethodQueue, pool: Any) -> Any:
    """What threads and clients need of a worker."""
    return SimpleNamespace(method_queue=queue, tpool=pool, meter=NO_METER)


def test_a_thread_that_outlives_its_worker_writes_into_no_file_that_was_opened_since(
    queue: PollableMethodQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed descriptor is given again: to the next connection of SQLite, whose file it would spoil."""
    begun, go_on = threading.Event(), threading.Event()

    def answer(*_: Any) -> bool:
        begun.set()
        return go_on.wait(WAIT_S)

    monkeypatch.setattr(answering, "answer", answer)
    worker = TaxiiWorker.__new__(TaxiiWorker)
    pool = ThreadPoolExecutor(1)
    worker.__dict__.update(
        vars(parts(queue, pool)),
        _settings=Settings(),
        poller=DefaultSelector(),
        sockets=[],
        alive=False,
        app=SimpleNamespace(context=None),
        wsgi=SimpleNamespace(extensions={"taxii_server": SimpleNamespace(store=SimpleNamespace(ledger=NOTHING))}),
        is_stopping=lambda: False,
        cfg=SimpleNamespace(graceful_timeout=0),
        _accepting=False,
    )
    here, there = socket.socketpair()
    original = Threads.end

    def end(threads: Threads) -> None:
        """As if a request had taken longer than a worker may take to stop."""
        conn = SimpleNamespace(is_health=False)
        threads.begin(conn, lambda *_: None)  # type: ignore[arg-type]
        assert begun.wait(WAIT_S)
        original(threads)

    monkeypatch.setattr(Threads, "end", end)
    worker.run()
    files = [(tmp_path / str(number)).open("wb") for number in range(10)]
    go_on.set()
    pool.shutdown()
    for file in (*files, here, there):
        file.close()
    assert [(tmp_path / str(number)).read_bytes() for number in range(10)] == [b""] * 10


def test_a_thread_that_cannot_be_had_takes_no_room_from_others(queue: PollableMethodQueue) -> None:
    class Empty:
        def submit(self, *_: Any) -> None:
            raise RuntimeError("can't start new thread")

    settings = Settings(threads=1, max_waiting=1)
    threads = Threads(parts(queue, Empty()), settings)
    poller = DefaultSelector()
    clients = Clients(settings, NO_METER, None, poller, threads, is_alive=lambda: True)
    for _ in range(5):
        here, there = socket.socketpair()
        clients.welcome(here, "", ("", 0))
        (conn,) = clients.connections
        there.sendall(REQUEST)
        clients._on_event(conn, None)
        assert (threads.busy, conn.state) == (0, State.ENDING)
        clients.close()
        assert there.recv(1000).startswith(b"HTTP/1.1 503 ")
        there.close()
    threads._health.shutdown()
    poller.close()


def test_a_body_that_begins_like_a_probe_is_none(queue: PollableMethodQueue) -> None:
    threads = Threads(parts(queue, None), Settings())
    here, there = socket.socketpair()
    conn = Connection(here, "", ("", 0), None)
    conn.incoming.add(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert threads.have_room(conn)
    assert conn.is_health
    conn.is_health, conn.request = False, object()
    assert threads.have_room(conn)
    assert not conn.is_health
    threads._health.shutdown()
    for each in (here, there):
        each.close()
