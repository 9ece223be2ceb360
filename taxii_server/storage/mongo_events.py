"""Events, references and aliases of copies in the MongoDB store: what a transaction does besides records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bson import Int64
from pymongo import ASCENDING, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.model import EventPlan, PageQuery, Record
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.bands import Chunk, draw_places, first_entries, pack, places_of
from taxii_server.storage.base import Inside, group_by_id, within
from taxii_server.storage.mongo_connection import ALL_AT_ONCE, Document
from taxii_server.storage.mongo_schema import portions


class InsideMongo(Inside):
    """A write transaction as an event sees it."""

    def __init__(self, database: Database[Document], session: ClientSession, clock: Document) -> None:
        self.database, self.session, self.clock = database, session, clock
        self.log_length = clock["log"]
        self.epoch = clock["catalog_epoch"]

    def records(self, query: PageQuery) -> list[Record]:
        condition, hint = schema.page_filter(query)
        projection = schema.WITH_CONTENT if query.content else schema.WITHOUT_CONTENT
        limit = query.limit + 1  # and the marker
        rows = self.database["records"].find(
            condition, projection, session=self.session, hint=hint, limit=limit, batch_size=limit
        )
        return [schema.record_of(row) for row in rows.sort("_id", ASCENDING) if not schema.is_marker(row)]

    def referrers(self, ids: Collection[str]) -> list[Record]:
        return referrers(self.database, self.session, list(ids))

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        return group_by_id(records_of(self.database, self.session, list(ids)))


def write_event(
    inside: InsideMongo, plan: EventPlan, base: int, positions: Sequence[int], key_of: Callable[[str, str], bytes]
) -> tuple[int, int]:
    """Write the chunks of the event and its entry of the log; the length of the log then, and the last place."""
    places = draw_places(base, len(plan.entries))
    end = places[-1] if places else base
    payload = plan.payload(base, end, positions)
    number = int(inside.log_length) + 1
    entry = {"_id": number, "key": key_of("event", payload), "kind": "event", "payload": payload}
    inside.database["log"].insert_one(entry, session=inside.session)
    schema.set_horizon(inside.database, inside.session, number)
    rows = [
        {
            "e": number,
            "f": Int64(each.first),
            "l": Int64(each.last),
            "c": each.event_class,
            "low": Int64(each.low),
            "high": Int64(each.high),
            "b": each.entries,
        }
        for each in pack(places, plan.entries)
    ]
    if rows:
        inside.database["bands"].insert_many(rows, session=inside.session)
    return number, end


def records_of(database: Database[Document], session: ClientSession, ids: list[str]) -> list[Record]:
    """The records of these ids, each id's in ascending position: the order of the index, nothing is sorted."""
    if not ids:
        return []
    condition = {"i": {"$in": ids}, "_id": {"$gte": Int64(0)}}
    rows = database["records"].find(
        condition, schema.WITHOUT_CONTENT, session=session, hint=schema.BY_ID, batch_size=ALL_AT_ONCE
    )
    return [schema.record_of(row) for row in rows.sort([("i", ASCENDING), ("_id", ASCENDING)])]


def referrers(database: Database[Document], session: ClientSession, ids: list[str]) -> list[Record]:
    """The records that refer to one of these ids, ascending position."""
    found: dict[int, Record] = {}
    for some in portions(ids):
        wanted = {"$in": some}
        for condition, hint in (
            ({"h": wanted}, schema.BY_HARD_REF),
            ({"s": wanted}, schema.BY_SOFT_REF),
            ({"m": True, "$or": [{"H": wanted}, {"S": wanted}]}, schema.BY_MANY_REFS),
        ):
            rows = database["records"].find(
                condition, schema.WITHOUT_CONTENT, session=session, hint=hint, batch_size=ALL_AT_ONCE
            )
            found.update((row["_id"], schema.record_of(row)) for row in rows)
    return [found[position] for position in sorted(found)]


def records_at(
    database: Database[Document],
    session: ClientSession,
    positions: Sequence[int],
    content: bool,
    limit_bytes: int,
) -> tuple[list[Record], bool]:
    """The records at these positions in their order, and whether the limit cut them short."""
    projection = schema.WITH_CONTENT if content else schema.WITHOUT_CONTENT
    with database["records"].find(
        {"_id": {"$in": [Int64(position) for position in positions]}},
        projection,
        session=session,
        hint=schema.BY_POSITION,
        batch_size=ALL_AT_ONCE,
    ) as cursor:
        # Read ascending and no further than needed: a thousand large objects would fill the memory.
        read, unread = within(map(schema.record_of, cursor.sort("_id", ASCENDING)), limit_bytes, len(positions))
    known = {record.position: record for record in read}
    reached = read[-1].position if unread else max(positions, default=0)
    records: list[Record] = []
    for place, position in enumerate(positions):
        if position > reached and records:
            return records, True
        if position > reached:
            # The first one asked for lies behind what was read: the limit must not stop the walk for ever.
            alone, _ = records_at(database, session, positions[place : place + 1], content, 0)
            return alone, True
        if position in known:
            records.append(known[position])
    return records, False


def band(
    database: Database[Document], event: int, classes: Collection[int], after: int, limit: int
) -> list[tuple[int, int]]:
    """The first entries after a place of an event."""
    condition = {"e": event, "l": {"$gt": Int64(after)}, "c": {"$in": list(classes)}}
    rows = database["bands"].find(condition, hint=schema.BY_PLACE, batch_size=20).sort("f", ASCENDING)
    with rows as cursor:
        return first_entries(map(_chunk, cursor), after, limit)


def places(
    database: Database[Document], event: int, classes: Collection[int], positions: Collection[int]
) -> dict[int, int]:
    """Where these records stand in an event."""
    condition = {
        "e": event,
        "c": {"$in": list(classes)},
        "high": {"$gte": Int64(min(positions))},
        "low": {"$lte": Int64(max(positions))},
    }
    with database["bands"].find(condition, hint=schema.BY_PLACE) as cursor:
        return places_of(map(_chunk, cursor), positions)


def _chunk(row: Document) -> Chunk:
    return Chunk(row["c"], int(row["f"]), int(row["l"]), int(row["low"]), int(row["high"]), bytes(row["b"]))


def save_aliases(database: Database[Document], originals: Mapping[str, str]) -> None:
    once = [
        UpdateOne({"_id": copy}, {"$setOnInsert": {"o": original}}, upsert=True) for copy, original in originals.items()
    ]
    if once:
        database["aliases"].bulk_write(once, ordered=False)


def aliases(database: Database[Document], ids: Collection[str]) -> dict[str, str]:
    rows = database["aliases"].find({"_id": {"$in": list(ids)}}, batch_size=ALL_AT_ONCE)
    return {row["_id"]: row["o"] for row in rows}
