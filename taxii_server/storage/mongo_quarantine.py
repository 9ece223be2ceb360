"""The quarantine in the MongoDB database of the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from bson import Int64
from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import BulkWriteError

from taxii_server.storage.mongo_connection import Connection, Document
from taxii_server.storage.quarantine import Entry, EntryQuery, Quarantine, State

COLLECTION = "quarantine"
_KEY = ("object_id", "collection", "submitter", "digest")
_BY_OBJECT = "object"
_BY_COLLECTION = "collection_held"
_BY_TIME = "held"
INDEXES = [
    # One entry for each content of an object.
    IndexModel([(name, ASCENDING) for name in _KEY], name=_BY_OBJECT, unique=True),
    IndexModel([("collection", ASCENDING), ("held", ASCENDING), ("_id", ASCENDING)], name=_BY_COLLECTION),
    IndexModel([("held", ASCENDING), ("_id", ASCENDING)], name=_BY_TIME),
]
_WITHOUT_CONTENT = {"content": 0}
_DUPLICATE = 11000
_IDS_PER_COMMAND = 50_000
_ALL_AT_ONCE = 1_000_000


class MongoQuarantine(Quarantine):
    """The collection `quarantine`. `now` gives µs since 1970.

    Needs no transaction: each entry is one document, and the unique index decides between two posts at once.
    """

    def __init__(self, connection: Connection, now: Callable[[], int]) -> None:
        self._connection = connection
        self._now = now

    def hold(self, entries: Sequence[Entry]) -> list[Entry]:
        if not entries:
            return []
        held = self._now()
        fresh = {_key(each): each for each in reversed(entries)}
        with self._connection.call(patient=True) as database:
            try:
                # All that are not there already; the unique index tells, also between two posts at once.
                database[COLLECTION].insert_many(
                    [_document(replace(each, held=held)) for each in fresh.values()], ordered=False
                )
            except BulkWriteError as error:
                failed = error.details
                if failed["writeConcernErrors"] or any(each["code"] != _DUPLICATE for each in failed["writeErrors"]):
                    raise
        kept: dict[tuple[Any, ...], Entry] = {}
        for collection, submitter in {(each.collection, each.submitter) for each in fresh.values()}:
            ids = {each.object_id for each in fresh.values()}
            kept.update((_key(each), each) for each in self.find(collection, submitter, ids))
        return [kept[_key(each)] for each in entries]

    def find(self, collection: str, submitter: str, object_ids: Collection[str]) -> list[Entry]:
        ids = list(object_ids)
        found: list[Entry] = []
        with self._connection.call() as database:
            for start in range(0, len(ids), _IDS_PER_COMMAND):
                condition = {
                    "object_id": {"$in": ids[start : start + _IDS_PER_COMMAND]},
                    "collection": collection,
                    "submitter": submitter,
                }
                rows = database[COLLECTION].find(condition, _WITHOUT_CONTENT, hint=_BY_OBJECT, batch_size=_ALL_AT_ONCE)
                found += map(_entry, rows)
        return sorted(found, key=lambda each: (each.held, each.id))

    def entry(self, entry_id: str) -> Entry | None:
        with self._connection.call() as database:
            found = database[COLLECTION].find_one({"_id": entry_id})
        return None if found is None else _entry(found)

    def page(self, query: EntryQuery) -> list[Entry]:
        condition: Document = {"state": {"$in": list(query.states)}}
        for name in ("collection", "submitter"):
            if (wanted := getattr(query, name)) is not None:
                condition[name] = wanted
        if query.after is not None:
            held, id_ = Int64(query.after[0]), query.after[1]
            condition["$or"] = [{"held": {"$gt": held}}, {"held": held, "_id": {"$gt": id_}}]
            condition["held"] = {"$gte": held}
        hint = _BY_TIME if query.collection is None else _BY_COLLECTION
        with self._connection.call() as database:
            rows = database[COLLECTION].find(
                condition, _WITHOUT_CONTENT, hint=hint, limit=query.limit, batch_size=query.limit
            )
            return [_entry(row) for row in rows.sort([("held", ASCENDING), ("_id", ASCENDING)])]

    def move(
        self, entry_id: str, sources: Collection[State], state: State, by: str, *, erase: bool = False
    ) -> Entry | None:
        change: Document = {"state": state, "decided": Int64(self._now()), "decided_by": by}
        if erase:
            change["content"] = b""
        with self._connection.call() as database:
            found = database[COLLECTION].find_one_and_update(
                {"_id": entry_id, "state": {"$in": list(sources)}},
                {"$set": change},
                _WITHOUT_CONTENT,
                return_document=ReturnDocument.AFTER,
            )
        return None if found is None else _entry(found)


def _key(entry: Entry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in _KEY)


def _document(entry: Entry) -> Document:
    document = asdict(entry)
    document["_id"] = document.pop("id")
    document["held"], document["decided"] = Int64(entry.held), Int64(entry.decided)
    return document


def _entry(row: Mapping[str, Any]) -> Entry:
    values = dict(row)
    values["id"] = values.pop("_id")
    values["held"], values["decided"] = int(values["held"]), int(values["decided"])
    return Entry(**values)
