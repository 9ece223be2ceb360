"""How many bytes of bodies a worker holds at a time: what stands between a few large POSTs and all of its memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taxii_server.errors import NoRoom

_RETRY_AFTER_S = 2.0


class Bodies:
    """The bodies in the memory of one worker: at most `most_bytes`, but one of any size."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """What takes room for so many more bytes of one body, for as long as the context lasts.

        It counts what has arrived, not what was announced: nobody keeps others out by promising much. It raises
        NoRoom when the bodies of others leave no room.
        """
        own = 0

        def grow(size_bytes: int) -> None:
            nonlocal own
            with self._lock:
                if self._held > own and self._held + size_bytes > self._most:
                    raise NoRoom(
                        _RETRY_AFTER_S, f"other bodies take the {self._most} bytes that there are (max_bodies_bytes)"
                    )
                self._held += size_bytes
                own += size_bytes

        try:
            yield grow
        finally:
            with self._lock:
                self._held -= own
