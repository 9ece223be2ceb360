"""The MongoDB database as a whole: read in one snapshot session, and written anew.

A restore takes the clock document away first: without it no server reads the state or writes anything. It comes back
with the last write, and a mark that says "restoring" keeps servers from making a new one meanwhile. Then it ends the
era of the marker, without which no page is read. Who has read one before that still looks up what it refers to, and
must not find nothing: what is unknown hides nothing. So the records stay for as long as that takes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from bson import Int64
from pymongo import ASCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.errors import StorageError
from taxii_server.model import Record
from taxii_server.storage import mongo_ledger
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.ledger import Entry
from taxii_server.storage.mongo_connection import CLOCK, NOT_PREPARED, Connection, Document
from taxii_server.storage.whole import PARTS, Facts, Loading, Row, Snapshot, Whole

_COLLECTIONS = {part: "catalog" if part == "catalogs" else part for part in PARTS}
_RECORDS = {"_id": {"$gte": Int64(0)}}
_ORDER = {
    "ledger": [("s", ASCENDING), ("n", ASCENDING)],
    "bands": [("e", ASCENDING), ("f", ASCENDING)],
}
#: How long who has read a page may need to look up what is on it.
QUIET_S = 10.0
#: Bytes of one insert: large texts must not fill a message.
_BATCH_BYTES = 8_000_000


class MongoWhole(Whole):
    """The collections of a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._connection.unhurried() as database, database.client.start_session(snapshot=True) as session:
            yield _Snapshot(database, session)

    def is_empty(self) -> bool:
        with self._connection.call(patient=True) as database:
            if database["meta"].find_one({"_id": schema.RESTORING}) is not None:
                return True
            return not any(
                database[name].find_one(_RECORDS if name == "records" else {}, {"_id": 1})
                for name in _COLLECTIONS.values()
            )

    def last_position(self) -> int:
        with suppress(StorageError), self._connection.call() as database:
            found = database["meta"].find_one({"_id": CLOCK}) or database["meta"].find_one({"_id": schema.RESTORING})
            return int(found["position"]) if found else 0
        return 0

    @contextmanager
    def replace(self) -> Iterator[Loading]:
        position = self.last_position()
        with self._connection.unhurried() as database:
            meta = database["meta"]
            # Kept in the mark: a second attempt must not forget it.
            mark = {"$max": {"position": Int64(position)}}
            meta.update_one({"_id": schema.RESTORING}, mark, upsert=True)
            meta.delete_one({"_id": CLOCK})
            if schema.end_era(database):
                time.sleep(QUIET_S)
            for name in schema.COLLECTIONS:
                if name != "meta":
                    database[name].drop()
            schema.create_collections(database)
            yield _Loading(database, self._connection.begin_era)


class _Snapshot(Snapshot):
    def __init__(self, database: Database[Document], session: ClientSession) -> None:
        self._database, self._session = database, session

    def facts(self) -> Facts:
        found = {row["_id"]: row for row in self._database["meta"].find(session=self._session)}
        if CLOCK not in found or "secret" not in found:
            raise StorageError(NOT_PREPARED)
        clock = found[CLOCK]
        return Facts(bytes(found["secret"]["value"]), int(clock["position"]), int(clock["credentials_epoch"]))

    def count(self, part: str) -> int:
        return self._database[_COLLECTIONS[part]].estimated_document_count()

    def rows(self, part: str) -> Iterator[Row]:
        condition: Document = dict(_RECORDS) if part == "records" else {}
        order = _ORDER.get(part, [("_id", ASCENDING)])
        with self._database[_COLLECTIONS[part]].find(condition, session=self._session) as cursor:
            for row in cursor.sort(order):
                yield _OUT[part](row)

    def positions(self) -> Iterator[int]:
        with self._database["records"].find(_RECORDS, {"_id": 1}, session=self._session) as cursor:
            for row in cursor.sort("_id", ASCENDING):
                yield int(row["_id"])


class _Loading(Loading):
    def __init__(self, database: Database[Document], began: Callable[[str], None]) -> None:
        self._database = database
        self._began = began
        self._log = 0
        self._catalog = 0

    def put(self, part: str, rows: Sequence[Row], terms: Sequence[Sequence[int]] | None = None) -> None:
        batch: list[Document] = []
        size = 0
        for number, row in enumerate(rows):
            document = _IN[part](row)
            if terms is not None:
                document["x"] = schema.terms_of(terms[number])
            batch.append(document)
            size += sum(len(value) for value in row if isinstance(value, (bytes, str)))
            if size > _BATCH_BYTES:
                self._database[_COLLECTIONS[part]].insert_many(batch)
                batch, size = [], 0
        if batch:
            self._database[_COLLECTIONS[part]].insert_many(batch)
        if part == "log":
            self._log = max([self._log, *(int(str(row[0])) for row in rows)])
        if part == "catalogs":
            self._catalog = max([self._catalog, *(int(str(row[0])) for row in rows)])

    def finish(self, facts: Facts) -> str:
        meta = self._database["meta"]
        era = schema.new_era()
        schema.write_marker(self._database, self._log, era)
        meta.replace_one({"_id": "secret"}, {"value": facts.secret}, upsert=True)
        meta.replace_one({"_id": "schema"}, {"version": schema.SCHEMA_VERSION}, upsert=True)
        clock = {
            "turn": Int64(0),
            "position": Int64(facts.clock),
            "log": self._log,
            "catalog_epoch": self._catalog,
            "credentials_epoch": facts.credentials_epoch,
            "era": era,
        }
        meta.replace_one({"_id": CLOCK}, clock, upsert=True)
        meta.delete_one({"_id": schema.RESTORING})
        self._began(era)
        return ""


# ---- documents -> rows


def _of_record(row: Document) -> Row:
    record = schema.record_of(row)
    return tuple(getattr(record, name) for name in PARTS["records"])


def _of_catalog(row: Document) -> Row:
    files = json.dumps(dict(row["files"]))
    return (row["_id"], row["digest"], int(row["applied"]), row["applied_by"], files, int(row.get("moment", 0)))


def _of_ledger(row: Document) -> Row:
    entry = mongo_ledger.entry_of(row)
    return tuple(getattr(entry, name) for name in PARTS["ledger"])


def _of_same_names(part: str) -> Callable[[Document], Row]:
    """For documents that have the names of the columns, `id` as `_id`."""
    names = [("_id" if name == "id" else name, kind) for name, kind in PARTS[part].items()]

    def read(row: Document) -> Row:
        return tuple(int(row[name]) if kind in ("int", "flag") else row[name] for name, kind in names)

    return read


_OUT: Mapping[str, Callable[[Document], Row]] = {
    "log": lambda row: (row["_id"], row["kind"], row["payload"]),
    "records": _of_record,
    "bands": lambda row: (*(int(row[name]) for name in ("e", "f", "c", "l", "low", "high")), bytes(row["b"])),
    "aliases": lambda row: (row["_id"], row["o"]),
    "statuses": _of_same_names("statuses"),
    "credentials": _of_same_names("credentials"),
    "catalogs": _of_catalog,
    "quarantine": _of_same_names("quarantine"),
    "ledger": _of_ledger,
}


# ---- rows -> documents


def _to_same_names(part: str) -> Callable[[Row], Document]:
    names = [("_id" if name == "id" else name, kind) for name, kind in PARTS[part].items()]

    def write(row: Row) -> Document:
        return {name: _bson(kind, value) for (name, kind), value in zip(names, row, strict=True)}

    return write


def _bson(kind: str, value: Any) -> Any:
    if kind == "flag":
        return bool(value)
    return Int64(value) if kind == "int" else value


def _to_log(row: Row) -> Document:
    number, kind, payload = map(str, row)
    key = hashlib.sha256(f"{kind}\0{payload}".encode()).digest()
    return {"_id": int(number), "key": key, "kind": kind, "payload": payload}


def _to_record(row: Row) -> Document:
    values: dict[str, Any] = dict(zip(PARTS["records"], row, strict=True))
    for name in ("hard_refs", "soft_refs"):
        if isinstance(values[name], str):  # unreadable, and made again from the text by a repair
            values[name] = ()
    return schema.document_of_record(Record(**values))


def _to_catalog(row: Row) -> Document:
    files = [[name, text] for name, text in json.loads(str(row[4])).items()]
    moment: Any = row[5]
    applied: Any = row[2]
    return {
        "_id": row[0],
        "digest": row[1],
        "applied": Int64(applied),
        "applied_by": row[3],
        "files": files,
        "moment": Int64(moment),
    }


def _to_band(row: Row) -> Document:
    event, first, event_class, last, low, high, entries = row
    places: Any = {"f": first, "l": last, "low": low, "high": high}
    return {"e": event, "c": event_class, "b": entries} | {name: Int64(place) for name, place in places.items()}


def _to_ledger(row: Row) -> Document:
    values: Any = row
    return mongo_ledger.document_of(Entry(*values))


_IN: Mapping[str, Callable[[Row], Document]] = {
    "log": _to_log,
    "records": _to_record,
    "bands": _to_band,
    "aliases": lambda row: {"_id": row[0], "o": row[1]},
    "statuses": _to_same_names("statuses"),
    "credentials": _to_same_names("credentials"),
    "catalogs": _to_catalog,
    "quarantine": _to_same_names("quarantine"),
    "ledger": _to_ledger,
}
