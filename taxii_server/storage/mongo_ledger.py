"""The disclosure ledger as a MongoDB collection of its own.

Without a transaction and without the clock document: strands are written by one process each, so nothing has to wait
for anything. An entry is on the journals of a majority when `append` returns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bson import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError

from taxii_server.storage.ledger import Entry, Head, LedgerQuery, LedgerStore, PlaceTaken
from taxii_server.storage.mongo_connection import Connection, Document

COLLECTION = "ledger"
_IN_ORDER = "strand_number"
_BACKWARDS = "strand_number_backwards"
INDEXES = [
    IndexModel([("s", ASCENDING), ("n", ASCENDING)], name=_IN_ORDER, unique=True),
    IndexModel([("s", ASCENDING), ("n", DESCENDING)], name=_BACKWARDS),
    IndexModel([("p", ASCENDING), ("at", ASCENDING)], name="partner_time"),
    IndexModel([("o", ASCENDING)], name="object", sparse=True),
    IndexModel([("l", ASCENDING), ("f", ASCENDING)], name="range", sparse=True),
    IndexModel([("k", ASCENDING)], name="kind"),
]
_PORTION = 500
_DUPLICATE = 11000


class MongoLedger(LedgerStore):
    """The ledger in the database of this connection, which prepares it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, entries: Sequence[Entry], *, firm: bool = False) -> None:
        with self._connection.call() as database:
            # Not insert_one: after an error of the write concern the driver repeats only this one.
            database[COLLECTION].insert_many([document_of(entry) for entry in entries])

    def adopt(self, entries: Sequence[Entry]) -> None:
        with self._connection.call() as database:
            ledger, missing = database[COLLECTION], entries
            # Others may adopt the same ones at the same time.
            while missing:
                try:
                    # In their order: whoever reads meanwhile finds the beginning of a strand without gaps.
                    ledger.insert_many([document_of(entry) for entry in missing])
                except BulkWriteError as error:
                    if any(each["code"] != _DUPLICATE for each in error.details["writeErrors"]):
                        raise
                    places = [{"s": each.strand, "n": Int64(each.number)} for each in missing]
                    present = {(row["s"], row["n"]): row["h"] for row in ledger.find({"$or": places})}
                    for each in missing:
                        if present.get((each.strand, each.number), each.hash) != each.hash:
                            raise PlaceTaken(each) from error
                    missing = [each for each in missing if (each.strand, each.number) not in present]
                else:
                    return

    def settle(self) -> None:
        """Nothing is on its way: `append` waits until it is there."""

    def close(self) -> None:
        """Nothing is held but the connection, which is the store's."""

    def heads(self, *, limit_s: float | None = None) -> list[Head]:
        last: list[Mapping[str, Any]] = [
            {"$sort": {"s": ASCENDING, "n": DESCENDING}},
            {"$group": {"_id": "$s", "n": {"$first": "$n"}, "h": {"$first": "$h"}}},
        ]
        with self._connection.call(patient=True, limit_s=limit_s) as database:
            rows = list(database[COLLECTION].aggregate(last, hint=_BACKWARDS))
        return sorted(Head(row["_id"], row["n"], row["h"]) for row in rows)

    def count(self) -> int:
        with self._connection.call(patient=True) as database:
            return database[COLLECTION].estimated_document_count()

    def drop(self, strand: str, through: int) -> int:
        with self._connection.call(patient=True) as database:
            return database[COLLECTION].delete_many({"s": strand, "n": {"$lte": Int64(through)}}).deleted_count

    def walk(self) -> Iterator[Entry]:
        place: Document = {}
        while True:
            with self._connection.call(patient=True) as database:
                found = database[COLLECTION].find(place, hint=_IN_ORDER, batch_size=_PORTION)
                entries = [entry_of(row) for row in found.sort([("s", ASCENDING), ("n", ASCENDING)]).limit(_PORTION)]
            yield from entries
            if len(entries) < _PORTION:
                return
            strand, number = entries[-1].strand, entries[-1].number
            place = {"$or": [{"s": strand, "n": {"$gt": number}}, {"s": {"$gt": strand}}]}

    def find(self, query: LedgerQuery, *, limit_s: float | None = None) -> Iterator[Entry]:
        order = [("at", ASCENDING), ("s", ASCENDING), ("n", ASCENDING)]
        until = None if limit_s is None else time.monotonic() + limit_s
        with self._connection.call(patient=True, limit_s=limit_s) as database:
            # The names first: they are small, and no cursor stays open while the caller thinks.
            names = [row["_id"] for row in database[COLLECTION].find(_filter(query), {"_id": 1}).sort(order)]
        for start in range(0, len(names), _PORTION):
            some = names[start : start + _PORTION]
            left_s = None if until is None else max(until - time.monotonic(), 0.001)
            with self._connection.call(patient=True, limit_s=left_s) as database:
                entries = [entry_of(row) for row in database[COLLECTION].find({"_id": {"$in": some}}).sort(order)]
            yield from entries

    def latest(self, partner: str, limit: int) -> list[Entry]:
        with self._connection.call() as database:
            found = database[COLLECTION].find({"p": partner}).sort([("at", DESCENDING)]).limit(limit)
            return [entry_of(row) for row in found]


def document_of(entry: Entry) -> Document:
    """The stored form of an entry."""
    document: Document = {
        "s": entry.strand,
        "n": Int64(entry.number),
        "at": Int64(entry.time),
        "k": entry.kind,
        "p": entry.partner,
        "j": entry.facts,
        "i": entry.items,
        "v": entry.previous,
        "h": entry.hash,
    }
    if entry.object:
        document["o"] = entry.object
    if entry.last:
        document["f"], document["l"] = Int64(entry.first), Int64(entry.last)
    return document


def entry_of(row: Mapping[str, Any]) -> Entry:
    """The entry of a stored document."""
    return Entry(
        row["s"],
        int(row["n"]),
        int(row["at"]),
        row["k"],
        row["p"],
        row.get("o", ""),
        int(row.get("f", 0)),
        int(row.get("l", 0)),
        row["j"],
        row["i"],
        row["v"],
        row["h"],
    )


def _filter(query: LedgerQuery) -> Document:
    wanted: Document = {"at": {"$gte": Int64(query.since), "$lte": Int64(query.until)}}
    if query.kinds is not None:
        wanted["k"] = {"$in": list(query.kinds)}
    if query.partner is not None:
        wanted["p"] = query.partner
    if query.object is not None:
        wanted["o"] = query.object
    if query.position is not None:
        wanted["l"] = {"$gte": Int64(query.position)}
        wanted["f"] = {"$lte": Int64(query.position)}
    return wanted
