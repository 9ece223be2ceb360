"""An HTTP client that notes what goes wrong instead of hiding it, and then goes on.

One connection, kept; the standard library alone, because 64 of these share two processors with the server.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.world import MT

Address = tuple[str, int]
#: After this a request counts as hung. Longer than the server may take for any answer (30 s for a write).
PATIENCE_S = 45.0
#: Retry-After is obeyed up to this, so that recovery is noticed soon.
_MOST_REST_S = 0.3


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Tally:
    """What all clients of a run met. Safe for several threads."""

    #: 5xx other than 503 with Retry-After, and 429 without: status -> how many
    wrong: Counter[int] = field(default_factory=Counter)
    #: 503 and 429 with Retry-After
    refused: int = 0
    #: connections that broke before the answer was whole
    cut: int = 0
    #: no answer in PATIENCE_S
    hung: int = 0
    answered: int = 0
    slowest_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: Answer, took_s: float) -> None:
        with self._lock:
            self.answered += 1
            self.slowest_s = max(self.slowest_s, took_s)
            if answer.status in (429, 503) and answer.headers.get("retry-after", "").isdecimal():
                self.refused += 1
            elif answer.status >= 500 or answer.status == 429:
                self.wrong[answer.status] += 1

    def broke(self, error: Exception) -> None:
        with self._lock:
            if isinstance(error, TimeoutError):
                self.hung += 1
            else:
                self.cut += 1


class Client:
    """One client of one partner. `where` is asked for the address at each new connection."""

    def __init__(self, where: Callable[[], Address], token: str, tally: Tally) -> None:
        self._where = where
        self._headers = {"Accept": MT, "Authorization": f"Bearer {token}"}
        self._tally = tally
        self._connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer | None:
        """The answer, or None when there was none: nobody knows then what the server did."""
        headers = self._headers if body is None else self._headers | {"Content-Type": MT}
        begun = time.monotonic()
        try:
            if self._connection is None:
                host, port = self._where()
                self._connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
                self._connection.connect()
                self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, found, response.read())
            if response.will_close:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._tally.broke(error)
            return None
        self._tally.note(answer, time.monotonic() - begun)
        return answer

    def rest(self, answer: Answer | None) -> None:
        """Wait before the same request is sent again."""
        asked = "" if answer is None else answer.headers.get("retry-after", "")
        time.sleep(min(float(asked), _MOST_REST_S) if asked.isdecimal() else 0.05)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
