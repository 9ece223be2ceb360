"""All clients of one worker, and what the connection of each goes through, from its first byte to its end.

No method waits: the loop (serving/worker.py) calls when a socket can be read or written, when a thread is done, and
when a time is over. A body is gathered when the application has looked at its head and wants it (serving/body.py).
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Any

from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from taxii_server.metering import CONNECTIONS_ENDED, OVERLOADED, Meter
from taxii_server.serving import answers
from taxii_server.serving.connection import MAX_HEAD_BYTES, SILENT_S, Connection, State
from taxii_server.serving.threads import NoThread, Threads
from taxii_server.settings import Settings

_log = logging.getLogger(__name__)

#: From the first byte of a request to the end of its head; also for a TLS handshake.
HEAD_TIMEOUT_S = 10.0
#: Without a request on a connection.
KEPT_S = 15.0
#: How much of a refused body is still read, so that its sender gets to read the answer.
_LINGER_S, _LINGER_SILENT_S = 3.0, 0.5
_MAX_DRAINED_BYTES = 64 * 1024 * 1024
#: Of one client at one turn of the loop.
_TURN_BYTES = 1024 * 1024
#: Kept connections of a stopping worker: a client may be sending its next request already.
_STOPPING_KEPT_S = 2.0
#: States whose connections hold nothing that was promised to anybody.
_EXPENDABLE = (State.GREETING, State.HANDSHAKE, State.IDLE, State.HEAD, State.ENDING)


class Clients:
    """The connections of one worker. For its loop alone; `is_alive`: whether the worker goes on after this request."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        context: ssl.SSLContext | None,
        poller: BaseSelector,
        threads: Threads,
        is_alive: Callable[[], bool],
    ) -> None:
        self.connections: set[Connection] = set()
        self.held = 0
        self.threads = threads
        self._max_held = settings.buffer_mb * 1024 * 1024
        self._settings = settings
        self._meter = meter
        self._context = context
        self._poller = poller
        self._is_alive = is_alive
        self._told: dict[str, float] = {}

    # ---- what the loop asks for

    def welcome(self, client: socket.socket, address: Any, here: Any) -> None:
        """A connection was accepted."""
        is_for_machines = bool(self._settings.metrics_port) and here[1] == self._settings.metrics_port
        conn = Connection(client, address, here, None if is_for_machines else self._context)
        conn.is_for_machines = is_for_machines
        self.connections.add(conn)
        if conn.is_tls:
            conn.enter(State.GREETING, HEAD_TIMEOUT_S)
        else:
            conn.enter(State.IDLE, KEPT_S)
        self._watch(conn, EVENT_READ)
        if len(self.connections) > self._settings.max_connections:
            self.make_room()

    def expire(self, now: float) -> None:
        """End the waiting of those whose time is over."""
        for conn in [each for each in self.connections if each.deadline <= now]:
            self._guarded(conn, self._expire)

    def hurry(self) -> None:
        """The worker ends: whoever sends nothing is kept for a moment only."""
        for conn in self.connections:
            if conn.state in (State.IDLE, State.GREETING):
                conn.deadline = min(conn.deadline, time.monotonic() + _STOPPING_KEPT_S)

    def close(self) -> None:
        """End every connection."""
        for conn in list(self.connections):
            self._close(conn)

    def tell(self, message: str, *values: object) -> None:
        """A warning, each once a second at most: whoever floods the server shall not flood the log."""
        now = time.monotonic()
        if now - self._told.get(message, -math.inf) >= 1:
            self._told[message] = now
            _log.warning(message, *values)

    def _watch(self, conn: Connection, events: int) -> None:
        if events == conn.watched:
            return
        if not conn.watched:
            self._poller.register(conn.sock, events, partial(self._on_event, conn))
        elif not events:
            self._poller.unregister(conn.sock)
        else:
            self._poller.modify(conn.sock, events, partial(self._on_event, conn))
        conn.watched = events

    def _on_event(self, conn: Connection, _: Any) -> None:
        self._guarded(conn, self._go_on)

    def _guarded(self, conn: Connection, action: Any) -> None:
        """One connection's misfortune does not end the loop."""
        try:
            if conn.state is not State.CLOSED:
                action(conn)
        except OSError as error:
            _log.debug("a connection broke: %s", error)
            self._close(conn)
        except Exception:  # noqa: BLE001 - the loop serves everybody else
            _log.exception("a connection failed")
            self._close(conn)

    def _go_on(self, conn: Connection) -> None:
        """The socket can be read, or written."""
        match conn.state:
            case State.GREETING:
                self._greet(conn)
            case State.HANDSHAKE:
                self._shake(conn)
            case State.IDLE | State.HEAD:
                self._gather_head(conn)
            case State.BODY:
                self._gather_body(conn)
            case State.SENDING:
                self._send(conn)
            case State.ENDING:
                conn.deadline = min(conn.since + _LINGER_S, time.monotonic() + _LINGER_SILENT_S)
                if conn.discard() or conn.moved > _MAX_DRAINED_BYTES:
                    self._close(conn)

    def _expire(self, conn: Connection) -> None:
        """The time for what it waits for is over."""
        if conn.state is State.ANSWERING:
            # Only one that no thread has begun with can be taken back.
            if conn.future is not None and conn.future.cancel():
                self.threads.release(conn)
                self._refuse(conn, "waited-too-long")
            else:
                conn.deadline = math.inf
        elif conn.state is State.BODY:
            self._give_up(conn, RequestTimeout())
        else:
            self._close(conn)

    # ---- from the first byte to a whole request

    def _greet(self, conn: Connection) -> None:
        is_tls = conn.greet()
        if is_tls:
            conn.state = State.HANDSHAKE  # within the time of the greeting
            self._shake(conn)
        elif conn.ended:
            self._close(conn)
        elif is_tls is False:
            conn.receive(MAX_HEAD_BYTES)
            conn.outgoing.sendall(answers.not_tls())
            conn.keep = False
            self._send(conn)

    def _shake(self, conn: Connection) -> None:
        try:
            conn.shake()
        except ssl.SSLWantReadError:
            self._watch(conn, EVENT_READ)
        except ssl.SSLWantWriteError:
            self._watch(conn, EVENT_WRITE)
        except (ssl.SSLError, OSError) as error:
            _log.info("no TLS with %s: %s", conn.address, getattr(error, "reason", None) or error)
            self._close(conn)
        else:
            conn.enter(State.IDLE, KEPT_S)
            self._watch(conn, EVENT_READ)
            self._gather_head(conn)

    def _gather_head(self, conn: Connection) -> None:
        got = conn.receive(MAX_HEAD_BYTES)
        if conn.has_head():
            self._dispatch(conn)
        elif conn.ended:
            self._close(conn)
        elif got and conn.state is State.IDLE:
            conn.enter(State.HEAD, HEAD_TIMEOUT_S)

    def _dispatch(self, conn: Connection) -> None:
        """Give the request to a thread, or say that there are too many."""
        self._watch(conn, 0)
        if not self.threads.have_room(conn):
            self._refuse(conn, "queue-full")
            return
        conn.enter(State.ANSWERING, self._settings.max_wait_s)
        try:
            self.threads.begin(conn, self._finish)
        except NoThread as error:
            self.tell("no thread can be had (%s); raise TasksMax or the limit of processes", error)
            self._refuse(conn, "queue-full")

    def _refuse(self, conn: Connection, why: str) -> None:
        """503 at once."""
        self._meter.count(OVERLOADED, 1.0, why)
        self.tell("busy: answers 503 (%d requests with threads or waiting for them)", self.threads.busy)
        conn.keep = False
        conn.outgoing.sendall(answers.overloaded())
        self._send(conn)

    def _finish(self, conn: Connection, future: Future[bool | None]) -> None:
        """A thread has answered, or wants the body first."""
        if future.cancelled():
            return
        self.threads.release(conn)
        if (error := future.exception()) is not None:
            _log.error("a thread broke off", exc_info=error)
            self._close(conn)
        else:
            self._guarded(conn, partial(self._go_on_after, keep=future.result()))

    def _go_on_after(self, conn: Connection, keep: bool | None) -> None:
        if keep is None:
            conn.enter(State.BODY, SILENT_S)
            conn.outgoing.flush()  # "100 Continue"
            self._watch(conn, EVENT_READ)
            self._gather_body(conn)
        else:
            conn.keep = keep
            self._hold(conn, 0)
            self._send(conn)

    # ---- bodies

    def _gather_body(self, conn: Connection) -> None:
        assert conn.framing is not None
        got = conn.receive(_TURN_BYTES)
        is_fast_enough = not got or conn.progress(got)
        if conn.framing.is_here():
            self._hold(conn, 0)
            self._dispatch(conn)
        elif conn.ended:
            self._give_up(conn, ClientDisconnected())
        elif not is_fast_enough:
            self._give_up(conn, RequestTimeout())
        else:
            self._hold(conn, len(conn.incoming))

    def _give_up(self, conn: Connection, why: Exception) -> None:
        """Nothing more of the body is waited for; the application says so to the client."""
        assert conn.framing is not None
        conn.framing.given_up = why
        self._hold(conn, 0)
        self._dispatch(conn)

    # ---- answers

    def _send(self, conn: Connection) -> None:
        """Send what goes now; then the next request, or the end."""
        before = conn.outgoing.sent
        is_all_sent = conn.outgoing.flush(_TURN_BYTES)
        moved = conn.outgoing.sent - before
        if conn.state is not State.SENDING:
            conn.enter(State.SENDING, SILENT_S)
        elif moved and not conn.progress(moved) and not is_all_sent:
            self._close(conn)
            return
        if not is_all_sent:
            self._watch(conn, EVENT_WRITE)
            self._hold(conn, conn.outgoing.pending)
            return
        self._hold(conn, 0)
        conn.request = conn.framing = None
        if not conn.keep:
            self._end(conn)
            return
        conn.enter(State.IDLE, KEPT_S if self._is_alive() else _STOPPING_KEPT_S)
        if conn.has_head():
            self._dispatch(conn)
            return
        if conn.incoming:
            conn.enter(State.HEAD, HEAD_TIMEOUT_S)
        self._watch(conn, EVENT_READ)

    def _end(self, conn: Connection) -> None:
        if conn.ended:
            self._close(conn)
            return
        conn.say_goodbye()
        conn.enter(State.ENDING, _LINGER_SILENT_S)
        self._watch(conn, EVENT_READ)

    def _close(self, conn: Connection) -> None:
        self._hold(conn, 0)
        with suppress(KeyError, ValueError, OSError):
            self._watch(conn, 0)
        self.connections.discard(conn)
        conn.close()

    # ---- room

    def _hold(self, conn: Connection, count: int) -> None:
        """So many bytes are kept for a slow client. Too many for all of them: the slowest makes room."""
        self.held += count - conn.held
        conn.held = count
        while self.held > self._max_held:
            now = time.monotonic()
            holding = [each for each in self.connections if each.held]
            if len(holding) < 2:
                break
            slowest = min(holding, key=lambda each: (each.moved / max(now - each.since, 0.001), each.since))
            self.tell("the memory for slow clients is full (buffer_mb): ends the connection of %s", slowest.address)
            if slowest.state is State.BODY:  # nothing was answered yet
                slowest.incoming.data.clear()
                self.held -= slowest.held
                slowest.held = 0
                self._guarded(slowest, partial(self._refuse, why="buffer-full"))
            else:
                self._meter.count(CONNECTIONS_ENDED, 1.0, "buffer-full")
                self._close(slowest)

    def is_full(self) -> bool:
        """Whether as many are connected as may be."""
        return len(self.connections) >= self._settings.max_connections

    def has_room(self) -> bool:
        """Whether one more may come, if another one has to go for it."""
        return not self.is_full() or bool(self._expendable())

    def _expendable(self) -> list[Connection]:
        return [each for each in self.connections if each.state in _EXPENDABLE]

    def make_room(self) -> None:
        """End the connection that has waited longest of the address that has the most, if there is one."""
        expendable = self._expendable()
        if not expendable:
            return
        count = Counter(each.address for each in expendable)
        most = max(count.values())
        oldest = min((each for each in expendable if count[each.address] == most), key=lambda each: each.since)
        self.tell("max_connections are open: ends an idle one of %s", oldest.address)
        self._meter.count(CONNECTIONS_ENDED, 1.0, "connections-full")
        self._close(oldest)
