"""The steps of a write on MongoDB: what a plan becomes inside its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bson import Int64
from pymongo import UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.model import Record
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.base import UNFILLED, Plan
from taxii_server.storage.mongo_connection import CLOCK, Document
from taxii_server.storage.mongo_events import InsideMongo
from taxii_server.storage.mongo_schema import portions


def clear(database: Database[Document], session: ClientSession, plan: Plan) -> None:
    """Deletions and label changes of the plan."""
    records = database["records"]
    for some in portions(list(plan.deletes)):
        records.delete_many({"_id": {"$in": some}}, session=session)
    by_label: dict[int, list[int]] = {}
    for position, label in plan.relabels.items():
        by_label.setdefault(label, []).append(position)
    changes = [
        UpdateMany({"_id": {"$in": some}}, {"$set": {"L": label}})
        for label, moved in by_label.items()
        for some in portions(moved)
    ]
    if changes:
        records.bulk_write(changes, session=session)


def insert(database: Database[Document], session: ClientSession, plan: Plan, positions: Sequence[int]) -> None:
    database["records"].insert_many(
        [
            schema.document_of(draft, label, position)
            for (draft, label), position in zip(plan.inserts, positions, strict=True)
        ],
        session=session,
    )


def any_unfilled(database: Database[Document]) -> bool:
    """Whether there is any record whose terms are not known."""
    return database["records"].find_one({"x": Int64(UNFILLED)}, {"_id": 1}, hint=schema.BY_TERM) is not None


def unfilled(database: Database[Document], session: ClientSession, limit: int) -> list[Record]:
    """Records whose terms are not known, with content."""
    rows = database["records"].find(
        {"x": Int64(UNFILLED)}, schema.WITH_CONTENT, session=session, hint=schema.BY_TERM, limit=limit
    )
    return sorted(map(schema.record_of, rows), key=lambda record: record.position)


def fill(database: Database[Document], terms: Mapping[int, Sequence[int]]) -> None:
    """Write the terms of these records where they are not known."""
    changes = [
        UpdateOne({"_id": Int64(position), "x": Int64(UNFILLED)}, {"$set": {"x": schema.terms_of(known)}})
        for position, known in terms.items()
    ]
    database["records"].bulk_write(changes, ordered=False)


def move_clock(inside: InsideMongo, moved: Document) -> None:
    if moved:
        inside.database["meta"].update_one({"_id": CLOCK}, {"$set": moved}, session=inside.session)
