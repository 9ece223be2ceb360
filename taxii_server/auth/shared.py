"""A table of numbers that all workers of a server share: memory of a fixed size, made before they are forked.

Why shared: a client does not choose its worker. With one table for each, a limit would be as many times larger as
there are workers for who opens many connections, and that many times smaller for who stays on one.

Why without a lock between processes: a worker that is stopped or killed while it holds one would stop all others.
Two workers that count for the same key within the same microsecond may count once; threads of one never do.

Why a table of fixed size: the keys are what strangers send. Whatever they invent, it takes no memory; an entry
that has expired, or else the one that expires first of its row, makes room.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_ROW = 4
_WORDS = 4  # key, value, when, expires


@dataclass(frozen=True, slots=True)
class Entry:
    """Two numbers, and until when (as the clock of the table tells) they count."""

    value: float
    when: float
    expires: float


class Table:
    """Key -> Entry. `lock` is for who reads an entry to write it: threads of this process wait for each other."""

    def __init__(self, rows: int = 16384, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        #: held by the thread that writes, so that no two of them choose the same place
        self._writing = threading.Lock()
        self._rows = rows
        self._secret = secrets.token_bytes(16)
        memory = memoryview(mmap.mmap(-1, rows * _ROW * _WORDS * 8))
        # Whole words, so that nobody sees half of one.
        self._keys, self._numbers = memory.cast("Q"), memory.cast("d")

    def read(self, *key: str) -> Entry | None:
        """The entry, or None when there is none that still counts."""
        mark = self._mark(key)
        for at in self._places(mark):
            if self._keys[at] == mark and self._numbers[at + 3] > self.clock():
                return Entry(self._numbers[at + 1], self._numbers[at + 2], self._numbers[at + 3])
        return None

    def write(self, entry: Entry, *key: str) -> None:
        """Put the entry there, in place of its older self or of what is needed least."""
        mark = self._mark(key)
        places = self._places(mark)
        with self._writing:
            at = next((each for each in places if self._keys[each] == mark), None)
            if at is None:
                at = min(places, key=lambda each: self._numbers[each + 3])
            self._keys[at] = 0
            self._numbers[at + 1], self._numbers[at + 2], self._numbers[at + 3] = entry.value, entry.when, entry.expires
            self._keys[at] = mark

    def remove(self, *key: str) -> None:
        """Forget the entry."""
        mark = self._mark(key)
        with self._writing:
            for at in self._places(mark):
                if self._keys[at] == mark:
                    self._keys[at] = 0
                    self._numbers[at + 3] = 0.0

    def _mark(self, key: tuple[str, ...]) -> int:
        # Keyed, so that nobody can choose names that meet in one row.
        text = "\0".join(key).encode(errors="surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=self._secret).digest()) or 1

    def _places(self, mark: int) -> range:
        start = mark % self._rows * _ROW * _WORDS
        return range(start, start + _ROW * _WORDS, _WORDS)
