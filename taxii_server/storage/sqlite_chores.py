"""Leases, notes and old rows in the SQLite file of the store."""

from __future__ import annotations

from collections.abc import Callable

from taxii_server.storage.chores import Chores
from taxii_server.storage.sqlite_connection import Database
from taxii_server.storage.sqlite_statuses import sweep

SCHEMA = (
    """CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
NOTES = ("CREATE TABLE memos (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID",)
_TAKE = (
    "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE"
    " SET holder = ?2, until = ?3 WHERE until <= ?4 OR (?5 AND holder = ?2)"
)
#: A configuration was replaced when the next one was applied.
_OLD = (
    "DELETE FROM catalogs WHERE epoch + 1 < (SELECT min(coalesce((SELECT min(epoch) FROM catalogs WHERE applied >= ?),"
    " (SELECT max(epoch) FROM catalogs)), (SELECT max(epoch) FROM catalogs)))"
)


class SQLiteChores(Chores):
    """The tables of the store. `now` gives µs since 1970."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def take(self, name: str, holder: str, duration_us: int, *, renew: bool = False) -> bool:
        now = self._now()
        with self._database.writing() as db:
            return db.execute(_TAKE, (name, holder, now + duration_us, now, renew)).rowcount > 0

    def give_back(self, name: str, holder: str) -> None:
        with self._database.writing() as db:
            db.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))

    def note(self, name: str, text: str) -> None:
        with self._database.writing() as db:
            if text:
                db.execute("INSERT OR REPLACE INTO memos (name, text) VALUES (?, ?)", (name, text))
            else:
                db.execute("DELETE FROM memos WHERE name = ?", (name,))

    def notes(self, prefix: str = "") -> dict[str, str]:
        with self._database.connection() as connection:
            query = "SELECT name, text FROM memos WHERE substr(name, 1, ?) = ? ORDER BY name"
            return dict(connection.db.execute(query, (len(prefix), prefix)).fetchall())

    def forget_statuses(self) -> int:
        with self._database.writing() as db:
            return sweep(db, self._now())

    def forget_catalogs(self, before: int) -> int:
        with self._database.writing() as db:
            return db.execute(_OLD, (before,)).rowcount
