"""Entries of the ledger on the disk of this machine, on their way to MongoDB.

Why: a page of 1,000 objects is so short that any command to the database is more than a tenth of it, and an answer may
not leave before its entry is safe. Written through to a disk of this machine it is: it survives the death of every
process and a power failure. A thread brings it to MongoDB a moment later, many in one command.

How nothing is lost on the way
    A process writes *segments*, files of its own which it locks as long as it lives, and removes one when all of its
    entries are on the journals of a majority. Whoever finds a segment that nobody locks brings its entries to MongoDB;
    that they may be there already does no harm. Every reader of the ledger does so before it reads, and every process
    before its first entry: the strand that it begins names the true ends of those before.

How long the way may be
    `LATE_S`: after that the next answer waits until MongoDB has everything, or is refused. So what a destroyed disk can
    take along is the entries of so many seconds at most.

What is not left to a disk
    Entries go to MongoDB at once while the folder cannot be written to. Firm entries (deletions) are there before
    `append` returns.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import bson

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.storage.disk import sync
from taxii_server.storage.ledger import Entry, Head, LedgerQuery, LedgerStore, PlaceTaken
from taxii_server.storage.mongo_ledger import MongoLedger, document_of, entry_of

_log = logging.getLogger(__name__)

#: How long an entry may wait on the disk while answers leave.
LATE_S = 2.0
#: Bytes of a segment after which the next one is begun.
SEGMENT_BYTES = 256 * 1024
_SUFFIX, _NEW, _DAMAGED = ".entries", ".new", ".damaged"
#: Entries of one command.
_PORTION = 500
#: How long entries gather before they are sent, how long the thread rests after a failure, and after how long without
#: an entry a segment is emptied: what is in MongoDB shall not be found here in a year.
_GATHER_S, _REST_S, _IDLE_S = 0.1, 0.5, 1.0
#: How long a folder that could not be written to is left alone.
_AVOID_S = 30.0
#: Before each entry: its length and its checksum.
_FRAME = struct.Struct("<II")


@dataclass(slots=True)
class _Segment:
    path: Path
    handle: int
    size: int = 0
    #: how many of its entries MongoDB does not have
    waiting: int = 0


@dataclass(slots=True)
class _Own:
    """What one process has on the way."""

    #: around all that follows
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: held by whoever sends
    sending: threading.Lock = field(default_factory=threading.Lock)
    wake: threading.Event = field(default_factory=threading.Event)
    #: entries, and since when (monotonic) they wait
    waiting: deque[tuple[Entry, float]] = field(default_factory=deque)
    #: in the order in which they were begun; the last one is written to while `is_open`
    segments: list[_Segment] = field(default_factory=list)
    is_open: bool = False
    avoid_until: float = 0.0
    closed: bool = False
    sender: threading.Thread | None = None

    def is_late(self) -> bool:
        try:
            _, since = self.waiting[0]
        except IndexError:  # none; it may have been sent a moment ago, so nobody asks first
            return False
        return time.monotonic() - since > LATE_S


class SpooledLedger(LedgerStore):
    """The ledger of a database, by way of a folder of this machine.

    `mark` gives a name of the database: a folder may be that of several. Safe for several threads and processes, and
    across a fork.
    """

    def __init__(self, ledger: MongoLedger, folder: Path, mark: Callable[[], str]) -> None:
        self._ledger = ledger
        self._folder = folder
        self._mark_of = mark
        self._mark: str | None = None
        self._processes: dict[int, _Own] = {}

    # ---- entries in

    def append(self, entries: Sequence[Entry], *, firm: bool = False) -> None:
        own = self._own()
        if own.is_late():
            self._send(own)
        try:
            self._write(own, entries)
        except OSError as error:
            self._avoid(own, error)
            self._send(own)
            # Nobody knows what of them is in the segment.
            self._ledger.adopt(entries)
            return
        own.wake.set()
        if firm:
            self._send(own)

    def adopt(self, entries: Sequence[Entry]) -> None:
        self._ledger.adopt(entries)

    def _write(self, own: _Own, entries: Sequence[Entry]) -> None:
        """Write the entries through to the disk. Raises OSError."""
        data = b"".join(map(_framed, entries))
        with own.lock:
            if time.monotonic() < own.avoid_until:
                raise OSError("the folder could not be written to a moment ago")
            segment = own.segments[-1] if own.is_open else self._begin(own)
            written = 0
            while written < len(data):
                written += os.write(segment.handle, data[written:])
            os.fdatasync(segment.handle)
            segment.size += len(data)
            segment.waiting += len(entries)
            own.is_open = segment.size < SEGMENT_BYTES
            now = time.monotonic()
            own.waiting.extend((entry, now) for entry in entries)
            if own.sender is None and not own.closed:
                sender = threading.Thread(target=self._keep_sending, args=(own,), name="ledger-spool", daemon=True)
                # While the system gives no thread, whoever comes when entries are late sends them.
                with suppress(RuntimeError):
                    sender.start()
                    own.sender = sender

    def _begin(self, own: _Own) -> _Segment:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{self._name()}-{os.getpid()}-{secrets.token_hex(6)}{_SUFFIX}"
        new = path.with_suffix(_NEW)
        handle = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # Locked before it has its name: nobody may think that it was left behind.
            fcntl.flock(handle, fcntl.LOCK_EX)
            new.rename(path)
            sync(self._folder)
        except OSError:
            os.close(handle)
            raise
        segment = _Segment(path, handle)
        own.segments.append(segment)
        own.is_open = True
        return segment

    def _avoid(self, own: _Own, error: OSError) -> None:
        """Leave the folder alone for a while. What the segment holds stays until MongoDB has it."""
        with own.lock:
            own.is_open = False
            now = time.monotonic()
            if now >= own.avoid_until:
                own.avoid_until = now + _AVOID_S
                _log.error(
                    "ledger_spool: %s cannot be written to (%s); MongoDB has entries at once", self._folder, error
                )

    # ---- on to MongoDB

    def settle(self) -> None:
        """Bring to MongoDB what processes of this machine wrote, those that are gone as well.

        Raises StorageUnavailable, and StorageError for a folder that cannot be read.
        """
        self._collect()
        own = self._processes.get(os.getpid())
        if own is not None:
            self._send(own)

    def close(self) -> None:
        """As `settle`, as far as that is possible; what is left on the disk is for the next process."""
        own = self._processes.get(os.getpid())
        if own is None:
            return
        with own.lock:
            own.closed = True
        own.wake.set()
        try:
            self._send(own)
        except StorageError as error:
            _log.warning("entries of the ledger stay in %s until the next start: %s", self._folder, error)
        with own.lock:
            for segment in own.segments:
                _end(segment, remove=not segment.waiting)
            own.segments.clear()
            own.is_open = False

    def _own(self) -> _Own:
        pid = os.getpid()
        own = self._processes.get(pid)
        if own is None:
            # What others left comes first, see above.
            self._collect()
            own = self._processes.setdefault(pid, _Own())
        return own

    def _send(self, own: _Own) -> None:
        """Bring to MongoDB all that waits now."""
        with own.sending:
            while True:
                with own.lock:
                    some = [entry for entry, _ in islice(own.waiting, _PORTION)]
                if not some:
                    return
                try:
                    self._ledger.adopt(some)
                except PlaceTaken as taken:
                    self._set_aside(own, taken)
                    raise
                with own.lock:
                    for _ in some:
                        own.waiting.popleft()
                    self._sent(own, len(some))

    def _set_aside(self, own: _Own, taken: PlaceTaken) -> None:
        """Keep what cannot come into the ledger, and go on without it: its strand tells that something is wrong."""
        with own.lock:
            for segment in own.segments:
                _keep(segment.path, str(taken))
                os.close(segment.handle)
            own.segments.clear()
            own.waiting.clear()
            own.is_open = False

    def _sent(self, own: _Own, count: int) -> None:
        """Remove the segments of which nothing waits any more."""
        for segment in list(own.segments):
            done = min(count, segment.waiting)
            segment.waiting -= done
            count -= done
            if not segment.waiting and not (own.is_open and segment is own.segments[-1]):
                own.segments.remove(segment)
                _end(segment, remove=True)

    def _keep_sending(self, own: _Own) -> None:
        told = False
        while not own.closed:
            if not own.wake.wait(_IDLE_S if own.is_open else None):
                try:
                    self._empty(own)
                except OSError as error:
                    self._avoid(own, error)
                own.wake.wait()
            own.wake.clear()
            time.sleep(_GATHER_S)
            try:
                self._send(own)
                told = False
            except Exception as error:  # noqa: BLE001 - the thread must outlive what nobody foresaw
                if not told:
                    _log.error("entries of the ledger wait in %s: %s", self._folder, error)
                told = True
                own.wake.set()
                time.sleep(_REST_S)

    def _empty(self, own: _Own) -> None:
        with own.lock:
            if own.is_open and not own.segments[-1].waiting and own.segments[-1].size:
                segment = own.segments[-1]
                os.ftruncate(segment.handle, 0)
                segment.size = 0

    def _collect(self) -> None:
        """Bring to MongoDB what is in the segments of others."""
        name = self._name()
        try:
            # Not glob, which finds nothing in a folder that it may not read.
            for path in sorted(self._folder.iterdir()):
                if path.name.startswith(f"{name}-") and path.suffix == _SUFFIX:
                    self._take(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageUnavailable(
                f"ledger_spool: {self._folder} cannot be read, and entries of the ledger may wait there ({error}); run"
                " this as the user of the server"
            ) from error

    def _take(self, path: Path) -> None:
        own = self._processes.get(os.getpid())
        if own is not None and any(segment.path == path for segment in own.segments):
            return
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            is_left = _lock(handle)
            data = _read(handle)
            entries, rest = _entries(data)
            wrong = f"its last {rest} bytes are no whole entry" if rest else ""
            try:
                if entries:
                    self._ledger.adopt(entries)
            except PlaceTaken as taken:
                wrong = str(taken)
            if is_left and os.fstat(handle).st_nlink:
                if wrong:
                    _keep(path, wrong)
                else:
                    path.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def _name(self) -> str:
        if self._mark is None:
            self._mark = self._mark_of()
        return self._mark

    # ---- entries out: all that this machine has written, too

    def heads(self, *, limit_s: float | None = None) -> list[Head]:
        self.settle()
        return self._ledger.heads(limit_s=limit_s)

    def count(self) -> int:
        self.settle()
        return self._ledger.count()

    def drop(self, strand: str, through: int) -> int:
        self.settle()
        return self._ledger.drop(strand, through)

    def walk(self) -> Iterator[Entry]:
        self.settle()
        return self._ledger.walk()

    def find(self, query: LedgerQuery, *, limit_s: float | None = None) -> Iterator[Entry]:
        self.settle()
        return self._ledger.find(query, limit_s=limit_s)

    def latest(self, partner: str, limit: int) -> list[Entry]:
        self.settle()
        return self._ledger.latest(partner, limit)


def _framed(entry: Entry) -> bytes:
    text = bson.encode(document_of(entry))
    return _FRAME.pack(len(text), zlib.crc32(text)) + text


def _entries(data: bytes) -> tuple[list[Entry], int]:
    """The whole entries at the beginning, and how many bytes follow that are none."""
    entries: list[Entry] = []
    place = 0
    while place + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, place)
        text = data[place + _FRAME.size : place + _FRAME.size + length]
        if len(text) < length or zlib.crc32(text) != checksum:
            break
        entries.append(entry_of(bson.decode(text)))
        place += _FRAME.size + length
    return entries, len(data) - place


def _keep(path: Path, why: str) -> None:
    kept = path.with_suffix(_DAMAGED)
    path.rename(kept)
    _log.error(
        "not all of %s is in the ledger, it is kept as %s: %s; see 'taxii-server ledger verify'", path, kept, why
    )


def _end(segment: _Segment, *, remove: bool) -> None:
    if remove:
        segment.path.unlink(missing_ok=True)
    os.close(segment.handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(handle: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(handle, 1024 * 1024):
        parts.append(part)
    return b"".join(parts)
