"""Status resources in the MongoDB database of the store."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from bson import Int64
from pymongo import DESCENDING, DeleteMany, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.model import StoredStatus
from taxii_server.storage.mongo_connection import Document

COLLECTION = "statuses"
#: How often expired statuses are removed while others are written.
_SWEEP_S = 60.0


class Sweeps:
    """When expired statuses were removed last.

    By the writers and not by a TTL index, which wants BSON dates. Not each time: it is one more command.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def are_due(self) -> bool:
        return time.monotonic() >= self._next

    def are_done(self) -> None:
        self._next = time.monotonic() + _SWEEP_S


def insert(database: Database[Document], session: ClientSession, statuses: Iterable[StoredStatus]) -> None:
    """Write these inside a transaction, with one command."""
    database[COLLECTION].insert_many([{"_id": each.id, **_document(each)} for each in statuses], session=session)


def save(database: Database[Document], statuses: Iterable[StoredStatus], expired: int | None) -> None:
    """Write these by themselves; with `expired`, remove what has expired by then (µs)."""
    changes: list[DeleteMany | ReplaceOne[Document]] = [
        ReplaceOne({"_id": each.id}, _document(each), upsert=True) for each in statuses
    ]
    if expired is not None:
        changes.insert(0, DeleteMany(_expired(expired)))
    database[COLLECTION].bulk_write(changes, ordered=False)


def sweep(database: Database[Document], now: int) -> int:
    """Remove what has expired; how many."""
    return database[COLLECTION].delete_many(_expired(now)).deleted_count


def find(database: Database[Document], status_id: str, now: int) -> StoredStatus | None:
    """As Store.status."""
    found = database[COLLECTION].find_one({"_id": status_id, "expires": {"$gt": Int64(now)}})
    return None if found is None else _status_of(found)


def recent(database: Database[Document], limit: int, head_bytes: int) -> list[StoredStatus]:
    """As Store.recent_statuses."""
    # Few at a time: a body can be large.
    found = database[COLLECTION].find({}, batch_size=10).sort("expires", DESCENDING).limit(limit)
    return [replace(status, body=status.body[:head_bytes]) for status in map(_status_of, found)]


def _expired(now: int) -> Document:
    return {"expires": {"$lte": Int64(now)}}


def _document(status: StoredStatus) -> Document:
    return {
        "api_root": status.api_root,
        "submitter": status.submitter,
        "body": status.body,
        "expires": Int64(status.expires),
    }


def _status_of(found: Document) -> StoredStatus:
    return StoredStatus(
        found["_id"], found["api_root"], found["submitter"], bytes(found["body"]), int(found["expires"])
    )
