"""What records are found by in the SQLite store: the rows of `terms`, kept in step with `records`."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence

from taxii_server.model import Record
from taxii_server.storage.base import UNFILLED
from taxii_server.storage.sqlite_events import ascending
from taxii_server.storage.sqlite_query import COLUMNS

_INSERT = "INSERT OR IGNORE INTO terms (term, label, position) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM terms WHERE term = ? AND label = ? AND position = ?"
_FOUND_BY = "SELECT label, terms FROM records WHERE position = ?"
_UNFILLED = (
    f"SELECT {COLUMNS}, r.content FROM (SELECT position FROM terms WHERE term = {UNFILLED} LIMIT ?) AS hit"  # noqa: S608
    " CROSS JOIN records AS r ON r.position = hit.position"
)
#: Whether there is any record whose terms are not known.
ANY_UNFILLED = f"SELECT EXISTS (SELECT 1 FROM terms WHERE term = {UNFILLED})"  # noqa: S608


def packed(terms: Sequence[int] | None) -> bytes:
    """What stands in `records.terms`."""
    known = (UNFILLED,) if terms is None else terms
    return struct.pack(f"<{len(known)}q", *known)


def unpacked(packed_terms: bytes) -> tuple[int, ...]:
    """The terms in it."""
    return struct.unpack(f"<{len(packed_terms) // 8}q", packed_terms)


def remember(db: sqlite3.Connection, rows: Iterable[tuple[int, int, Sequence[int] | None]]) -> None:
    """Make new records found; rows of position, label, terms."""
    found = [
        (term, label, position) for position, label, terms in rows for term in ((UNFILLED,) if terms is None else terms)
    ]
    # In the order of the index: each of its pages is touched once.
    found.sort()
    db.executemany(_INSERT, found)


def forget(db: sqlite3.Connection, positions: Iterable[int]) -> None:
    """Before these records are deleted."""
    for position in positions:
        for label, terms in db.execute(_FOUND_BY, (position,)).fetchall():
            db.executemany(_DELETE, [(term, label, position) for term in unpacked(terms)])


def move(db: sqlite3.Connection, labels: Mapping[int, int]) -> None:
    """Before these records, by position, get these labels."""
    for position, new in labels.items():
        for label, terms in db.execute(_FOUND_BY, (position,)).fetchall():
            known = unpacked(terms)
            db.executemany(_DELETE, [(term, label, position) for term in known])
            db.executemany(_INSERT, [(term, new, position) for term in known])


def unfilled(db: sqlite3.Connection, limit: int) -> list[Record]:
    """Records whose terms are not known, with content."""
    return ascending(db.execute(_UNFILLED, (limit,)))


def fill(db: sqlite3.Connection, terms: Mapping[int, Sequence[int]]) -> None:
    """Write the terms of these records where they are not known."""
    wanted = json.dumps(list(terms))
    sql = "SELECT position, label, terms FROM records WHERE position IN (SELECT value FROM json_each(?))"
    for position, label, known in db.execute(sql, (wanted,)).fetchall():
        if unpacked(known) == (UNFILLED,):
            db.execute(_DELETE, (UNFILLED, label, position))
            db.executemany(_INSERT, [(term, label, position) for term in terms[position]])
            db.execute("UPDATE records SET terms = ? WHERE position = ?", (packed(terms[position]), position))
