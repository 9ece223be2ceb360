"""What a mirror remembers between two pages and two runs, and who works on it now. In the store, beside the objects.

Why in the store: it is written after the objects of a page are, so a crash in between only has the page read again;
it goes with the database from host to host; and a restored backup does not have it, so that after a restore everything
is fetched again, because nobody could say what the backup was made too early for.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from taxii_server.errors import StorageError, TaxiiServerError
from taxii_server.storage.base import Store

_log = logging.getLogger(__name__)
_PREFIX, _HOLDER = "mirror ", "mirror holder "
#: How long a lease holds without being renewed, and how often that is done.
_LEASE_S, _RENEW_S = 60.0, 15.0


class Busy(TaxiiServerError):
    """Another process works on this mirror."""


@dataclass(slots=True)
class State:
    """What is known of one mirror. Times are µs since 1970; 0: never. `cursor` is that of a Walk, or of a Push."""

    key: str
    name: str
    kind: str
    url: str
    collection: str
    partner: str
    cursor: dict[str, Any] = field(default_factory=dict)
    last_run: int = 0
    last_success: int = 0
    last_error: str = ""
    #: how often a service runs it; 0: it is run by hand
    interval_s: float = 0.0
    #: the peer is not asked before
    not_before: int = 0
    #: when deletions were followed for the last time
    followed: int = 0
    #: over all runs
    stored: int = 0
    refused: int = 0
    deleted: int = 0


def load(store: Store, key: str) -> State | None:
    """What is known of the mirror with this key."""
    text = store.chores.notes(_PREFIX + key).get(_PREFIX + key)
    return None if text is None else _read(text)


def every(store: Store) -> list[State]:
    """What is known of every mirror of this store."""
    return [_read(text) for name, text in store.chores.notes(_PREFIX).items() if not name.startswith(_HOLDER)]


def save(store: Store, state: State) -> None:
    """Keep it, durably."""
    store.chores.note(_PREFIX + state.key, orjson.dumps(asdict(state)).decode())


def forget(store: Store, key: str) -> None:
    """Forget how far the mirror came: its next run fetches everything."""
    store.chores.note(_PREFIX + key, "")


def _read(text: str) -> State:
    parts: Mapping[str, Any] = orjson.loads(text)
    return State(**{name: value for name, value in parts.items() if name in State.__dataclass_fields__})


# ---- one at a time


class Turn:
    """The right to work on a mirror: one process has it, as long as it renews it.

    `lost` is set when somebody else may have taken over; what was begun may be ended, as every step may be repeated.
    """

    def __init__(self, store: Store, key: str) -> None:
        self.lost = threading.Event()
        self._store = store
        self._name = _PREFIX + key
        self._note = _HOLDER + key
        self._holder = f"{_process(os.getpid())} {secrets.token_hex(4)}"
        self._ended = threading.Event()
        #: held while the lease is renewed, or given back: a renewal that came last would take it again
        self._lock = threading.Lock()

    def take(self) -> None:
        """Raises Busy when another process has it."""
        if not self._take():
            holder = self._store.chores.notes(self._note).get(self._note, "")
            if not _is_dead(holder) or not self._take_over(holder):
                where = " ".join(holder.split()[:2]) or "another process"
                raise Busy(f"another process works on this mirror ({where}); wait for it, or end it")
        self._store.chores.note(self._note, self._holder)
        threading.Thread(target=self._renew, name="mirror lease", daemon=True).start()

    def give_back(self) -> None:
        """Let others have it."""
        self._ended.set()
        with self._lock, suppress(StorageError):  # it runs out by itself
            self._store.chores.give_back(self._name, self._holder)

    def _take(self, *, renew: bool = False) -> bool:
        return self._store.chores.take(self._name, self._holder, int(_LEASE_S * 1e6), renew=renew)

    def _take_over(self, holder: str) -> bool:
        self._store.chores.give_back(self._name, holder)
        return self._take()

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_S):
            try:
                with self._lock:
                    if not self._ended.is_set() and not self._take(renew=True):
                        self.lost.set()
                        return
            except StorageError:
                continue  # whoever works on it notices as well
            except Exception:  # noqa: BLE001 - without this thread somebody else takes over, and nobody is told
                _log.exception("the right to work on a mirror could not be renewed")


@contextmanager
def turn(store: Store, key: str) -> Iterator[Turn]:
    """While this lasts, no other process works on this mirror. Raises Busy."""
    held = Turn(store, key)
    held.take()
    try:
        yield held
    finally:
        held.give_back()


def _process(pid: int) -> str:
    """Host, process id, and when that process began: an id is given again to others."""
    return f"{socket.gethostname()} {pid} {_began(pid)}"


def _began(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return ""


def _is_dead(holder: str) -> bool:
    """Whether the holder was a process of this host that is no more."""
    parts = holder.split()
    if len(parts) != 4 or parts[0] != socket.gethostname() or not parts[1].isdigit():
        return False
    return _began(int(parts[1])) != parts[2]
