"""One client's connection. It belongs to the loop, or to the one thread that answers its request, never to both."""

from __future__ import annotations

import enum
import logging
import socket
import ssl
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from gunicorn.http import errors

from taxii_server.serving.body import Framing
from taxii_server.serving.streams import WOULD_BLOCK, Incoming, Outgoing

_log = logging.getLogger(__name__)

#: A head without an end is not read beyond this.
MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 8190
#: Without a single byte of a body or an answer going either way.
SILENT_S = 30.0
#: A body or an answer that takes longer than SILENT_S has to move at least at this rate.
MIN_BYTES_PER_S = 4096
_PIECE_BYTES = 65536
_TLS_HANDSHAKE = 0x16


class State(enum.Enum):
    """What a connection is waiting for."""

    GREETING = "the first bytes, on a port for TLS"
    HANDSHAKE = "the rest of the handshake"
    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWERING = "a thread, or its end"
    SENDING = "the client to read the answer"
    ENDING = "the client to hang up"
    CLOSED = "nothing"


class Connection:
    """A socket with its state, deadline and buffers. No method waits."""

    def __init__(self, sock: socket.socket, client: Any, server: Any, context: ssl.SSLContext | None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.client = client
        self.server = server
        self.incoming = Incoming()
        self.outgoing = Outgoing(sock)
        self.state = State.IDLE
        self.since = time.monotonic()
        self.deadline = self.since
        #: nothing more will come from the client
        self.ended = False
        self.keep = False
        self.is_health = False
        #: it came to the port for machines
        self.is_for_machines = False
        self.watched = 0
        #: bytes that count against the memory for slow clients
        self.held = 0
        self.moved = 0
        self.requests = 0
        self.request: Any = None
        self.framing: Framing | None = None
        self.future: Future[Any] | None = None
        #: the client's certificate (DER), when it showed one that holds
        self.certificate: bytes | None = None
        self._context = context

    @property
    def address(self) -> str:
        return str(self.client[0]) if isinstance(self.client, tuple) else ""

    @property
    def is_tls(self) -> bool:
        return self._context is not None

    def enter(self, state: State, seconds: float) -> None:
        """From now on it waits for this, for so long."""
        self.state = state
        self.since = time.monotonic()
        self.deadline = self.since + seconds
        self.moved = 0

    def progress(self, count: int) -> bool:
        """So many bytes have moved; whether that is fast enough. It may be silent for a while from now on."""
        now = time.monotonic()
        self.moved += count
        self.deadline = now + SILENT_S
        return now - self.since <= SILENT_S or self.moved >= MIN_BYTES_PER_S * (now - self.since)

    # ---- reading

    def greet(self) -> bool | None:
        """Whether the first byte is that of a TLS handshake, which then begins; None before it has arrived."""
        try:
            first = self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            first = b""
        if not first:
            self.ended = True
            return None
        if first[0] != _TLS_HANDSHAKE or self._context is None:
            return False
        self.sock = self._context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.outgoing.sock = self.sock
        return True

    def shake(self) -> bool:
        """Whether the handshake is done. Raises OSError when it fails, WOULD_BLOCK errors when it has to go on."""
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.do_handshake()
        self.certificate = self.sock.getpeercert(binary_form=True)
        return True

    def receive(self, at_most: int) -> int:
        """Take in what has arrived, up to about so many bytes; how many came. Notes the end in `ended`."""
        got = 0
        while got < at_most:
            try:
                data = self.sock.recv(_PIECE_BYTES)
            except WOULD_BLOCK:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            self.incoming.add(data)
            got += len(data)
            if len(data) < _PIECE_BYTES and not self.is_tls:
                break
        return got

    def has_head(self) -> bool:
        """Whether the end of a head is here, or more than a head may be."""
        data = self.incoming.data
        # A line that ends without CR makes a head that never ends; the parser says so.
        return b"\r\n\r\n" in data or b"\n\n" in data or len(data) > MAX_HEAD_BYTES

    def require_head(self) -> None:
        """Raise what a head is refused for that is longer than any head may be."""
        data = self.incoming.data
        if len(data) > MAX_HEAD_BYTES and data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4) < 0:
            line = data.find(b"\n")
            if line < 0 or line > MAX_LINE_BYTES:
                raise errors.LimitRequestLine(len(data), MAX_LINE_BYTES)
            raise errors.LimitRequestHeaders("the head has no end")

    def discard(self) -> bool:
        """Read and forget what still arrives; whether the client has hung up."""
        try:
            while data := self.sock.recv(_PIECE_BYTES):
                self.moved += len(data)
                if len(data) < _PIECE_BYTES:
                    return False
        except WOULD_BLOCK:
            return False
        except OSError:
            return True
        return True

    # ---- ending

    def say_goodbye(self) -> None:
        """Tell the client that nothing more comes. What it still sends is read: else it might lose the answer."""
        if isinstance(self.sock, ssl.SSLSocket) and self.state is not State.HANDSHAKE:
            with suppress(OSError, ValueError):
                self.sock.unwrap()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket and forget what was kept."""
        self.state = State.CLOSED
        self.outgoing.drop()
        self.incoming = Incoming()
        with suppress(OSError):
            self.sock.close()
