"""The two halves of a connection in memory: bytes that came and nobody read yet, bytes that have to leave.

Neither ever waits. Why: whatever waits for a client must not be one of the threads that answer everybody.
"""

from __future__ import annotations

import ssl
from collections import deque
from typing import Any, Protocol

from gunicorn.http.unreader import Unreader

#: What a non-blocking socket, plain or TLS, says when it cannot go on now.
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: Without a length asked for, this much is given: a reader that looks for the end of a line wants no megabytes.
_PIECE_BYTES = 65536
#: With TLS a larger piece saves nothing, as one record holds 16 KB.
_SEND_BYTES = 262144


class Sending(Protocol):
    """What is needed of a socket to send."""

    def send(self, data: Any, /) -> int: ...


class Incoming(Unreader):  # type: ignore[misc]
    """What has arrived, as gunicorn's parsers read it: when nothing is left it looks like the end of the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        del self.buf  # gunicorn's own store; nothing may be hidden in there

    def __len__(self) -> int:
        return len(self.data)

    def add(self, data: bytes) -> None:
        """More has arrived."""
        self.data += data

    def chunk(self, size_hint: int | None = None) -> bytes:
        """See Unreader.chunk."""
        return self._take(size_hint or _PIECE_BYTES)

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """See Unreader.read; less than `size` at the end."""
        return self._take(size if size is not None and size >= 0 else max(_PIECE_BYTES, read_ahead or 0))

    def unread(self, data: bytes) -> None:
        """See Unreader.unread."""
        self.data[:0] = data

    def take_buffered(self) -> bytes:
        """See Unreader.take_buffered."""
        return self._take(len(self.data))

    def _take(self, size: int) -> bytes:
        taken = bytes(self.data[:size])
        del self.data[:size]  # moves the beginning, copies nothing
        return taken


class Outgoing:
    """What has to leave. Takes the place of the socket where an answer is written."""

    def __init__(self, sock: Sending) -> None:
        self.sock = sock
        self.pending = 0
        self.sent = 0
        self._parts: deque[memoryview] = deque()

    @property
    def total(self) -> int:
        """All bytes so far, sent or not."""
        return self.sent + self.pending

    def sendall(self, data: bytes | memoryview) -> None:
        """Send what the network takes now and keep the rest. Raises OSError when the client is gone."""
        self._parts.append(memoryview(data))
        self.pending += len(data)
        if len(self._parts) == 1:
            self.flush()

    def flush(self, at_most: int = 1 << 62) -> bool:
        """Send as much as goes without waiting, up to about so many bytes; whether nothing is left.

        Raises OSError when the client is gone.
        """
        while self._parts and at_most > 0:
            part = self._parts[0]
            try:
                # After a refusal TLS wants to see the same piece again: nothing is put in front of it.
                count = self.sock.send(part[:_SEND_BYTES])
            except WOULD_BLOCK:
                return False
            self.sent += count
            self.pending -= count
            at_most -= count
            if count == len(part):
                self._parts.popleft()
            else:
                self._parts[0] = part[count:]
        return not self._parts

    def drop(self) -> None:
        """Forget what has not left."""
        self._parts.clear()
        self.pending = 0
