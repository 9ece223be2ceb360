"""Reads: one page of a collection's objects, manifest, versions, or of one object (TAXII 2.1, 5.3 to 5.8).

Order of work: policy, then filters, then paging. `more`, `next` and the date headers therefore speak only of
what this audience gets, and a page is full or the last one, whatever lies hidden in between.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import orjson

from taxii_server.catalog import Catalog, Collection
from taxii_server.errors import BadQuery, NotFound
from taxii_server.model import PageQuery, Record
from taxii_server.service.book import Behind, Book
from taxii_server.service.cursor import CursorSeal
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.service.resolver import Resolver
from taxii_server.service.sight import Sight, Sights
from taxii_server.storage.base import Store

#: A page holds no more objects once their texts come above this: a thousand large ones would fill the memory.
_MAX_PAGE_BYTES = 16_000_000
#: A `next` stays short: a longer query does not travel in it, only its fingerprint, and must be repeated.
_MAX_QUERY_IN_NEXT = 200
#: Records of one storage command, where a page asks for fewer but most of them turn out to be hidden.
_LONGEST_STRIDE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """One page: records in ascending position, and the `next` token when more follow.

    `after` is the exclusive lower bound that the page was read from (0: from the oldest).
    """

    records: tuple[Record, ...]
    next: str | None
    after: int


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a page starts and what it filters, from the parameters or from a `next`."""

    filters: Filters
    after: int


class Reader:
    """The reads of one server under one catalog."""

    def __init__(self, store: Store, book: Book, catalog: Catalog, sights: Sights, seal: CursorSeal) -> None:
        self._store = store
        self._book = book
        self._catalog = catalog
        self._sights = sights
        self._seal = seal

    def read(self, audience: str, collection: Collection, request: ReadRequest, limit: int) -> Found:
        """One page of up to `limit` records.

        Raises BadQuery for a `next` that is not ours, NotFound for an object that is not there.
        """
        scope = "|".join((audience, collection.id, request.resource, request.object_id or ""))
        start = self._start(request, scope)
        query = start.filters
        if request.object_id is not None:
            query = replace(query, ids=(request.object_id,), types=None)
        if request.resource == "versions":
            query = replace(query, versions=EVERY)
        records, cut = self._collect(audience, collection, query, start.after, limit + 1, request.content)
        if not records and request.object_id is not None:
            self._require_object(audience, collection, query)
        # The last record of a cut page only proves that there is more; the next page begins with it.
        more = cut or len(records) > limit
        records = records[:-1] if cut else records[:limit]
        token = self._next(scope, start.filters, records[-1].position) if more else None
        return Found(tuple(records), token, start.after)

    # ---- where to start

    def _start(self, request: ReadRequest, scope: str) -> _Start:
        if request.next is None:
            return _Start(request.filters or Filters(), request.added_after or 0)
        payload = self._seal.open(scope, request.next)
        if not isinstance(payload, dict):
            raise BadQuery("next", "not a value that this server gave you for this resource")
        filters = self._filters_of(payload, request)
        # The token's own position governs: a client may send an old added_after, or none, beside it.
        return _Start(filters, int(payload["a"]))

    @staticmethod
    def _filters_of(payload: dict[str, Any], request: ReadRequest) -> Filters:
        if "h" in payload:
            if request.filters is None or _fingerprint(request.filters) != payload["h"]:
                raise BadQuery("next", "repeat the match parameters of the first request beside it, unchanged")
            return request.filters
        filters = Filters.from_json(payload.get("q", {}))
        if request.filters is not None and request.filters != filters:
            raise BadQuery("next", "the match parameters differ from those of the first request")
        return filters

    def _next(self, scope: str, filters: Filters, position: int) -> str:
        parts = filters.to_json()
        payload: dict[str, Any] = {"a": position}
        if parts and len(orjson.dumps(parts)) > _MAX_QUERY_IN_NEXT:
            payload["h"] = _fingerprint(filters)
        elif parts:
            payload["q"] = parts
        return self._seal.seal(scope, payload)

    # ---- the records

    def _collect(
        self, audience: str, collection: Collection, filters: Filters, after: int, wanted: int, content: bool
    ) -> tuple[list[Record], bool]:
        """Up to `wanted` records that the audience gets, ascending; fewer only when there are no more.

        True with two or more of them when their texts are as much as one page may hold.
        """
        return self._book.settled(lambda: self._walk(audience, collection, filters, after, wanted, content))

    def _walk(
        self, audience: str, collection: Collection, filters: Filters, after: int, wanted: int, content: bool
    ) -> tuple[list[Record], bool]:
        sight = self._sights.of(audience)
        feeds = self._catalog.feeds(collection)
        labels = self._labels(sight, feeds, filters)
        found: list[Record] = []
        stride = wanted
        while True:
            page = self._store.page(_page_query(labels, feeds, filters, after, stride, content))
            if page.horizon > sight.length:
                raise Behind(page.horizon)
            found += Resolver(self._store, self._book, self._catalog, sight, feeds).standing(page.records, filters)
            if len(found) >= wanted or (len(page.records) < stride and not page.cut):
                return found[:wanted], False
            if len(found) > 1 and sum(len(record.content) for record in found) > _MAX_PAGE_BYTES:
                return found, True
            after = page.records[-1].position
            # What is hidden by references may be a long stretch: cross it in larger and larger strides.
            stride = max(wanted, min(2 * stride, _LONGEST_STRIDE))

    def _labels(self, sight: Sight, feeds: tuple[str, ...], filters: Filters) -> tuple[int, ...]:
        """The readable labels of these feeds that the version filter can choose from."""
        labels = sight.labels_in(feeds)
        choice = filters.choice
        only_last = choice.last and not (choice.first or choice.every or choice.keys)
        if only_last and self._catalog.policy.defaults.versions != "independent":
            labels = tuple(filter(self._book.latest.__contains__, labels))
        return labels

    def _require_object(self, audience: str, collection: Collection, filters: Filters) -> None:
        """NotFound unless the object, or the single version asked for, is there for this audience.

        The other filters may leave nothing of an object that exists: that is an empty answer, not a 404.
        """
        versions = filters.choice if filters.choice.only_keys() else EVERY
        probe = Filters(ids=filters.ids, spec_versions=("2.0", "2.1"), versions=versions)
        found, _ = self._collect(audience, collection, probe, 0, 1, content=False)
        if not found:
            raise NotFound


def _page_query(
    labels: tuple[int, ...], feeds: tuple[str, ...], filters: Filters, after: int, limit: int, content: bool
) -> PageQuery:
    return PageQuery(
        labels=labels,
        collections=feeds,
        after=after,
        limit=limit,
        ids=filters.ids,
        types=filters.types,
        spec_versions=filters.spec_versions,
        version_keys=filters.choice.keys if filters.choice.only_keys() else None,
        content=content,
        limit_bytes=_MAX_PAGE_BYTES,
    )


def _fingerprint(filters: Filters) -> str:
    return hashlib.sha256(orjson.dumps(filters.to_json())).hexdigest()[:32]
