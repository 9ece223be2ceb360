"""The worker process: one loop that talks to all clients, and threads that only ever work on whole requests.

Why a worker class of our own: gunicorn 27 gives a thread to a connection before it has said anything, and the thread
then waits for the client to send and to read, so that a handful of slow strangers keeps everybody else out. Here no
thread waits for a client: the loop does the handshakes, gathers heads and bodies, and sends what a client does not
read at once (serving/clients.py); threads answer (serving/threads.py).

It builds on parts of gunicorn that are not promised to stay: hence one major version in setup.cfg.
"""

from __future__ import annotations

import errno
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from taxii_server import metering
from taxii_server.metering import FLUSH_S, Meter, Metric
from taxii_server.service.hub import Hub
from taxii_server.serving.clients import Clients
from taxii_server.serving.threads import Threads
from taxii_server.settings import Settings

#: How often deadlines are looked at.
_SWEEP_S = 0.25
#: How often the worker tells how it is.
_GAUGES_S = 1.0
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TaxiiWorker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker whose threads never wait for a client, and whose own errors are TAXII error resources."""

    alive: bool
    clients: Clients

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.meter: Meter = self.app.meter
        self.is_stopping: Callable[[], bool] = self.app.is_stopping
        self._settings: Settings = self.app.settings
        self._next_sweep = self._next_flush = self._next_gauges = 0.0

    def init_process(self) -> None:
        """See Worker.init_process."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.worker_connections + 256
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        super().init_process()

    def run(self) -> None:
        """See ThreadWorker.run."""
        threads = Threads(self, self._settings)
        self.clients = Clients(
            self._settings, self.meter, self.app.context, self.poller, threads, is_alive=lambda: self.alive
        )
        self.poller.register(self.method_queue.fileno(), EVENT_READ, self.method_queue.run_callbacks)
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self._turn(1.0)
            if not self.clients.is_full():
                self.set_accept_enabled(True)
        if self.is_stopping():
            self._delay_stop()
        # Also when the parent is gone: whoever starts the server again wants the port, and clients shall go there.
        self.alive = False
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        until = time.monotonic() + self.cfg.graceful_timeout
        self.clients.hurry()
        while self.clients.connections and time.monotonic() < until:
            self._turn(0.2)
        threads.end()
        self._hub.store.ledger.close()
        self.clients.close()
        self.poller.close()
        # The queue stays open until the process ends: a thread that is still at work tells it its end, and would write
        # into whatever had its descriptor by then, such as the database.
        self.meter.flush()

    def _delay_stop(self) -> None:
        """Go on while whoever sends requests learns from /readyz that there will be no more answers."""
        until = time.monotonic() + self._settings.shutdown_delay_s
        while time.monotonic() < until and self.is_parent_alive():
            self._turn(0.2)

    def _turn(self, seconds: float) -> None:
        self.notify()
        wait_s = min(seconds, _SWEEP_S) if self.clients.connections else seconds
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
        self.clients.expire(now)

    @property
    def _hub(self) -> Hub:
        hub: Hub = self.wsgi.extensions["taxii_server"]
        return hub

    def _tell_gauges(self) -> None:
        """How this worker is, for the metrics."""
        memory = resident_bytes()
        hub = self._hub
        epoch = 0 if hub.in_force is None else hub.in_force.epoch
        numbers: dict[Metric, float] = {
            metering.WORKERS: 1,
            metering.CONNECTIONS: len(self.clients.connections),
            metering.BUSY: self.clients.threads.busy,
            metering.HELD_BYTES: self.clients.held,
            metering.MEMORY: memory,
            metering.MEMORY_LARGEST: memory,
            metering.POLICY_EPOCH: epoch,
            metering.POLICY_EPOCH_OLDEST: epoch,
        }
        for metric, number in numbers.items():
            self.meter.set(metric, number)

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection."""
        if not self.clients.has_room():
            self.set_accept_enabled(False)
            return
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self.clients.tell(
                    "no file descriptors are left (%s); raise LimitNOFILE or lower max_connections", error
                )
                self.clients.make_room()
            return  # else: another worker was faster, or the client thought again
        self.clients.welcome(client, address, listener.getsockname())


def resident_bytes() -> int:
    """The memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
