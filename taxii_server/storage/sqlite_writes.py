"""The steps of a write on SQLite: what a plan becomes inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from taxii_server.model import Draft
from taxii_server.storage import sqlite_events as events
from taxii_server.storage import sqlite_terms as found_by
from taxii_server.storage.base import Plan, placed
from taxii_server.storage.sqlite_query import INSERT


def clear(db: sqlite3.Connection, plan: Plan) -> None:
    """Deletions and label changes of the plan."""
    events.forget_references(db, plan.deletes)
    found_by.forget(db, plan.deletes)
    found_by.move(db, plan.relabels)
    db.executemany("DELETE FROM records WHERE position = ?", ((position,) for position in plan.deletes))
    db.executemany(
        "UPDATE records SET label = ? WHERE position = ?",
        ((label, position) for position, label in plan.relabels.items()),
    )


def insert(db: sqlite3.Connection, plan: Plan, positions: Sequence[int]) -> None:
    """Its insertions at these positions."""
    placed = [(position, draft, label) for position, (draft, label) in zip(positions, plan.inserts, strict=True)]
    db.executemany(INSERT, (row_of(*each) for each in placed))
    events.remember_references(db, positions, [draft for draft, _ in plan.inserts])
    found_by.remember(db, ((position, label, draft.terms) for position, draft, label in placed))


def row_of(position: int, draft: Draft, label: int) -> tuple[object, ...]:
    """A row of `records`, in the order of its columns."""
    record = placed(draft, label, position)
    return (
        *record[:10],
        events.packed_refs(record.hard_refs),
        events.packed_refs(record.soft_refs),
        record.content,
        found_by.packed(draft.terms),
    )
