"""The worker process: gunicorn's threads, given to whole requests only.

Why a worker class of our own: gunicorn 27 gives a thread to a connection before it has said anything and waits
for the rest of a request for ever, so that a handful of silent strangers keeps everybody else out. And what
gunicorn refuses by itself is answered as a TAXII error resource here, as everything else is.

It builds on parts of gunicorn that are not promised to stay: hence one major version in setup.cfg.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import partial
from os import SEEK_END
from selectors import EVENT_READ
from typing import Any

import orjson
from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread
from gunicorn.workers.gthread import TConn, ThreadWorker
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from taxii_server.web.media import TAXII

_log = logging.getLogger(__name__)

#: From the first byte of a request to the end of its head.
HEAD_TIMEOUT_S = 10.0
#: Without a single byte going either way.
IDLE_TIMEOUT_S = 30
#: How much of a refused body is still read, so that its sender gets to read the answer.
_LINGER_S, _LINGER_SILENT_S = 3.0, 0.5
_MAX_DRAINED_BYTES = 64 * 1024 * 1024
#: A head without an end is not read beyond this.
_MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 8190
_ERRORS: tuple[tuple[type[BaseException], int, str], ...] = (
    (errors.LimitRequestLine, 414, "URI Too Long"),
    (errors.LimitRequestHeaders, 431, "Request Header Fields Too Large"),
    (errors.ExpectationFailed, 417, "Expectation Failed"),
    (errors.UnsupportedTransferCoding, 501, "Not Implemented"),
    (errors.ParseException, 400, "Bad Request"),
)


class PatientUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads from the client, but not for ever: a whole head in time, then never long without a byte."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._head_until: float | None = None
        self._ended = False

    def gather(self) -> bool:
        """Take in what has arrived, without waiting; whether a thread should go on with it."""
        try:
            data = self.sock.recv(_MAX_HEAD_BYTES)
        except BlockingIOError:
            return self.has_head()
        except OSError:
            data = b""
        self._ended = not data
        self.buf.seek(0, SEEK_END)
        self.buf.write(data)
        return self.has_head()

    def has_head(self) -> bool:
        """Whether the end of a head is here, or more than a head may be, or nothing will follow."""
        head = self.buf.getvalue()
        return self._ended or b"\r\n\r\n" in head or len(head) > _MAX_HEAD_BYTES

    def require_head(self) -> None:
        """Raise what a head is refused for that is longer than any head may be."""
        head = self.buf.getvalue()
        if len(head) > _MAX_HEAD_BYTES and b"\r\n\r\n" not in head:
            line = head.find(b"\n")
            if line < 0 or line > MAX_LINE_BYTES:
                raise errors.LimitRequestLine(len(head), MAX_LINE_BYTES)
            raise errors.LimitRequestHeaders("the head has no end")

    def begin_head(self) -> None:
        """A head is read from now on."""
        self._head_until = time.monotonic() + HEAD_TIMEOUT_S

    def end_head(self) -> None:
        """The head is there; what follows may take as long as it moves."""
        self._head_until = None
        self.sock.setblocking(True)

    def chunk(self, size_hint: int | None = None) -> bytes:
        """See SocketUnreader.chunk. A head that comes too late ends as if the client had gone."""
        if self._head_until is not None:
            remaining = self._head_until - time.monotonic()
            if remaining <= 0:
                return b""
            self.sock.settimeout(remaining)
        try:
            return bytes(super().chunk(size_hint))
        except (TimeoutError, BlockingIOError):
            if self._head_until is not None:
                return b""
            raise TimeoutError("the client stopped in the middle of its request") from None


class Connection(TConn):  # type: ignore[misc]
    """A client's connection: plain HTTP, so that its head can be gathered before a thread reads it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.init()
        idle = struct.pack("ll", IDLE_TIMEOUT_S, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, idle)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, idle)
        self.parser.unreader = PatientUnreader(self.sock)
        self.sock.setblocking(False)
        self.set_timeout()

    def close(self, graceful: bool = False) -> None:
        """Close now: whatever lingers did so in a thread, not in the loop that serves everybody."""
        super().close(graceful=False)


class TaxiiWorker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker that gives a thread to whole requests only, and whose own errors are TAXII error resources."""

    def is_parent_alive(self) -> bool:
        """Whether the parent is there. Without it, end as after SIGTERM and give up the port at once.

        gunicorn alone would go on for all of graceful_timeout, as long as clients keep their connections busy, and
        whoever starts the server again could not have the port.
        """
        if super().is_parent_alive():
            return True
        self.alive = False
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        return False

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection. It gets a thread when the head of a request is here."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another worker was faster, or the client thought again
            return
        self.nr_conns += 1
        self._wait_for_head(Connection(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Something arrives on a connection that was kept."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        conn.set_timeout()
        self._wait_for_head(conn)
        self.on_pending_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Something arrives of a head."""
        if conn.parser.unreader.gather():
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self.enqueue_req(conn)

    def _wait_for_head(self, conn: Connection) -> None:
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: Connection) -> Any:
        """One request, in a thread; whether the connection is kept."""
        unreader = conn.parser.unreader
        if not unreader.has_head():
            return gthread._DEFER  # the beginning of a pipelined request came with the one before
        conn.sock.setblocking(True)
        unreader.begin_head()
        try:
            unreader.require_head()
        except errors.ParseException as error:
            self.handle_error(None, conn.sock, conn.client, error)
            keep = False
        else:
            keep = super().handle(conn)
        if not keep:
            linger(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """The application's answer to a request whose head has been read."""
        conn.parser.unreader.end_head()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what the application never saw; the connection ends."""
        fitting = (answer for kind, *answer in _ERRORS if isinstance(exc, kind))
        status, title = next(fitting, (500, "Internal Server Error"))
        error_id = str(uuid.uuid4())
        if status == 500:
            _log.error("a request failed outside the application, error_id %s", error_id, exc_info=exc)
        else:
            _log.info("not understood (%s), answers %d, error_id %s", type(exc).__name__, status, error_id)
        body = orjson.dumps(
            {"title": title, "error_id": error_id, "error_code": f"http-{status}", "http_status": str(status)}
        )
        head = (
            f"HTTP/1.1 {status} {title}\r\nDate: {formatdate(usegmt=True)}\r\nConnection: close\r\n"
            f"Content-Type: {TAXII}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body)
        except OSError:
            _log.debug("the client of a bad request is gone")


def linger(sock: socket.socket) -> None:
    """End the answer, and read what the client still sends: a connection closed over unread bytes loses the answer.

    Gives up on a client that falls silent, or sends for long; closing is left to the caller.
    """
    until = time.monotonic() + _LINGER_S
    left = _MAX_DRAINED_BYTES
    try:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(_LINGER_SILENT_S)
        while left > 0 and time.monotonic() < until and (data := sock.recv(65536)):
            left -= len(data)
    except OSError:
        return


class GuardedBody:
    """A WSGI application whose request body, when it is damaged, ends early or stops, is the client's fault."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"] = _Body(environ["wsgi.input"], _length(environ))
        return self._app(environ, start_response)


class _Body:
    """What the application reads of a body. Raises the HTTP errors that Flask answers."""

    def __init__(self, stream: Any, left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, empty at the end of the body."""
        try:
            data = bytes(self._stream.read(size))
        except TimeoutError:
            raise RequestTimeout from None
        except (errors.ParseException, errors.NoMoreData, ConnectionError):
            raise ClientDisconnected from None
        self._left -= len(data)
        if self._left > 0 and (not data or size < 0):
            raise ClientDisconnected
        return data


def _length(environ: dict[str, Any]) -> int:
    """The length that the client promised; 0 when it promised none."""
    text = str(environ.get("CONTENT_LENGTH") or "")
    return int(text) if text.isdecimal() and "HTTP_TRANSFER_ENCODING" not in environ else 0
