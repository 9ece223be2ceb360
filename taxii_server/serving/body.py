"""The body of a request as the application reads it: from memory only.

An application that wants a body which has not arrived is stopped (BodyAwaited), and called again when it has. So a
thread never waits for a client, and nothing of a body is gathered before the application, which knows who is asking
and how much may come, wants it.
"""

from __future__ import annotations

from typing import Any

from gunicorn.http import errors
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from taxii_server.serving.chunks import ChunkScan
from taxii_server.serving.streams import Incoming
from taxii_server.web.body import BODY_LIMIT

#: What is gathered of a body when the application does not say.
DEFAULT_LIMIT_BYTES = 1024 * 1024
#: The framing of chunks may take so much besides the content.
_FRAMING_BYTES = 65536


class BodyAwaited(BaseException):
    """The body is not here yet. Not an Exception: no handler of the application is meant to answer it."""


class Framing:
    """How the body of one request arrives, and whether all of it is here."""

    def __init__(self, request: Any, incoming: Incoming) -> None:
        headers = dict(request.headers)
        text = str(headers.get("CONTENT-LENGTH", ""))
        self.length = int(text) if text.isdecimal() else 0
        self.is_chunked = "TRANSFER-ENCODING" in headers
        self.limit_bytes = DEFAULT_LIMIT_BYTES
        #: why nothing more is waited for
        self.given_up: Exception | None = None
        self._incoming = incoming
        self._scan = ChunkScan() if self.is_chunked else None

    def is_here(self) -> bool:
        """Whether the application can read it: it is whole, or damaged, or given up, as one is that is too large."""
        if self.given_up is not None:
            return True
        if self._scan is None:
            return len(self._incoming) >= self.length
        if self._scan.feed(self._incoming.data):
            return True
        # Who reads on comes to the end of what is here, in the middle of a chunk: without a reason it would be damaged.
        if self._scan.size > self.limit_bytes or len(self._incoming) > 2 * self.limit_bytes + _FRAMING_BYTES:
            self.given_up = RequestEntityTooLarge()
        return self.given_up is not None


class RequestBody:
    """`wsgi.input`. Raises the HTTP errors that Flask answers."""

    def __init__(self, stream: Any, framing: Framing, environ: dict[str, Any]) -> None:
        self._stream = stream
        self._framing = framing
        self._environ = environ
        self._left = framing.length
        self._checked = False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, empty at the end of the body."""
        if not self._checked:
            self._framing.limit_bytes = self._environ.get(BODY_LIMIT, DEFAULT_LIMIT_BYTES)
            if not self._framing.is_here():
                raise BodyAwaited
            self._checked = True
        try:
            data = bytes(self._stream.read(size))
        except (errors.ParseException, errors.NoMoreData):
            raise self._framing.given_up or ClientDisconnected() from None
        self._left -= len(data)
        if self._left > 0 and (not data or size < 0):
            raise self._framing.given_up or ClientDisconnected()
        return data

    def is_finished(self, at_most: int) -> bool:
        """Whether the next request begins where reading stopped; reads over up to so many bytes that nobody wanted.

        False when the rest has not arrived, is longer, or is damaged: the connection cannot be kept.
        """
        if not self._checked and not self._framing.is_here():
            return False
        if self._framing.given_up is not None or self._stream.failed:
            return False
        try:
            return len(self._stream.read(at_most + 1)) <= at_most
        except (errors.ParseException, errors.NoMoreData):
            return False
