"""The disclosure ledger in an SQLite file of its own, beside that of the store.

A file of its own, because SQLite lets one writer through at a time: a page that has to be recorded would wait for a
large POST otherwise. An entry is in the write-ahead log when `append` returns, so it survives the death of any process.
The log is written through to the disk at checkpoints and for firm entries: a power failure may cost the last
entries before it, never one in the middle.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from taxii_server.errors import SchemaTooNew, StorageError
from taxii_server.storage.ledger import NAMING, Entry, Head, LedgerQuery, LedgerStore, PlaceTaken
from taxii_server.storage.sqlite_connection import Database

#: Marks a file as a ledger of ours ("TAXL").
APPLICATION_ID = 0x5441584C
VERSION = 1

_COLUMNS = "strand, number, time, kind, partner, object, first, last, facts, items, previous, hash"
_CREATE = (
    """CREATE TABLE entries (
        strand TEXT NOT NULL,
        number INTEGER NOT NULL,
        time INTEGER NOT NULL,
        kind TEXT NOT NULL,
        partner TEXT NOT NULL,
        object TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        facts TEXT NOT NULL,
        items BLOB NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (strand, number)
    ) STRICT""",
    "CREATE INDEX entries_by_partner ON entries (partner, time)",
    "CREATE INDEX entries_by_object ON entries (object) WHERE object <> ''",
    "CREATE INDEX entries_by_range ON entries (last, first) WHERE last > 0",
    f"CREATE INDEX entries_naming ON entries (strand) WHERE kind IN {NAMING}",
)
_INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608
_HASH = "SELECT hash FROM entries WHERE strand = ? AND number = ?"
# One look per strand: GROUP BY would read the whole index.
_HEADS = """
    WITH RECURSIVE strands (strand) AS (
        SELECT min(strand) FROM entries
        UNION ALL
        SELECT (SELECT min(strand) FROM entries WHERE strand > strands.strand) FROM strands WHERE strand IS NOT NULL
    )
    SELECT strand, number, hash FROM strands JOIN entries USING (strand)
    WHERE number = (SELECT max(number) FROM entries WHERE strand = strands.strand) ORDER BY strand
"""
_PORTION = 500


class SQLiteLedger(LedgerStore):
    """The ledger in the file at `path`; a call waits up to `timeout_s` for other writers."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._database = Database(path, timeout_s, synchronous="NORMAL")

    def prepare(self) -> None:
        """Make the file when there is none. Raises SchemaTooNew for one of a newer release."""
        self._database.create()
        if not self._is_present():
            with self._database.writing() as db:
                if _version(db, self._database.path) == 0:
                    for statement in _CREATE:
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {VERSION}")

    def _is_present(self) -> bool:
        with self._database.connection() as connection:
            return _version(connection.db, self._database.path) == VERSION

    @property
    def database(self) -> Database:
        """Its file."""
        return self._database

    def close(self) -> None:
        """Release connections."""
        self._database.close()

    def append(self, entries: Sequence[Entry], *, firm: bool = False) -> None:
        with self._database.writing_connection(firm=firm) as connection:
            connection.db.executemany(_INSERT, map(astuple, entries))

    def adopt(self, entries: Sequence[Entry]) -> None:
        with self._database.writing_connection(firm=True) as connection:
            for entry in entries:
                place = entry.strand, entry.number
                found = connection.db.execute(_HASH, place).fetchone()
                if found is None:
                    connection.db.execute(_INSERT, astuple(entry))
                elif found != (entry.hash,):
                    raise PlaceTaken(entry)

    def settle(self) -> None:
        """Nothing is on its way: `append` waits until it is there."""

    def heads(self, *, limit_s: float | None = None) -> list[Head]:
        with self._database.connection() as connection:
            return [Head(*row) for row in connection.db.execute(_HEADS)]

    def count(self) -> int:
        with self._database.connection() as connection:
            (number,) = connection.db.execute("SELECT count(*) FROM entries").fetchone()
            return int(number)

    def drop(self, strand: str, through: int) -> int:
        with self._database.writing() as db:
            return db.execute("DELETE FROM entries WHERE strand = ? AND number <= ?", (strand, through)).rowcount

    def walk(self) -> Iterator[Entry]:
        place: tuple[str, int] = ("", 0)
        sql = f"SELECT {_COLUMNS} FROM entries WHERE (strand, number) > (?, ?) ORDER BY strand, number LIMIT {_PORTION}"  # noqa: S608
        while True:
            with self._database.connection() as connection:
                entries = [Entry(*row) for row in connection.db.execute(sql, place)]
            yield from entries
            if len(entries) < _PORTION:
                return
            place = (entries[-1].strand, entries[-1].number)

    def find(self, query: LedgerQuery, *, limit_s: float | None = None) -> Iterator[Entry]:
        conditions, values = _conditions(query)
        with self._database.connection() as connection:
            # The names first: they are small, and no statement stays open while the caller thinks.
            names = connection.db.execute(
                f"SELECT rowid FROM entries WHERE {conditions} ORDER BY time, strand, number",  # noqa: S608
                values,
            ).fetchall()
        for (rowid,) in names:
            with self._database.connection() as connection:
                row = connection.db.execute(f"SELECT {_COLUMNS} FROM entries WHERE rowid = ?", (rowid,)).fetchone()  # noqa: S608
            if row is not None:  # else it was removed meanwhile
                yield Entry(*row)

    def latest(self, partner: str, limit: int) -> list[Entry]:
        sql = f"SELECT {_COLUMNS} FROM entries WHERE partner = ? ORDER BY time DESC, strand, number DESC LIMIT ?"  # noqa: S608
        with self._database.connection() as connection:
            return [Entry(*row) for row in connection.db.execute(sql, (partner, limit))]


def _conditions(query: LedgerQuery) -> tuple[str, list[object]]:
    conditions, values = ["time >= ?", "time <= ?"], [query.since, query.until]
    parts: list[tuple[str, Sequence[object]]] = []
    if query.kinds is not None:
        marks = ", ".join("?" * len(query.kinds))
        parts.append((f"kind IN {NAMING}", ()) if query.kinds == NAMING else (f"kind IN ({marks})", query.kinds))
    if query.partner is not None:
        parts.append(("partner = ?", (query.partner,)))
    if query.object is not None:
        parts.append(("object = ? AND object <> ''", (query.object,)))
    if query.position is not None:
        parts.append(("last > 0 AND last >= ? AND first <= ?", (query.position, query.position)))
    return " AND ".join([*conditions, *(part for part, _ in parts)]), [*values, *(v for _, each in parts for v in each)]


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The schema of the file, 0 for an empty one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (version or tables) and application != APPLICATION_ID:
        raise StorageError(f"{path}: not a ledger of taxii-server")
    if version > VERSION:
        raise SchemaTooNew(f"{path}: the ledger has schema {version}, this release knows {VERSION}")
    return int(version)
