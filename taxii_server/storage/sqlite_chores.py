"""Leases and old rows in the SQLite file of the store."""

from __future__ import annotations

from collections.abc import Callable

from taxii_server.storage.chores import Chores
from taxii_server.storage.sqlite_connection import Database

SCHEMA = (
    """CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
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

    def forget_statuses(self) -> int:
        with self._database.writing() as db:
            return db.execute("DELETE FROM statuses WHERE expires <= ?", (self._now(),)).rowcount

    def forget_catalogs(self, before: int) -> int:
        with self._database.writing() as db:
            return db.execute(_OLD, (before,)).rowcount
