"""The threads that answer, and how many requests they have or have before them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Protocol

from taxii_server.auth.networks import is_within
from taxii_server.serving import answering
from taxii_server.serving.connection import Connection
from taxii_server.settings import Settings

#: Whoever watches over the server is answered by threads of its own, whatever the others are stuck in.
_HEALTH = tuple(
    b"%s /%s " % (method, name) for method in (b"GET", b"HEAD") for name in (b"healthz", b"livez", b"readyz")
)
#: The same for the metrics, where they are not meant for a stranger.
_METRICS = (b"GET /metrics ",)
_HEALTH_THREADS = 4
_MAX_HEALTH_WAITING = 16


class Worker(answering.Worker, Protocol):
    """What is needed of gunicorn's worker."""

    tpool: Executor
    method_queue: Any


class NoThread(Exception):
    """The request has none and will have none."""


def _run(future: Future[bool | None], worker: Worker, conn: Connection) -> None:
    """Answer, in a thread, unless it is too late."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(answering.answer(worker, conn))
    except BaseException as error:  # noqa: BLE001 - the loop looks at it
        future.set_exception(error)


class Threads:
    """The threads of one worker. For its loop alone."""

    def __init__(self, worker: Worker, settings: Settings) -> None:
        self.busy = 0
        self._health_busy = 0
        self._max_busy = settings.threads + settings.max_waiting
        self._operators = settings.operator_addresses
        self._worker = worker
        self._health = ThreadPoolExecutor(max_workers=_HEALTH_THREADS, thread_name_prefix="health")

    def have_room(self, conn: Connection) -> bool:
        """Whether the request whose head, or body, has arrived may be begun, or wait for a thread."""
        if conn.request is None:  # else it is a body, which may begin in any way
            head = conn.incoming.data
            conn.is_health = head.startswith(_HEALTH) or (
                head.startswith(_METRICS) and is_within(conn.address, self._operators)
            )
        return self._health_busy < _MAX_HEALTH_WAITING if conn.is_health else self.busy < self._max_busy

    def begin(self, conn: Connection, then: Callable[[Connection, Future[bool | None]], None]) -> None:
        """Have the request answered; the loop calls `then`, which has to `release` it.

        Raises NoThread, with nothing begun, when the system gives no thread to this process.
        """
        worker = self._worker
        pool = self._health if conn.is_health else worker.tpool
        # Not that of the pool, which keeps what it finds no thread for, for those that it has, and does not tell us.
        future = Future[bool | None]()
        future.add_done_callback(lambda future: worker.method_queue.defer(then, conn, future))
        try:
            pool.submit(_run, future, worker, conn)
        except RuntimeError as error:
            if future.cancel():
                raise NoThread(str(error)) from error
        conn.future = future
        if conn.is_health:
            self._health_busy += 1
        else:
            self.busy += 1

    def release(self, conn: Connection) -> None:
        """A thread is done with it, or will not begin."""
        conn.future = None
        if conn.is_health:
            self._health_busy -= 1
        else:
            self.busy -= 1

    def end(self) -> None:
        """Begin with nothing more."""
        self._worker.tpool.shutdown(wait=False, cancel_futures=True)
        self._health.shutdown(wait=False, cancel_futures=True)
