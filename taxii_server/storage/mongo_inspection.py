"""The MongoDB store as a check looks at it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from bson import Int64
from pymongo import ASCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.model import Record
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.inspection import Found, Inspection, Oddity
from taxii_server.storage.mongo_connection import ALL_AT_ONCE, CLOCK, Connection, Document

_REFS = ("h", "s", "H", "S", "m")
_NAMES = {"_id", "c", "p", "i", "t", "sv", "v", "k", "L", "d", "j"}


class MongoInspection(Inspection):
    """The database of the store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ids(self, after: str, limit: int) -> list[str]:
        # "*" is the marker's, before every id.
        condition = {"i": {"$gt": max(after, "*")}}
        found: list[str] = []
        with (
            self._connection.call(patient=True) as database,
            database["records"].find(condition, {"i": 1, "_id": 0}, hint=schema.BY_ID, batch_size=2 * limit) as rows,
        ):
            for row in rows.sort([("i", ASCENDING), ("_id", ASCENDING)]):
                if not found or row["i"] != found[-1]:
                    if len(found) == limit:
                        break
                    found.append(row["i"])
        return found

    def records(self, ids: Collection[str]) -> list[Found]:
        wanted = list(ids)

        def read(database: Database[Document], session: ClientSession) -> list[Found]:
            condition = {"i": {"$in": wanted}, "_id": {"$gte": Int64(0)}}
            rows = database["records"].find(condition, session=session, hint=schema.BY_ID, batch_size=ALL_AT_ONCE)
            return [_found(row) for row in rows.sort([("i", ASCENDING), ("_id", ASCENDING)])]

        return self._connection.snapshot(read, patient=True)

    def oddities(self) -> list[Oddity]:
        return self._connection.snapshot(_oddities, patient=True)

    def mend(self, records: Sequence[Record]) -> None:
        def run(database: Database[Document], session: ClientSession, clock: Document) -> None:
            for each in records:
                refs = schema.refs_of(each.hard_refs, each.soft_refs)
                values = {"i": each.id, "t": each.type, "v": each.version, "k": each.version_key, **refs}
                gone = {name: "" for name in _REFS if name not in refs}
                database["records"].update_one(
                    {"_id": Int64(each.position)}, {"$set": values, "$unset": gone}, session=session
                )

        self._connection.transaction(run)


def _found(row: Document) -> Found:
    missing = sorted(_NAMES - row.keys())
    record = schema.record_of(dict.fromkeys(_NAMES, "") | {"L": 0, "d": b"", "j": b""} | row)
    refs = {name: row[name] for name in _REFS if name in row}
    is_found = refs == schema.refs_of(record.hard_refs, record.soft_refs)
    return Found(record, f"it has no {', '.join(missing)}" if missing else "", is_found)


def _oddities(database: Database[Document], session: ClientSession) -> list[Oddity]:
    found: list[Oddity] = []
    length = 0
    for row in database["log"].find(session=session).sort("_id", ASCENDING):
        length = row["_id"]
        if hashlib.sha256(f"{row['kind']}\0{row['payload']}".encode()).digest() != row["key"]:
            found.append(Oddity("log", str(length), "was changed: its hash is another one"))
    marker = database["records"].find_one({"_id": {"$lt": Int64(0)}}, session=session)
    if marker is None:
        found.append(Oddity("log", "marker", "the document before the records is missing: no page can be read"))
    elif marker["n"] != length:
        found.append(Oddity("log", "marker", f"the marker says {marker['n']} entries, there are {length}"))
    clock = database["meta"].find_one({"_id": CLOCK}, session=session) or {}
    if clock.get("log") != length:
        found.append(Oddity("log", "clock", f"the clock says {clock.get('log')} entries, there are {length}"))
    if marker is not None and clock.get("era") != marker.get("era"):
        found.append(Oddity("log", "marker", "the marker is of another era than the clock: every page is refused"))
    newest = database["catalog"].find_one({}, session=session, sort=[("_id", -1)])
    epoch = newest["_id"] if newest else 0
    if clock.get("catalog_epoch") != epoch:
        found.append(Oddity("catalogs", "clock", f"the clock says epoch {clock.get('catalog_epoch')}, it is {epoch}"))
    return found
