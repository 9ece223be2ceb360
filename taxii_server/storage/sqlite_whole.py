"""The SQLite database as a whole: read at one point in time, and written anew beside the old one."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.storage import sqlite_terms as found_by
from taxii_server.storage.disk import sync
from taxii_server.storage.sqlite_connection import Database
from taxii_server.storage.whole import PARTS, Facts, Loading, Row, Snapshot, Whole
from taxii_server.times import format_position, now_position

if TYPE_CHECKING:
    from taxii_server.storage.sqlite import SQLiteStore

_TABLES = {part: "entries" if part == "ledger" else part for part in PARTS}
_ORDER = {"log": "number", "records": "position", "catalogs": "epoch", "bands": "event, first"}
_SUFFIXES = ("", "-wal", "-shm")
_REFS = "INSERT OR IGNORE INTO refs (target, position) VALUES (?, ?)"


class SQLiteWhole(Whole):
    """The two files of a store. `new` makes a store on another path."""

    def __init__(self, database: Database, ledger: Database, new: Callable[[Path], SQLiteStore]) -> None:
        self._database = database
        self._ledger = ledger
        self._new = new

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with ExitStack() as stack:
            opened: list[sqlite3.Connection] = []
            # The ledger last: it may tell of more than the records, never of less.
            for database in (self._database, self._ledger):
                connection = stack.enter_context(database.connection())
                db = stack.enter_context(database.reading(connection))
                db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on nothing new is seen
                opened.append(db)
            yield _Snapshot(*opened)

    def is_empty(self) -> bool:
        path = self._database.path
        if not path.exists() or path.stat().st_size == 0:
            return True
        tables = [f"SELECT EXISTS (SELECT 1 FROM {_TABLES[part]})" for part in PARTS if part != "ledger"]  # noqa: S608
        with suppress(StorageError), self._database.connection() as connection:
            return not any(connection.db.execute(each).fetchone()[0] for each in tables)
        return False

    def last_position(self) -> int:
        if self._database.path.exists():
            with suppress(StorageError), self._database.connection() as connection:
                return int(connection.db.execute("SELECT last_position FROM facts").fetchone()[0])
        return 0

    @contextmanager
    def replace(self) -> Iterator[Loading]:
        path = self._database.path
        beside = path.with_name(f"{path.name}.restoring-{secrets.token_hex(4)}")
        self._database.rest()
        self._ledger.rest()
        for each in (path, self._ledger.path):
            _require_alone(each)
        store = self._new(beside)
        try:
            store.prepare()
            yield _Loading(store, self._database, self._ledger)
        finally:
            store.close()
            for each in (beside, beside.with_name(f"{beside.name}-ledger")):
                _remove(each)


class _Snapshot(Snapshot):
    def __init__(self, db: sqlite3.Connection, ledger: sqlite3.Connection) -> None:
        self._db, self._ledger = db, ledger

    def facts(self) -> Facts:
        row = self._db.execute("SELECT secret, last_position, credentials_epoch FROM facts").fetchone()
        return Facts(bytes(row[0]), *row[1:])

    def count(self, part: str) -> int:
        (number,) = self._of(part).execute(f"SELECT count(*) FROM {_TABLES[part]}").fetchone()  # noqa: S608
        return int(number)

    def rows(self, part: str) -> Iterator[Row]:
        columns, order = ", ".join(PARTS[part]), _ORDER.get(part, next(iter(PARTS[part])))
        if part == "ledger":
            order = "strand, number"
        cursor = self._of(part).execute(f"SELECT {columns} FROM {_TABLES[part]} ORDER BY {order}")  # noqa: S608
        if part != "records":
            yield from cursor
            return
        for row in cursor:
            yield (*row[:10], _refs(row[10]), _refs(row[11]), row[12])

    def positions(self) -> Iterator[int]:
        for (position,) in self._db.execute("SELECT position FROM records ORDER BY position"):
            yield position

    def _of(self, part: str) -> sqlite3.Connection:
        return self._ledger if part == "ledger" else self._db


class _Loading(Loading):
    """Fills a store of its own, whose files then take the place of the others."""

    def __init__(self, store: SQLiteStore, target: Database, ledger: Database) -> None:
        self._store = store
        self._target, self._target_ledger = target, ledger
        self._database, self._ledger = store.databases()

    def put(self, part: str, rows: Sequence[Row], terms: Sequence[Sequence[int]] | None = None) -> None:
        names = list(PARTS[part])
        known: Sequence[Sequence[int] | None] = ()
        values: Sequence[Sequence[Any]] = rows
        if part == "log":
            names.append("hash")
            values = [(*row, _hash(*row[1:])) for row in rows]
        elif part == "records":
            names.append("terms")
            known = terms or [None] * len(rows)
            values = [
                (*row[:10], _text(row[10]), _text(row[11]), row[12], found_by.packed(each))
                for row, each in zip(rows, known, strict=True)
            ]
        marks = ", ".join("?" * len(names))
        database = self._ledger if part == "ledger" else self._database
        with database.writing() as db:
            db.executemany(f"INSERT INTO {_TABLES[part]} ({', '.join(names)}) VALUES ({marks})", values)  # noqa: S608
            if part == "records":
                found_by.remember(db, ((row[0], row[8], each) for row, each in zip(values, known, strict=True)))
                db.executemany(
                    _REFS,
                    ((ref, row[0]) for row in rows for refs in row[10:12] if isinstance(refs, tuple) for ref in refs),
                )

    def finish(self, facts: Facts) -> str:
        with self._database.writing() as db:
            db.execute(
                "UPDATE facts SET secret = ?, last_position = ?, credentials_epoch = ?",
                (facts.secret, facts.clock, facts.credentials_epoch),
            )
        self._store.close()
        for database in (self._database, self._ledger):
            _settle(database.path)
        kept = [aside for each in (self._target_ledger, self._target) if (aside := _keep(each.path))]
        # Each step alone leaves a database that works; the one with the records comes last.
        self._ledger.path.replace(self._target_ledger.path)
        self._database.path.replace(self._target.path)
        sync(self._target.path.parent)
        return f"what was there before is kept as {kept[-1]}" if kept else ""


def _hash(kind: object, payload: object) -> str:
    return hashlib.sha256(f"{kind}\0{payload}".encode()).hexdigest()


def _require_alone(path: Path) -> None:
    """Nobody else has the file open: its write-ahead log can be switched off, and is. A damaged one may be replaced."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=1)) as db:
            db.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise StorageUnavailable(
                f"{path}: another process has the database open; stop the server first, nothing was changed"
            ) from error
    except sqlite3.DatabaseError:
        return


def _settle(path: Path) -> None:
    """All of the file in the file itself, and on the disk."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sync(path)


def _keep(path: Path) -> Path | None:
    """The old file under another name too, with what belongs to it; None when there was none."""
    if not path.exists():
        return None
    stamp = format_position(now_position()).replace(":", "").replace("-", "")[:15]
    aside = path.with_name(f"{path.name}.before-restore-{stamp}-{secrets.token_hex(2)}")
    try:
        os.link(path, aside)
    except OSError:  # not every file system has links
        shutil.copyfile(path, aside)
        aside.chmod(0o600)
    for suffix in _SUFFIXES[1:]:
        # A log that stayed would be played into the new file.
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _remove(path: Path) -> None:
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()


def _refs(text: str) -> tuple[str, ...] | str:
    if text == "[]":
        return ()
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        return text
    return tuple(found)


def _text(refs: object) -> str:
    return refs if isinstance(refs, str) else json.dumps(refs)
