"""The SQLite store as a check looks at it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from taxii_server.model import Record
from taxii_server.storage.inspection import Found, Inspection, Oddity
from taxii_server.storage.sqlite_connection import Database
from taxii_server.storage.sqlite_query import COLUMNS

_RECORDS = (
    f"SELECT {COLUMNS}, r.content FROM records AS r INDEXED BY records_by_id"  # noqa: S608
    " WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY r.id, r.position"
)
_IDS = "SELECT DISTINCT id FROM records INDEXED BY records_by_id WHERE id > ? ORDER BY id LIMIT ?"
_HAS_REF = "SELECT 1 FROM refs WHERE target = ? AND position = ?"
_STRAYS = (
    "FROM refs WHERE NOT EXISTS (SELECT 1 FROM records AS r WHERE r.position = refs.position AND"
    " (instr(r.hard_refs, '\"' || refs.target || '\"') OR instr(r.soft_refs, '\"' || refs.target || '\"')))"
)
_SHOWN = 20


class SQLiteInspection(Inspection):
    """The file of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ids(self, after: str, limit: int) -> list[str]:
        with self._database.connection() as connection:
            return [row[0] for row in connection.db.execute(_IDS, (after, limit))]

    def records(self, ids: Collection[str]) -> list[Found]:
        with self._database.connection() as connection, self._database.reading(connection) as db:
            return [_found(db, row) for row in db.execute(_RECORDS, (json.dumps(list(ids)),)).fetchall()]

    def oddities(self) -> list[Oddity]:
        with self._database.connection() as connection, self._database.reading(connection) as db:
            found = [
                Oddity("database", "file", str(row[0]))
                for row in db.execute(f"PRAGMA integrity_check({_SHOWN})")
                if row[0] != "ok"
            ]
            found += [
                Oddity("references", str(position), f"a row of {target} leads to no such reference", is_mended=True)
                for target, position in db.execute(f"SELECT target, position {_STRAYS}")
            ]
            for number, kind, payload, hash_ in db.execute("SELECT number, kind, payload, hash FROM log"):
                if hashlib.sha256(f"{kind}\0{payload}".encode()).hexdigest() != hash_:
                    found.append(Oddity("log", str(number), "was changed: its hash is another one"))
        return found

    def mend(self, records: Sequence[Record]) -> None:
        with self._database.writing() as db:
            db.execute(f"DELETE {_STRAYS}")
            for each in records:
                refs = json.dumps(each.hard_refs), json.dumps(each.soft_refs)
                values = (each.id, each.type, each.version, each.version_key, *refs, each.position)
                changed = db.execute(
                    "UPDATE records SET id = ?, type = ?, version = ?, version_key = ?, hard_refs = ?, soft_refs = ?"
                    " WHERE position = ?",
                    values,
                )
                if changed.rowcount:
                    db.execute("DELETE FROM refs WHERE position = ?", (each.position,))
                    db.executemany(
                        "INSERT OR IGNORE INTO refs (target, position) VALUES (?, ?)",
                        ((target, each.position) for target in (*each.hard_refs, *each.soft_refs)),
                    )


def _found(db: sqlite3.Connection, row: Sequence[Any]) -> Found:
    unreadable = ""
    refs: list[tuple[str, ...]] = []
    for name, text in (("hard_refs", row[10]), ("soft_refs", row[11])):
        try:
            refs.append(tuple(map(str, json.loads(text))))
        except (ValueError, TypeError):
            refs.append(())
            unreadable = f"{name} is not a list"
    position = row[0]
    is_found = all(db.execute(_HAS_REF, (ref, position)).fetchone() for each in refs for ref in each)
    return Found(Record(*(*row[:10], *refs, row[12])), unreadable, is_found)
