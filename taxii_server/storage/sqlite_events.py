"""Events, references and aliases of copies in the SQLite store: what a transaction does besides records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from taxii_server.model import Draft, EventPlan, PageQuery, Record
from taxii_server.storage.bands import Chunk, draw_places, pack
from taxii_server.storage.base import group_by_id
from taxii_server.storage.sqlite_query import COLUMNS, LOOKUP, page_statement

LOG_LENGTH = "SELECT coalesce(max(number), 0) FROM log"
EPOCH = "SELECT coalesce(max(epoch), 0) FROM catalogs"
_BATCH = 20_000
_NO_REFS = "[]"

_REFERRERS = (
    f"SELECT {COLUMNS}, x'' FROM (SELECT DISTINCT position FROM refs"  # noqa: S608
    " WHERE target IN (SELECT value FROM json_each(?))) AS hit CROSS JOIN records AS r ON r.position = hit.position"
)
_AT = (
    f"SELECT {COLUMNS}, {{}} FROM (SELECT value AS position FROM json_each(?)) AS hit"  # noqa: S608
    " CROSS JOIN records AS r ON r.position = hit.position"
)
_FORGET = (
    "DELETE FROM refs WHERE position = ?1 AND target IN (SELECT j.value FROM records AS r, json_each(r.hard_refs) AS j"
    " WHERE r.position = ?1 UNION SELECT j.value FROM records AS r, json_each(r.soft_refs) AS j WHERE r.position = ?1)"
)
#: The chunks of an event that reach beyond a place, ascending. The classes come as a JSON list.
CHUNKS = (
    "SELECT class, first, last, low, high, entries FROM bands WHERE event = ? AND last > ?"
    " AND class IN (SELECT value FROM json_each(?)) ORDER BY first"
)
#: The chunks that may have an entry of a record between two positions.
CHUNKS_OF = (
    "SELECT class, first, last, low, high, entries FROM bands WHERE event = ? AND high >= ? AND low <= ?"
    " AND class IN (SELECT value FROM json_each(?))"
)


class InsideSQLite:
    """A write transaction as an event sees it (base.Inside)."""

    def __init__(self, db: sqlite3.Connection, want: Callable[[tuple[int, ...]], None]) -> None:
        self._db = db
        self._want = want
        (self.log_length,) = db.execute(LOG_LENGTH).fetchone()
        (self.epoch,) = db.execute(EPOCH).fetchone()

    def records(self, query: PageQuery) -> list[Record]:
        statement = page_statement(query)
        if statement is None:
            return []
        if statement.wanted:
            self._want(statement.wanted)
        return ascending(self._db.execute(statement.sql, statement.values))

    def referrers(self, ids: Collection[str]) -> list[Record]:
        return referrers(self._db, ids)

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        return group_by_id(records_of(self._db, ids))


def write_event(
    db: sqlite3.Connection, plan: EventPlan, base: int, positions: Sequence[int], hash_of: Callable[[str, str], str]
) -> int:
    """The rows of an event whose first place is `base`; its last place."""
    places = draw_places(base, len(plan.entries))
    end = places[-1] if places else base
    payload = plan.payload(base, end, positions)
    (length,) = db.execute(LOG_LENGTH).fetchone()
    number = length + 1
    db.execute(
        "INSERT INTO log (number, kind, payload, hash) VALUES (?, 'event', ?, ?)",
        (number, payload, hash_of("event", payload)),
    )
    db.executemany(
        "INSERT INTO bands (event, first, class, last, low, high, entries) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (number, each.first, each.event_class, each.last, each.low, each.high, each.entries)
            for each in pack(places, plan.entries)
        ),
    )
    return end


def chunks(rows: Iterable[Sequence[Any]]) -> Iterable[Chunk]:
    return (Chunk(*row) for row in rows)


# ---- references


def remember_references(db: sqlite3.Connection, positions: Sequence[int], drafts: Sequence[Draft]) -> None:
    """Make these drafts found by what they refer to."""
    db.executemany(
        "INSERT OR IGNORE INTO refs (target, position) VALUES (?, ?)",
        (
            (target, position)
            for position, draft in zip(positions, drafts, strict=True)
            for target in (*draft.hard_refs, *draft.soft_refs)
        ),
    )


def forget_references(db: sqlite3.Connection, positions: Iterable[int]) -> None:
    """Before these records are deleted."""
    db.executemany(_FORGET, ((position,) for position in positions))


def referrers(db: sqlite3.Connection, ids: Collection[str]) -> list[Record]:
    """The records that refer to one of these ids, ascending position."""
    return ascending(db.execute(_REFERRERS, (json.dumps(list(ids)),)))


def records_of(db: sqlite3.Connection, ids: Collection[str]) -> list[Record]:
    """All records of these ids, without content, in one statement however many ids there are."""
    return ascending(db.execute(LOOKUP, (json.dumps(list(ids)),)))


def rows_at(db: sqlite3.Connection, positions: Collection[int], content: bool) -> sqlite3.Cursor:
    """The rows at these positions, in the order given."""
    return db.execute(_AT.format("r.content" if content else "x''"), (json.dumps(list(positions)),))


# ---- aliases


def save_aliases(db: sqlite3.Connection, originals: Mapping[str, str]) -> None:
    db.executemany("INSERT OR IGNORE INTO aliases (id, original) VALUES (?, ?)", originals.items())


def aliases(db: sqlite3.Connection, ids: Collection[str]) -> dict[str, str]:
    sql = "SELECT id, original FROM aliases WHERE id IN (SELECT value FROM json_each(?))"
    return dict(db.execute(sql, (json.dumps(list(ids)),)).fetchall())


# ---- rows


_new_tuple = tuple.__new__


def record(row: Sequence[Any]) -> Record:
    """A row of `records` in the order of COLUMNS, and the content."""
    hard, soft = row[10], row[11]
    # Past the constructor with its thirteen parameters, as the other store does.
    if hard == soft == _NO_REFS:
        return _new_tuple(Record, (*row[:10], (), (), row[12]))
    return _new_tuple(Record, (*row[:10], _refs(hard), _refs(soft), row[12]))


def ascending(rows: Iterable[Sequence[Any]]) -> list[Record]:
    """Rows of `records` as records, ascending position."""
    return sorted(map(record, rows), key=position_of)


def position_of(each: Record) -> int:
    return each.position


def packed_refs(refs: Sequence[str]) -> str:
    """What stands in `hard_refs` and `soft_refs`; most objects have none (2.4 us less for one)."""
    return json.dumps(refs) if refs else _NO_REFS


def _refs(text: str) -> tuple[str, ...]:
    return () if text == _NO_REFS else tuple(orjson.loads(text))
