"""The log in the MongoDB database of the store. `key` stands for a pair in its index: payloads can be large."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.mongo_connection import ALL_AT_ONCE, CLOCK, Document
from taxii_server.storage.mongo_schema import portions


def key_of(kind: str, payload: str) -> bytes:
    """Kinds hold no NUL, so pairs cannot run together."""
    return hashlib.sha256(f"{kind}\0{payload}".encode()).digest()


def numbers_of(
    database: Database[Document], keys: Collection[bytes], session: ClientSession | None = None
) -> dict[bytes, int]:
    """The numbers of those keys that the log has."""
    numbers: dict[bytes, int] = {}
    for some in portions(list(keys)):
        rows = database["log"].find(
            {"key": {"$in": some}}, {"key": 1}, session=session, hint="key", batch_size=ALL_AT_ONCE
        )
        numbers.update((row["key"], row["_id"]) for row in rows)
    return numbers


def append_missing(
    database: Database[Document], session: ClientSession, clock: Document, wanted: Mapping[bytes, tuple[str, str]]
) -> dict[bytes, int]:
    """Append what the log does not have; the numbers of everything wanted."""
    numbers = numbers_of(database, wanted.keys(), session)
    rows: list[Document] = []
    length = clock["log"]
    for key, (kind, payload) in wanted.items():
        if key not in numbers:
            length += 1
            numbers[key] = length
            rows.append({"_id": length, "key": key, "kind": kind, "payload": payload})
    if not rows:
        session.abort_transaction()
        return numbers
    database["log"].insert_many(rows, session=session)
    database["meta"].update_one({"_id": CLOCK}, {"$set": {"log": length}}, session=session)
    schema.set_horizon(database, session, length)
    return numbers
