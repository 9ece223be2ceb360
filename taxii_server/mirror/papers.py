"""What a mirror keeps beside the store, in a small SQLite file of its own: what it brought, and what was refused.

What it brought is what it may delete when the peer does not have it any more. An entry is written before the object is
stored and taken back when that fails, so that a crash in between never leaves an object that nobody knows to be the
mirror's. Losing the file loses the right to delete, and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from taxii_server.errors import ConfigError, Problem, StorageUnavailable
from taxii_server.settings import world_readable
from taxii_server.times import format_position

#: The newest of what was refused are kept.
MAX_REFUSED = 10_000
_MAX_CHARS = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS brought (
    id TEXT NOT NULL, version TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
    id TEXT NOT NULL, version TEXT NOT NULL, reason TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    times INTEGER NOT NULL, PRIMARY KEY (id, version)
);
CREATE INDEX IF NOT EXISTS refused_by_time ON refused (last);
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One object that was not taken, and why; `first` and `last` are TAXII timestamps."""

    id: str
    version: str
    reason: str
    first: str
    last: str
    times: int


class Papers:
    """The file of one mirror. Not for several threads at a time; use as a context manager."""

    def __init__(self, folder: Path, key: str, *, check_modes: bool = True) -> None:
        self.path = folder / f"{key}.db"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            why = f"cannot be written: {(error.strerror or str(error)).lower()}; set mirrors_dir"
            raise ConfigError([Problem(str(self.path), "", why)]) from error
        problems = world_readable(self.path, "it tells what a mirror brought,") if check_modes else []
        if problems:
            raise ConfigError(problems)
        try:
            self._db = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
            self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + _SCHEMA)
        except sqlite3.Error as error:
            raise _ours(self.path, error) from error

    def __enter__(self) -> Papers:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _write(self, *statements: tuple[str, Iterable[Sequence[object]]]) -> None:
        try:
            with closing(self._db.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    for statement, rows in statements:
                        cursor.executemany(statement, rows)
                    cursor.execute("COMMIT")
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise _ours(self.path, error) from error

    def _rows(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[str, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise _ours(self.path, error) from error

    # ---- what it brought

    def bring(self, versions: Iterable[tuple[str, str]]) -> None:
        """These (id, version) are about to be stored by this mirror. The version of an observable is empty."""
        self._write(("INSERT OR IGNORE INTO brought (id, version) VALUES (?, ?)", versions))

    def take_back(self, versions: Iterable[tuple[str, str]]) -> None:
        """They were not, or are gone."""
        self._write(("DELETE FROM brought WHERE id = ? AND version = ?", versions))

    def count(self) -> int:
        """How many objects the mirror brought."""
        return int(next(self._rows("SELECT count(DISTINCT id) FROM brought"))[0])

    def begin_looking(self) -> int:
        """The number of a new look at everything that the peer has."""
        return int(next(self._rows("SELECT coalesce(max(seen), 0) + 1 FROM brought"))[0])

    def seen(self, ids: Iterable[str], look: int) -> None:
        """The peer has these."""
        self._write(("UPDATE brought SET seen = ? WHERE id = ?", ((look, id_) for id_ in ids)))

    def unseen(self, look: int) -> list[str]:
        """The ids of which the peer showed nothing in this look, in their order."""
        return [row[0] for row in self._rows("SELECT DISTINCT id FROM brought WHERE seen < ? ORDER BY id", (look,))]

    def versions(self, object_id: str) -> list[str]:
        """The versions of this object that the mirror brought."""
        return [row[0] for row in self._rows("SELECT version FROM brought WHERE id = ?", (object_id,))]

    # ---- what was refused

    def refuse(self, refusals: Iterable[tuple[str, str, str]], now: int) -> None:
        """Keep (id, version, reason) of what was not taken; the same object again is the same entry."""
        rows = [(*map(_text, each), now, now) for each in refusals]
        if not rows:
            return
        statement = (
            "INSERT INTO refused (id, version, reason, first, last, times) VALUES (?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (id, version) DO UPDATE SET reason = excluded.reason, last = excluded.last, times = times + 1"
        )
        old = "DELETE FROM refused WHERE rowid IN (SELECT rowid FROM refused ORDER BY last DESC LIMIT -1 OFFSET ?)"
        self._write((statement, rows), (old, [(MAX_REFUSED,)]))

    def accept(self, versions: Iterable[tuple[str, str]]) -> None:
        """What was refused once is taken now."""
        self._write(("DELETE FROM refused WHERE id = ? AND version = ?", versions))

    def refused(self) -> list[Refusal]:
        """What was refused and not taken since, newest first."""
        query = "SELECT id, version, reason, first, last, times FROM refused ORDER BY last DESC, id"
        return [
            Refusal(id_, version, reason, format_position(int(first)), format_position(int(last)), int(times))
            for id_, version, reason, first, last, times in self._rows(query)
        ]


def _text(value: str) -> str:
    """What a stranger wrote, shortened, and such that it can be kept."""
    return value[:_MAX_CHARS].encode(errors="replace").decode()


def _ours(path: Path, error: sqlite3.Error) -> StorageUnavailable:
    return StorageUnavailable(f"{path}: {error}")
