"""Status resources in the SQLite file of the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from taxii_server.model import StoredStatus


def write(db: sqlite3.Connection, statuses: Iterable[StoredStatus], now: int) -> None:
    """Write these, and remove what has expired by now (µs): a look into an index when there is nothing."""
    sweep(db, now)
    db.executemany(
        "INSERT OR REPLACE INTO statuses (id, api_root, submitter, body, expires) VALUES (?, ?, ?, ?, ?)",
        [(each.id, each.api_root, each.submitter, each.body, each.expires) for each in statuses],
    )


def sweep(db: sqlite3.Connection, now: int) -> int:
    """Remove what has expired; how many."""
    return db.execute("DELETE FROM statuses WHERE expires <= ?", (now,)).rowcount


def find(db: sqlite3.Connection, status_id: str, now: int) -> StoredStatus | None:
    """As Store.status."""
    sql = "SELECT id, api_root, submitter, body, expires FROM statuses WHERE id = ? AND expires > ?"
    row = db.execute(sql, (status_id, now)).fetchone()
    return StoredStatus(*row) if row else None


def recent(db: sqlite3.Connection, limit: int, head_bytes: int) -> list[StoredStatus]:
    """As Store.recent_statuses."""
    sql = "SELECT id, api_root, submitter, substr(body, 1, ?), expires FROM statuses ORDER BY expires DESC LIMIT ?"
    return [StoredStatus(*row) for row in db.execute(sql, (head_bytes, limit)).fetchall()]
