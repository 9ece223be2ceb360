"""The worker process: one loop that talks to all clients, and threads that only ever work on whole requests.

Why a worker class of our own: gunicorn 27 gives a thread to a connection before it has said anything, and the thread
then waits for the client to send and to read, so that a handful of slow strangers keeps everybody else out. Here no
thread waits for a client: the loop does the handshakes, gathers heads and bodies, and sends what a client does not
read at once. A body is gathered when the application has looked at its head and wants it (serving/body.py).

It builds on parts of gunicorn that are not promised to stay: hence one major version in setup.cfg.
"""

from __future__ import annotations

import errno
import logging
import math
import resource
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from taxii_server import metering
from taxii_server.auth.networks import is_within
from taxii_server.metering import CONNECTIONS_ENDED, FLUSH_S, OVERLOADED, Meter, Metric
from taxii_server.service.hub import Hub
from taxii_server.serving import answers
from taxii_server.serving.answering import answer
from taxii_server.serving.connection import MAX_HEAD_BYTES, SILENT_S, Connection, State
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
#: How often deadlines are looked at.
_SWEEP_S = 0.25
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Whoever watches over the server is answered by threads of its own, whatever the others are stuck in.
_HEALTH = tuple(
    b"%s /%s " % (method, name) for method in (b"GET", b"HEAD") for name in (b"healthz", b"livez", b"readyz")
)
#: The same for the metrics, where they are not meant for a stranger.
_METRICS = (b"GET /metrics ",)
_HEALTH_THREADS = 4
_MAX_HEALTH_WAITING = 16
#: How often the worker tells how it is.
_GAUGES_S = 1.0
#: States whose connections hold nothing that was promised to anybody.
_EXPENDABLE = (State.GREETING, State.HANDSHAKE, State.IDLE, State.HEAD, State.ENDING)


class TaxiiWorker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker whose threads never wait for a client, and whose own errors are TAXII error resources."""

    alive: bool

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        settings: Settings = self.app.settings
        self.context: ssl.SSLContext | None = self.app.context
        self.meter: Meter = self.app.meter
        self.is_stopping: Callable[[], bool] = self.app.is_stopping
        self.max_busy = settings.threads + settings.max_waiting
        self.max_wait_s = settings.max_wait_s
        self.max_held = settings.buffer_mb * 1024 * 1024
        self.connections: set[Connection] = set()
        self.busy = 0
        self.health_busy = 0
        self.held = 0
        self._settings = settings
        self._told = -math.inf
        self._next_sweep = self._next_flush = self._next_gauges = 0.0

    def init_process(self) -> None:
        """See Worker.init_process."""
        self.health_pool = ThreadPoolExecutor(max_workers=_HEALTH_THREADS, thread_name_prefix="health")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.worker_connections + 256
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        super().init_process()

    # ---- the loop

    def run(self) -> None:
        """See ThreadWorker.run."""
        self.poller.register(self.method_queue.fileno(), EVENT_READ, self.method_queue.run_callbacks)
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self._turn(1.0)
            if len(self.connections) < self.worker_connections:
                self.set_accept_enabled(True)
        if self.is_stopping():
            self._delay_stop()
        # Also when the parent is gone: whoever starts the server again wants the port, and clients shall go there.
        self.alive = False
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        until = time.monotonic() + self.cfg.graceful_timeout
        for conn in self.connections:
            if conn.state in (State.IDLE, State.GREETING):
                conn.deadline = min(conn.deadline, time.monotonic() + _STOPPING_KEPT_S)
        while self.connections and time.monotonic() < until:
            self._turn(0.2)
        self.tpool.shutdown(wait=False, cancel_futures=True)
        self.health_pool.shutdown(wait=False, cancel_futures=True)
        for conn in list(self.connections):
            self._close(conn)
        self.poller.close()
        self.method_queue.close()
        self.meter.flush()

    def _delay_stop(self) -> None:
        """Go on while whoever sends requests learns from /readyz that there will be no more answers."""
        until = time.monotonic() + self._settings.shutdown_delay_s
        while time.monotonic() < until and self.is_parent_alive():
            self._turn(0.2)

    def _turn(self, seconds: float) -> None:
        self.notify()
        wait_s = min(seconds, _SWEEP_S) if self.connections else seconds
        self.wait_for_and_dispatch_events(timeout=min(wait_s, FLUSH_S) if self.meter.is_waiting() else wait_s)
        now = time.monotonic()
        if now >= self._next_gauges and self.meter.counts:
            self._next_gauges = now + _GAUGES_S
            self._tell_gauges()
        if now >= self._next_flush and self.meter.is_waiting():
            self._next_flush = now + FLUSH_S
            self.meter.flush()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_S
        for conn in [each for each in self.connections if each.deadline <= now]:
            self._guarded(conn, self._expire)

    def _tell_gauges(self) -> None:
        """How this worker is, for the metrics."""
        memory = resident_bytes()
        hub: Hub = self.wsgi.extensions["taxii_server"]
        epoch = 0 if hub.in_force is None else hub.in_force.epoch
        numbers: dict[Metric, float] = {
            metering.WORKERS: 1,
            metering.CONNECTIONS: len(self.connections),
            metering.BUSY: self.busy,
            metering.HELD_BYTES: self.held,
            metering.MEMORY: memory,
            metering.MEMORY_LARGEST: memory,
            metering.POLICY_EPOCH: epoch,
            metering.POLICY_EPOCH_OLDEST: epoch,
        }
        for metric, number in numbers.items():
            self.meter.set(metric, number)

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection."""
        if len(self.connections) >= self.worker_connections and not self._expendable():
            self.set_accept_enabled(False)
            return
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._tell("no file descriptors are left (%s); raise LimitNOFILE or lower max_connections", error)
                self._make_room()
            return  # else: another worker was faster, or the client thought again
        here = listener.getsockname()
        is_for_machines = bool(self._settings.metrics_port) and here[1] == self._settings.metrics_port
        conn = Connection(client, address, here, None if is_for_machines else self.context)
        conn.is_for_machines = is_for_machines
        self.connections.add(conn)
        if conn.is_tls:
            conn.enter(State.GREETING, HEAD_TIMEOUT_S)
        else:
            conn.enter(State.IDLE, KEPT_S)
        self._watch(conn, EVENT_READ)
        if len(self.connections) > self.worker_connections:
            self._make_room()

    def _watch(self, conn: Connection, events: int) -> None:
        if events == conn.watched:
            return
        if not conn.watched:
            self.poller.register(conn.sock, events, partial(self._on_event, conn))
        elif not events:
            self.poller.unregister(conn.sock)
        else:
            self.poller.modify(conn.sock, events, partial(self._on_event, conn))
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
                self._release(conn)
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
        is_health = conn.incoming.data.startswith(_HEALTH) or (
            conn.incoming.data.startswith(_METRICS) and is_within(conn.address, self._settings.operator_addresses)
        )
        if (self.health_busy >= _MAX_HEALTH_WAITING) if is_health else (self.busy >= self.max_busy):
            self._refuse(conn, "queue-full")
            return
        conn.enter(State.ANSWERING, self.max_wait_s)
        conn.is_health = is_health
        if is_health:
            self.health_busy += 1
        else:
            self.busy += 1
        conn.future = (self.health_pool if is_health else self.tpool).submit(answer, self, conn)
        conn.future.add_done_callback(lambda future: self.method_queue.defer(self._finish, conn, future))

    def _refuse(self, conn: Connection, why: str) -> None:
        """503 at once."""
        self.meter.count(OVERLOADED, 1.0, why)
        self._tell("busy: answers 503 (%d requests with threads or waiting for them)", self.busy)
        conn.keep = False
        conn.outgoing.sendall(answers.overloaded())
        self._send(conn)

    def _tell(self, message: str, *values: object) -> None:
        """A warning, once a second at most: whoever floods the server shall not flood the log."""
        now = time.monotonic()
        if now - self._told >= 1:
            self._told = now
            _log.warning(message, *values)

    def _release(self, conn: Connection) -> None:
        """A thread is done with it, or will not begin."""
        conn.future = None
        if conn.is_health:
            self.health_busy -= 1
        else:
            self.busy -= 1

    def _finish(self, conn: Connection, future: Future[bool | None]) -> None:
        """A thread has answered, or wants the body first."""
        if future.cancelled():
            return
        self._release(conn)
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
        conn.enter(State.IDLE, KEPT_S if self.alive else _STOPPING_KEPT_S)
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
        while self.held > self.max_held:
            now = time.monotonic()
            holding = [each for each in self.connections if each.held]
            if len(holding) < 2:
                break
            slowest = min(holding, key=lambda each: (each.moved / max(now - each.since, 0.001), each.since))
            self._tell("the memory for slow clients is full (buffer_mb): ends the connection of %s", slowest.address)
            if slowest.state is State.BODY:  # nothing was answered yet
                slowest.incoming.data.clear()
                self.held -= slowest.held
                slowest.held = 0
                self._guarded(slowest, partial(self._refuse, why="buffer-full"))
            else:
                self.meter.count(CONNECTIONS_ENDED, 1.0, "buffer-full")
                self._close(slowest)

    def _expendable(self) -> list[Connection]:
        return [each for each in self.connections if each.state in _EXPENDABLE]

    def _make_room(self) -> None:
        """End the connection that has waited longest of the address that has the most, if there is one."""
        expendable = self._expendable()
        if not expendable:
            return
        count = Counter(each.address for each in expendable)
        most = max(count.values())
        oldest = min((each for each in expendable if count[each.address] == most), key=lambda each: each.since)
        self._tell("max_connections are open: ends an idle one of %s", oldest.address)
        self.meter.count(CONNECTIONS_ENDED, 1.0, "connections-full")
        self._close(oldest)


def resident_bytes() -> int:
    """The memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
