"""The quarantine in the SQLite file of the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from taxii_server.storage.quarantine import Entry, EntryQuery, Quarantine, State
from taxii_server.storage.sqlite_connection import Database

#: The content comes last, as in `records`. One entry for each content of an object: `quarantine_by_object` says so.
SCHEMA = (
    """CREATE TABLE quarantine (
        id TEXT PRIMARY KEY,
        collection TEXT NOT NULL,
        submitter TEXT NOT NULL,
        object_id TEXT NOT NULL,
        type TEXT NOT NULL,
        spec_version TEXT NOT NULL,
        version TEXT,
        version_key TEXT,
        digest BLOB NOT NULL,
        guard TEXT NOT NULL,
        held INTEGER NOT NULL,
        state TEXT NOT NULL,
        decided INTEGER NOT NULL,
        decided_by TEXT NOT NULL,
        content BLOB NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX quarantine_by_object ON quarantine (object_id, collection, submitter, digest)",
    "CREATE INDEX quarantine_by_collection ON quarantine (collection, held, id)",
    "CREATE INDEX quarantine_by_time ON quarantine (held, id)",
)

_COLUMNS = (
    "id, collection, submitter, object_id, type, spec_version, version, version_key, digest, guard, held, state,"
    " decided, decided_by"
)


class SQLiteQuarantine(Quarantine):
    """The table `quarantine`. `now` gives µs since 1970."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def hold(self, entries: Sequence[Entry]) -> list[Entry]:
        kept: list[Entry] = []
        with self._database.writing() as db:
            held = self._now()
            for each in entries:
                key = (each.object_id, each.collection, each.submitter, each.digest)
                sql = (
                    f"SELECT {_COLUMNS} FROM quarantine WHERE (object_id, collection, submitter, digest) = (?, ?, ?, ?)"  # noqa: S608
                )
                row = db.execute(sql, key).fetchone()
                if row is not None:
                    kept.append(_entry(row))
                    continue
                entry = replace(each, held=held)
                places = ", ".join("?" * 15)
                db.execute(f"INSERT INTO quarantine ({_COLUMNS}, content) VALUES ({places})", _row(entry))  # noqa: S608
                kept.append(replace(entry, content=b""))
        return kept

    def find(self, collection: str, submitter: str, object_ids: Collection[str]) -> list[Entry]:
        sql = (
            f"SELECT {_COLUMNS} FROM quarantine"  # noqa: S608
            " WHERE object_id IN (SELECT value FROM json_each(?)) AND collection = ? AND submitter = ?"
            " ORDER BY held, id"
        )
        return [_entry(row) for row in self._read(sql, json.dumps(list(object_ids)), collection, submitter)]

    def entry(self, entry_id: str) -> Entry | None:
        rows = self._read(f"SELECT {_COLUMNS}, content FROM quarantine WHERE id = ?", entry_id)  # noqa: S608
        return _entry(rows[0]) if rows else None

    def page(self, query: EntryQuery) -> list[Entry]:
        conditions, values = ["state IN (SELECT value FROM json_each(?))"], [json.dumps(query.states)]
        more: list[Any] = []
        for name in ("collection", "submitter"):
            if (wanted := getattr(query, name)) is not None:
                conditions.append(f"{name} = ?")
                more.append(wanted)
        if query.after is not None:
            conditions.append("(held, id) > (?, ?)")
            more += query.after
        where = " AND ".join(conditions)
        sql = f"SELECT {_COLUMNS} FROM quarantine WHERE {where} ORDER BY held, id LIMIT ?"  # noqa: S608
        return [_entry(row) for row in self._read(sql, *values, *more, query.limit)]

    def move(
        self, entry_id: str, sources: Collection[State], state: State, by: str, *, erase: bool = False
    ) -> Entry | None:
        content = ", content = x''" if erase else ""
        sql = (
            f"UPDATE quarantine SET state = ?, decided = ?, decided_by = ?{content}"  # noqa: S608
            f" WHERE id = ? AND state IN (SELECT value FROM json_each(?)) RETURNING {_COLUMNS}"
        )
        with self._database.writing() as db:
            # All rows, or the statement is not over when the transaction ends.
            rows = db.execute(sql, (state, self._now(), by, entry_id, json.dumps(list(sources)))).fetchall()
        return _entry(rows[0]) if rows else None

    def _read(self, sql: str, *values: object) -> list[Any]:
        with self._database.connection() as connection:
            return connection.db.execute(sql, values).fetchall()


def _row(entry: Entry) -> tuple[object, ...]:
    """In the order of the columns, the content last."""
    return (
        entry.id,
        entry.collection,
        entry.submitter,
        entry.object_id,
        entry.type,
        entry.spec_version,
        entry.version,
        entry.version_key,
        entry.digest,
        entry.guard,
        entry.held,
        entry.state,
        entry.decided,
        entry.decided_by,
        entry.content,
    )


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(*row)
