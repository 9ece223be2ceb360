"""Pages: what one command finds, and those of terms that are more than MongoDB merges in one command, which are read in
parts at one point in time, then joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from bson import Int64
from pymongo import ASCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database

from taxii_server.errors import StorageError
from taxii_server.model import Page, PageQuery
from taxii_server.storage import mongo_events as events
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage.base import grouped, within
from taxii_server.storage.mongo_connection import NOT_PREPARED, Connection, Document

#: Beyond, all keys that fit are read and sorted in one command.
_PARTS_MAX = 20


def read_at_once(connection: Connection, query: PageQuery, *, lacks_terms: bool) -> Page:
    """The page that one command finds."""
    condition, hint = schema.page_filter(query, lacks_terms=lacks_terms)
    limit = query.limit + 1  # and the marker
    command: Document = {
        "find": "records",
        "filter": condition,
        "projection": _projection(query),
        "sort": {"_id": ASCENDING},
        "hint": hint,
        "limit": limit,
        "batchSize": limit,
    }
    rows, more = connection.find(command)
    if not more or (query.limit_bytes and len(rows) > 1):
        # One reply has as many bytes as a page may have, or less.
        page = _page_of(connection, iter(rows), query)
        return replace(page, cut=page.cut or more)

    def read(database: Database[Document], session: ClientSession) -> Page:
        with database["records"].find(
            condition, command["projection"], session=session, hint=hint, limit=limit, batch_size=limit
        ) as cursor:
            return _page_of(connection, iter(cursor.sort("_id", ASCENDING)), query)

    # Rare: so much at once that one reply cannot hold it.
    return connection.snapshot(read)


def _page_of(connection: Connection, rows: Iterator[Document], query: PageQuery) -> Page:
    """The page that these documents make, of which the first one is the marker."""
    marker = next(rows, None)
    if marker is None or not schema.is_marker(marker):
        raise StorageError(NOT_PREPARED)
    connection.require_era(marker)
    read = schema.text_of if _is_only_texts(query) else schema.record_of
    records, cut = within(map(read, rows), query.limit_bytes, query.limit)
    return Page(records, marker["n"], cut)


def _is_only_texts(query: PageQuery) -> bool:
    return query.only_texts and query.content


def _projection(query: PageQuery) -> Document:
    if _is_only_texts(query):
        return schema.ONLY_TEXTS
    return schema.WITH_CONTENT if query.content else schema.WITHOUT_CONTENT


#: A condition for records, and the index to give as hint.
Part = tuple[Document, str]


def parts(query: PageQuery, *, lacks_terms: bool) -> list[Part]:
    """The parts of a page that one command cannot read, without the marker; none when one command reads it."""
    if query.terms is None or query.ids is not None:
        return []
    groups = grouped(query, lacks_terms=lacks_terms)
    freely = groups.pop((), ())
    if not groups:
        return []
    count = sum(len(terms) * len(labels) for terms, labels in groups.items())
    found: list[Part] = []
    if schema.MAX_RANGES < count <= _PARTS_MAX * schema.MAX_RANGES:
        pairs = [pair for terms, labels in groups.items() for pair in product(labels, terms)]
        for start in range(0, len(pairs), schema.MAX_RANGES):
            by_label: dict[int, list[int]] = {}
            for label, term in pairs[start : start + schema.MAX_RANGES]:
                by_label.setdefault(label, []).append(term)
            found.append(({"$or": schema.by_terms(query, _regrouped(by_label))}, schema.BY_TERM))
    elif freely:
        found.append(({"$or": schema.by_terms(query, groups)}, schema.BY_TERM))
    if freely:
        # One command takes one hint, and these are found by another index.
        found.append(schema.by_labels(replace(query, labels=freely)))
    return found


def _regrouped(by_label: Mapping[int, list[int]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    groups: dict[tuple[int, ...], tuple[int, ...]] = {}
    for label, terms in by_label.items():
        groups[tuple(terms)] = (*groups.get(tuple(terms), ()), label)
    return groups


def read_in_parts(connection: Connection, query: PageQuery, parts: Sequence[Part]) -> Page:
    """The page: the first positions of each part, then the records at the first of all of them."""
    return connection.snapshot(lambda database, session: _read(connection, database, session, query, parts))


def _read(
    connection: Connection,
    database: Database[Document],
    session: ClientSession,
    query: PageQuery,
    parts: Sequence[Part],
) -> Page:
    marker = database["records"].find_one({"_id": Int64(-1)}, session=session)
    if marker is None:
        raise StorageError(NOT_PREPARED)
    connection.require_era(marker)
    positions: set[int] = set()
    for condition, hint in parts:
        rows = database["records"].find(
            condition, {"_id": 1}, session=session, hint=hint, limit=query.limit, batch_size=query.limit + 1
        )
        positions.update(int(row["_id"]) for row in rows.sort("_id", ASCENDING))
    first = sorted(positions)[: query.limit]
    records, cut = (
        events.records_at(database, session, first, query.content, query.limit_bytes) if first else ([], False)
    )
    return Page(tuple(records), marker["n"], cut)
