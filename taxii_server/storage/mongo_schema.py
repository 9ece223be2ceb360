"""What the documents look like, which indexes they have, and how a database gets to this schema.

Why the marker
    `records` holds one document that is no record: it lies before every position and carries the length of the
    log. Every page reads it in the same command and at the same point in time as its records, and so learns
    about labels that it could not ask for. It stands first, so that a full page has it too: a record may get a
    new label long after its neighbours, so no record can speak for those before it.
    Its `c`, `t` and `i` are "*", which no record has, so that it can be reached through every index.
    It names the era of the database, too (see mongo_connection).

"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import Any, TypeVar

from bson import Int64
from pymongo import ASCENDING, IndexModel
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, DuplicateKeyError, OperationFailure

from taxii_server.errors import SchemaTooNew, StorageError, StorageUnavailable
from taxii_server.model import POSITION_MAX, POSITION_UNIT, Draft, PageQuery, Record
from taxii_server.storage import mongo_chores, mongo_ledger, mongo_quarantine
from taxii_server.storage.base import UNFILLED, grouped, placed
from taxii_server.storage.mongo_connection import CLOCK, NEEDS_REPLICA_SET, Document

SCHEMA_VERSION = 4

#: With a longer list MongoDB gives up merging one range per value and sorts everything it finds
#: (internalQueryMaxScansToExplode is 200, and the marker takes one).
MAX_RANGES = 199

BY_LABEL = "label_position"
BY_LABEL_TYPE = "label_type_position"
BY_COLLECTION = "collection_position_label"
BY_TYPE = "type_position_label"
BY_ID = "id_position_label"
BY_POSITION = "_id_"
BY_TERM = "term_label_position"

#: What a record is made of, and `n` and `era` of the marker; terms are looked for, never read. What is wanted is named,
#: not what is not: a page of 1,000 then takes mongod 2.8 ms and not 3.9 (measured).
WITHOUT_CONTENT = dict.fromkeys(
    ("_id", "c", "p", "i", "t", "sv", "v", "k", "L", "d", "h", "s", "H", "S", "n", "era"), 1
)
WITH_CONTENT = {**WITHOUT_CONTENT, "j": 1}
#: See PageQuery.only_texts: 0.9 ms less of 4.4 for a page of 1,000.
ONLY_TEXTS = dict.fromkeys(("_id", "i", "k", "L", "h", "s", "H", "S", "n", "era", "j"), 1)

_VALUES_PER_COMMAND = 50_000  # positions or keys in one list: a command may have 16 MB
T = TypeVar("T")


def portions(values: list[T]) -> Iterator[list[T]]:
    """The values in lists that fit into a command."""
    for start in range(0, len(values), _VALUES_PER_COMMAND):
        yield values[start : start + _VALUES_PER_COMMAND]


_MARKER_ID = Int64(-1)
_BEFORE_RECORDS = {"$lt": Int64(0)}  # a range: with an equality MongoDB would not merge but sort
_ANY = "*"
#: What else the condition for the marker says, so that it is found through the index.
_MARKED_BY = {BY_ID: "i", BY_LABEL_TYPE: "t", BY_TYPE: "t", BY_COLLECTION: "c"}
#: The term of the marker, which no record has.
_MARKER_TERM = Int64(1)
#: Behind every term: where a range ends there is always one more key, so that their number tells nothing.
_LAST_TERM = Int64(2**63 - 1)
_MARKER = {"L": 0, "c": _ANY, "t": _ANY, "i": _ANY, "x": [_MARKER_TERM, _LAST_TERM]}

#: Who refers to an id: what was hidden because of it becomes readable with it.
BY_HARD_REF = "hard_refs"
BY_SOFT_REF = "soft_refs"
#: Records that refer to so many ids that an index entry for each would fill a transaction: they are all looked at.
BY_MANY_REFS = "many_refs"
_INDEXED_REFS = 100
BY_PLACE = "event_first"

_RECORD_INDEXES = {
    BY_LABEL: ("L", "_id"),
    BY_LABEL_TYPE: ("L", "t", "_id"),
    BY_COLLECTION: ("c", "_id", "L"),
    BY_TYPE: ("t", "_id", "L"),
    BY_ID: ("i", "_id", "L"),
    BY_TERM: ("x", "L", "_id"),
}
_INDEXES: Mapping[str, list[IndexModel]] = {
    "records": [
        *(IndexModel([(key, ASCENDING) for key in keys], name=name) for name, keys in _RECORD_INDEXES.items()),
        IndexModel([("h", ASCENDING)], name=BY_HARD_REF, sparse=True),
        IndexModel([("s", ASCENDING)], name=BY_SOFT_REF, sparse=True),
        IndexModel([("m", ASCENDING)], name=BY_MANY_REFS, sparse=True),
    ],
    # One document for each chunk of the entries of an event.
    "bands": [IndexModel([("e", ASCENDING), ("f", ASCENDING)], name=BY_PLACE)],
    "aliases": [],
    "log": [IndexModel([("key", ASCENDING)], name="key", unique=True)],
    "statuses": [IndexModel([("expires", ASCENDING)], name="expires")],
    "credentials": [],
    "catalog": [],
    mongo_quarantine.COLLECTION: mongo_quarantine.INDEXES,
    mongo_ledger.COLLECTION: mongo_ledger.INDEXES,
    mongo_chores.COLLECTION: [],
    mongo_chores.NOTES: [],
    "meta": [],
}
#: Every collection of a store.
COLLECTIONS = tuple(_INDEXES)


#: In `meta` while a restore fills the database (see mongo_whole).
RESTORING = "restoring"

# ---- records


def document_of(draft: Draft, label: int, position: int) -> Document:
    """The stored form of a draft."""
    return document_of_record(placed(draft, label, position), draft.terms)


def terms_of(terms: Sequence[int] | None) -> list[int]:
    """What stands in `x`; None: not known. Nearly all are larger than an int32, and MongoDB compares numbers."""
    return [UNFILLED] if terms is None else list(terms)


def document_of_record(record: Record, terms: Sequence[int] | None = None) -> Document:
    """The stored form of a record. Short names: they are repeated in every document."""
    return {
        "x": terms_of(terms),
        "_id": Int64(record.position),
        "c": record.collection,
        "p": record.submitter,
        "i": record.id,
        "t": record.type,
        "sv": record.spec_version,
        "v": record.version,
        "k": record.version_key,
        "L": record.label,
        "d": record.digest,
        "j": record.content,
        **refs_of(record.hard_refs, record.soft_refs),
    }


def refs_of(hard_refs: tuple[str, ...], soft_refs: tuple[str, ...]) -> Document:
    """The fields that make a record found by what it refers to."""
    many = len(hard_refs) + len(soft_refs) > _INDEXED_REFS
    document: Document = {"m": True} if many else {}
    if hard_refs:
        document["H" if many else "h"] = list(hard_refs)
    if soft_refs:
        document["S" if many else "s"] = list(soft_refs)
    return document


#: The fields that every record has, in the order of Record, but for the first.
_fields_of = itemgetter("c", "p", "i", "t", "sv", "v", "k", "L", "d")
_new_tuple = tuple.__new__


def record_of(row: Mapping[str, Any]) -> Record:
    """The record of a stored document; without content when the query left it out."""
    get = row.get
    hard, soft = get("h") or get("H") or (), get("s") or get("S") or ()
    # Made past the constructor with its thirteen parameters, which takes a fifth longer (measured).
    return _new_tuple(Record, (int(row["_id"]), *_fields_of(row), tuple(hard), tuple(soft), get("j", b"")))


def text_of(row: Mapping[str, Any]) -> Record:
    """The record of a document that was read with ONLY_TEXTS."""
    get = row.get
    hard, soft = get("h") or get("H") or (), get("s") or get("S") or ()
    return _new_tuple(
        Record,
        (int(row["_id"]), "", "", row["i"], "", "", "", row["k"], row["L"], b"", tuple(hard), tuple(soft), row["j"]),
    )


def is_marker(row: Mapping[str, Any]) -> bool:
    return bool(row["_id"] < 0)


def page_filter(query: PageQuery, *, lacks_terms: bool = True) -> tuple[Document, str]:
    """The condition for a page, marker included, and the index to give as hint.

    `lacks_terms`: there may be records whose terms are not known. Labels with terms and labels without are no page of
    one command: see mongo_pages.parts.

    Never leave the hint out: MongoDB remembers a plan per shape of a query, not per list of labels,
    and the wrong one of these indexes costs up to a hundred times more.
    """
    marker: Document = {"_id": _BEFORE_RECORDS, "L": 0}
    if query.terms is not None and query.ids is None:
        groups = grouped(query, lacks_terms=lacks_terms)
        if any(groups):
            return {"$or": [{**marker, "x": _MARKER_TERM}, *by_terms(query, groups)]}, BY_TERM
        query = replace(query, terms=None, labels=groups.get((), ()))
    records, hint = by_labels(query)
    if field := _MARKED_BY.get(hint):
        marker[field] = _ANY
    return {"$or": [marker, records]}, hint


def by_labels(query: PageQuery) -> tuple[Document, str]:
    """The condition for the records of a page, terms aside, and the index to give as hint."""
    records = filters_of(query)
    types = len(query.types or ())
    if query.ids is not None:  # more than 199 ids: what is sorted are the records of those ids, no more
        return records, BY_ID
    if types and len(query.labels) * types <= MAX_RANGES:
        return records, BY_LABEL_TYPE
    if types and types <= MAX_RANGES:
        return records, BY_TYPE
    if len(query.labels) <= MAX_RANGES:
        return records, BY_LABEL
    if 0 < len(query.collections) <= MAX_RANGES:
        return {**records, "c": {"$in": list(query.collections)}}, BY_COLLECTION
    return records, BY_POSITION


def filters_of(query: PageQuery) -> Document:
    """The condition for the records of a page, terms aside."""
    places = {"$gt": Int64(query.after)}
    if query.before < POSITION_MAX:
        places["$lt"] = Int64(query.before)
    records: Document = {"_id": places, "L": {"$in": list(query.labels)}}
    if query.ids is not None:
        records["i"] = {"$in": list(query.ids)}
    if query.types is not None:
        records["t"] = {"$in": list(query.types)}
    if query.spec_versions is not None:
        records["sv"] = {"$in": list(query.spec_versions)}
    if query.version_keys is not None:
        records["k"] = {"$in": list(query.version_keys)}
    return records


def by_terms(query: PageQuery, groups: Mapping[tuple[int, ...], tuple[int, ...]]) -> list[Document]:
    """One condition for each group of labels that are asked for the same terms."""
    records = filters_of(query)
    return [
        {**records, "L": {"$in": list(labels)}, "x": {"$in": list(map(Int64, terms))}}
        for terms, labels in groups.items()
    ]


def set_horizon(database: Database[Document], session: ClientSession, log_length: int) -> None:
    """Write the length of the log into the marker, in the transaction that appends to the log."""
    database["records"].update_one({"_id": _MARKER_ID}, {"$set": {"n": log_length}}, session=session)


# ---- preparing a database


def prepare(database: Database[Document]) -> None:
    """Bring the database to this schema. Idempotent; several processes may do it at once.

    Raises SchemaTooNew, and StorageUnavailable when the server is not part of a replica set.
    """
    hello = database.client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StorageUnavailable(f"this MongoDB server is not in a replica set; {NEEDS_REPLICA_SET}")
    if database["meta"].find_one({"_id": RESTORING}) is not None:
        raise StorageError(
            f"a restore into the database {database.name!r} has not come to its end: wait for it; if it broke off, run"
            " `taxii-server restore` again, or drop the database"
        )
    version = _version(database)
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"the database {database.name!r} has schema {version}, this release knows {SCHEMA_VERSION}:"
            " start the newer release, or restore a backup"
        )
    for step in range(version, SCHEMA_VERSION):
        # Another process may have gone on meanwhile, and work with what it made.
        if _version(database) <= step:
            MIGRATIONS[step](database)
    _create(database)
    database["meta"].update_one({"_id": "schema"}, {"$set": {"version": SCHEMA_VERSION}}, upsert=True)


def _version(database: Database[Document]) -> int:
    found = database["meta"].find_one({"_id": "schema"})
    return SCHEMA_VERSION if found is None else int(found["version"])


def create_collections(database: Database[Document]) -> None:
    """Every collection with its indexes. Idempotent."""
    present = set(database.list_collection_names())
    for name, indexes in _INDEXES.items():
        if name not in present:  # a transaction could not create it
            _create_collection(database, name)
        if indexes:
            database[name].create_indexes(indexes)


def new_era() -> str:
    """A name for the era that a database begins."""
    return secrets.token_hex(8)


def end_era(database: Database[Document]) -> bool:
    """Let every process that knows this database refuse its pages from now on; whether there is a record."""
    database["records"].update_one({"_id": _MARKER_ID}, {"$set": {"era": new_era()}})
    return database["records"].find_one({"_id": {"$gte": Int64(0)}}, {"_id": 1}) is not None


def write_marker(database: Database[Document], log_length: int, era: str) -> None:
    """The marker in a database that is being filled."""
    database["records"].replace_one({"_id": _MARKER_ID}, {**_MARKER, "n": log_length, "era": era}, upsert=True)


def _create(database: Database[Document]) -> None:
    create_collections(database)
    clock = {"turn": Int64(0), "position": Int64(0), "log": 0, "catalog_epoch": 0, "credentials_epoch": 0}
    _insert_once(database, "meta", CLOCK, {**clock, "era": new_era()})
    # Another process may have begun the era, and a database from before there were eras has none.
    began = database["meta"].find_one({"_id": CLOCK}, {"era": 1}) or {}
    era = {"era": began["era"]} if "era" in began else {}
    _insert_once(database, "records", _MARKER_ID, {**_MARKER, "n": 0, **era})
    _insert_once(database, "meta", "secret", {"value": secrets.token_bytes(32)})


def _add_events(database: Database[Document]) -> None:
    """Long lists of references leave the indexes.

    Positions are multiples of POSITION_UNIT from here on; older ones keep the place that they have.
    """
    long = {"$gt": [{"$add": [{"$size": {"$ifNull": [f"${name}", []]}} for name in ("h", "s")]}, _INDEXED_REFS]}
    database["records"].update_many(
        {"$expr": long},
        [{"$set": {"m": True, "H": "$h", "S": "$s"}}, {"$unset": ["h", "s"]}],
    )
    next_unit = {"$multiply": [{"$ceil": {"$divide": ["$position", POSITION_UNIT]}}, POSITION_UNIT]}
    database["meta"].update_one({"_id": CLOCK}, [{"$set": {"position": {"$toLong": next_unit}}}])


def _add_terms(database: Database[Document]) -> None:
    """What the records of before are found by is not known until the service has read their texts."""
    records = database["records"]
    records.update_one({"_id": _MARKER_ID}, {"$set": {"x": _MARKER["x"]}})
    records.update_many({"x": {"$exists": False}}, {"$set": {"x": terms_of(None)}})


def _renew_terms(database: Database[Document]) -> None:
    """Terms are others than before, so those of all records are not known."""
    database["records"].update_many({"_id": {"$gte": Int64(0)}}, {"$set": {"x": terms_of(None)}})


#: From this version to the next one. Each may be started by two processes at once and again after a crash.
MIGRATIONS: Mapping[int, Callable[[Database[Document]], None]] = {1: _add_events, 2: _add_terms, 3: _renew_terms}


def _create_collection(database: Database[Document], name: str) -> None:
    try:
        database.create_collection(name)
    except CollectionInvalid:
        pass
    except OperationFailure as error:
        if error.code != 48:  # NamespaceExists: another process was faster
            raise


def _insert_once(database: Database[Document], name: str, key: object, values: Document) -> None:
    with suppress(DuplicateKeyError):  # another process was faster
        database[name].update_one({"_id": key}, {"$setOnInsert": values}, upsert=True)
