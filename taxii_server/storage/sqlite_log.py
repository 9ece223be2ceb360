"""The log in the SQLite file of the store. A hash stands for a pair in its index: payloads can be large."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping

from taxii_server.storage.sqlite_events import LOG_LENGTH


def hash_of(kind: str, payload: str) -> str:
    """Kinds hold no NUL, so pairs cannot run together."""
    return hashlib.sha256(f"{kind}\0{payload}".encode()).hexdigest()


def numbers_of(db: sqlite3.Connection, hashes: Iterable[str]) -> dict[str, int]:
    """The numbers of those pairs that the log has."""
    sql = "SELECT hash, number FROM log WHERE hash IN (SELECT value FROM json_each(?))"
    return dict(db.execute(sql, (json.dumps(list(hashes)),)).fetchall())


def append_missing(db: sqlite3.Connection, wanted: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Append what the log does not have, inside a write transaction; the numbers of everything wanted."""
    numbers = numbers_of(db, wanted)
    (length,) = db.execute(LOG_LENGTH).fetchone()
    missing = [hash_ for hash_ in wanted if hash_ not in numbers]
    new = {hash_: number for number, hash_ in enumerate(missing, start=length + 1)}
    rows = ((number, *wanted[hash_], hash_) for hash_, number in new.items())
    db.executemany("INSERT INTO log (number, kind, payload, hash) VALUES (?, ?, ?, ?)", rows)
    return numbers | new
