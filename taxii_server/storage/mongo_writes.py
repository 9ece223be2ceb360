"""The steps of a write on MongoDB: what a plan becomes inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence

from bson import Int64
from pymongo import ASCENDING, UpdateMany
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.model import Record
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.base import Plan
from taxii_server.storage.mongo_connection import ALL_AT_ONCE, CLOCK, Document
from taxii_server.storage.mongo_events import InsideMongo
from taxii_server.storage.mongo_schema import portions


def records_of(database: Database[Document], session: ClientSession, ids: list[str]) -> list[Record]:
    """The records of these ids, each id's in ascending position: the order of the index, nothing is sorted."""
    if not ids:
        return []
    condition = {"i": {"$in": ids}, "_id": {"$gte": Int64(0)}}
    rows = database["records"].find(
        condition, schema.WITHOUT_CONTENT, session=session, hint=schema.BY_ID, batch_size=ALL_AT_ONCE
    )
    return [schema.record_of(row) for row in rows.sort([("i", ASCENDING), ("_id", ASCENDING)])]


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


def move_clock(inside: InsideMongo, moved: Document) -> None:
    if moved:
        inside.database["meta"].update_one({"_id": CLOCK}, {"$set": moved}, session=inside.session)
