"""Reads: one page of a collection's objects, manifest, versions, or of one object (TAXII 2.1, 5.3 to 5.8).

Order of work: policy, then filters, then paging. `more`, `next` and the date headers therefore speak only of
what this audience gets, and a page is full or the last one, whatever lies hidden in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from taxii_server.catalog import Catalog, Collection
from taxii_server.errors import BadQuery, NotFound
from taxii_server.model import PageQuery, Record
from taxii_server.service.book import Book
from taxii_server.service.copies import RELATION_SHIFT, Copies, Served
from taxii_server.service.cursor import CursorSeal
from taxii_server.service.finding import fitting, named_ids, terms_by_label
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.service.resolver import Resolver
from taxii_server.service.sight import Sight, Sights
from taxii_server.service.stream import Row, Stream
from taxii_server.stix.terms import Hub
from taxii_server.storage.base import Store

#: A page holds no more objects once their texts come above this: a thousand large ones would fill the memory.
_MAX_PAGE_BYTES = 16_000_000
#: A `next` stays short: a longer query does not travel in it, only its fingerprint, and must be repeated.
_MAX_QUERY_IN_NEXT = 200
#: Records of one storage command, where a page asks for fewer but most of them turn out to be hidden.
_LONGEST_STRIDE = 1000
#: Streams that a process keeps: making one walks over all labels of its audience, and polls come every minute.
_REMEMBERED = 500


class Superseded(Exception):
    """Another catalog is in force than the one that this reader was made for."""


@dataclass(frozen=True, slots=True)
class Found:
    """One page: object versions in ascending date_added, and the `next` token when more follow.

    `after` is the exclusive lower bound that the page was read from (0: from the oldest).
    """

    items: tuple[Served, ...]
    next: str | None
    after: int

    @property
    def records(self) -> tuple[Record, ...]:
        """What is stored of each item."""
        return tuple(item.record for item in self.items)


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a page starts and what it filters, from the parameters or from a `next`."""

    filters: Filters
    after: int


class Reader:
    """The reads of one server under one catalog."""

    def __init__(self, store: Store, book: Book, sights: Sights, seal: CursorSeal, copies: Copies, epoch: int) -> None:
        self._store = store
        self._book = book
        self._catalog: Catalog = sights.catalog
        self._sights = sights
        self._seal = seal
        self._copies = copies
        self._epoch = epoch
        #: the last stream of each audience in each collection, and whether it may hold copies; for one sight
        self._streams: dict[tuple[str, str, bool], tuple[Sight, Stream]] = {}
        self._copying: dict[tuple[str, str], tuple[Sight, bool]] = {}

    def tag(self, audience: str, body: bytes) -> str:
        """A tag of this body for this audience. Of nothing else: that would tell of changes which do not concern it."""
        return self._seal.tag(audience, body)

    def read(self, audience: str, collection: Collection, request: ReadRequest, limit: int) -> Found:
        """One page of up to `limit` object versions.

        Raises BadQuery for a `next` that is not ours, NotFound for an object that is not there, Superseded when
        another catalog came into force meanwhile.
        """
        scope = "|".join((audience, collection.id, request.resource, request.object_id or ""))
        start = self._start(request, scope)
        query = start.filters
        if request.object_id is not None:
            query = replace(query, ids=(request.object_id,), types=None)
        if request.resource == "versions":
            query = replace(query, versions=EVERY)
        items, cut = self._collect(
            audience, collection, query, start.after, limit + 1, request.content, request.only_texts
        )
        if not items and request.object_id is not None:
            self._require_object(audience, collection, query)
        # The last item of a cut page only proves that there is more; the next page begins with it.
        more = cut or len(items) > limit
        items = items[:-1] if cut else items[:limit]
        token = self._next(scope, start.filters, items[-1].at) if more else None
        return Found(tuple(items), token, start.after)

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
        self,
        audience: str,
        collection: Collection,
        filters: Filters,
        after: int,
        wanted: int,
        content: bool,
        only_texts: bool = False,
    ) -> tuple[list[Served], bool]:
        """Up to `wanted` object versions that the audience gets, ascending; fewer only when there are no more.

        True with two or more of them when their texts are as much as one page may hold.
        """

        def attempt() -> tuple[list[Served], bool]:
            sight = self._sights.of(audience)
            if self._book.epoch > self._epoch:
                raise Superseded
            return _Walk(self, sight, collection, filters, content, only_texts).collect(after, wanted)

        return self._book.settled(attempt)

    def _require_object(self, audience: str, collection: Collection, filters: Filters) -> None:
        """NotFound unless the object, in the versions asked for, is there for this audience.

        Without versions that is the newest: one that is read as a copy has another id, also where older ones have not.
        The other filters may leave nothing of an object that exists: that is an empty answer, not a 404.
        """
        probe = Filters(ids=filters.ids, spec_versions=("2.0", "2.1"), versions=filters.choice)
        found, _ = self._collect(audience, collection, probe, 0, 1, content=False)
        if not found:
            raise NotFound

    def served_whole(self, audience: str, collection: Collection, records: list[Record]) -> set[int]:
        """The positions of those of the records that the audience may read, and not as copies."""
        sight = self._sights.of(audience)
        resolver = self.resolver(sight, collection)
        readable = resolver.readable(records, self._store.clock())
        rows = [Row(record.position, record, removal=resolver.removal(record)) for record in readable]
        return {item.record.position for item in self.serve(rows, resolver) if item.form == "whole"}

    def serve(self, rows: Sequence[Row], resolver: Resolver) -> Sequence[Served]:
        """What the audience gets of these rows."""
        return self._copies.serve(rows, resolver.references)

    def stream(self, sight: Sight, collection: Collection, filters: Filters) -> Stream:
        """The stream of an audience in a collection, as far as the version filter can choose from it."""
        choice = filters.choice
        only_last = choice.last and not (choice.first or choice.every or choice.keys)
        key = sight.audience, collection.id, only_last
        known = self._streams.get(key)
        # All that a stream is made of is in the sight, which is made anew when the log tells anything.
        if known is None or known[0] is not sight:
            if len(self._streams) >= _REMEMBERED:
                self._streams.clear()
            known = self._streams[key] = (sight, self._new_stream(sight, collection, only_last))
        return known[1]

    def _new_stream(self, sight: Sight, collection: Collection, only_last: bool) -> Stream:
        feeds = self._catalog.feeds(collection)
        labels = sight.labels_in(feeds)
        # Where versions wait for an embargo to end, an older one may be the latest that is readable.
        if only_last and self._catalog.policy.defaults.newest_governs and not sight.delays:
            labels = tuple(filter(self._book.latest.__contains__, labels))
        return Stream(self._store, self._book, sight, collection.id, feeds, labels)

    def copies_any(self, sight: Sight, collection: Collection) -> bool:
        """Whether this audience may get copies in place of objects."""
        if self._catalog.policy.defaults.refs_lists == "derive":
            return True
        key = sight.audience, collection.id
        known = self._copying.get(key)
        if known is None or known[0] is not sight:
            labels = sight.labels_in(self._catalog.feeds(collection))
            copies = any(sight.access[number].removal is not None for number in labels)
            known = self._copying[key] = (sight, copies)
        return known[1]

    def resolver(self, sight: Sight, collection: Collection) -> Resolver:
        """Answers for this audience in a collection."""
        return Resolver(self._store, self._book, self._catalog, sight, self._catalog.feeds(collection))


class _Walk:
    """One page on its way: what one audience gets of one collection with one query."""

    def __init__(
        self,
        reader: Reader,
        sight: Sight,
        collection: Collection,
        filters: Filters,
        content: bool,
        only_texts: bool,
    ) -> None:
        self._reader = reader
        self._store = reader._store
        self._sight = sight
        self._collection = collection
        self._filters = filters
        self._content = content
        #: optional filters look at texts
        self._reads_texts = content or bool(filters.conditions)
        self._stream = reader.stream(sight, collection, filters)
        self._copying = reader.copies_any(sight, collection)
        #: what is made of a text, and what stands elsewhere, has to be known in full
        self._only_texts = only_texts and content and not self._copying and not self._stream.has_events()
        self._query = self._page_query()

    def _page_query(self) -> PageQuery:
        """What the store can filter. Copies have other ids, versions and a relationship: there it filters less."""
        filters = self._filters
        ids, types = filters.ids, filters.types
        keys = filters.choice.keys if filters.choice.only_keys() else None
        if self._copying:
            keys = None
            if ids is not None:
                ids = tuple(sorted({*ids, *self._reader._copies.originals(ids).values()}))
            if types is not None and "relationship" in types:
                types = None
        return PageQuery(
            labels=(),
            collections=(),
            after=0,
            limit=0,
            ids=ids,
            types=types,
            spec_versions=filters.spec_versions,
            version_keys=keys,
            content=self._reads_texts,
            limit_bytes=_MAX_PAGE_BYTES,
            terms=self._terms() if filters.conditions and ids is None else None,
            only_texts=self._only_texts,
        )

    def _terms(self) -> Mapping[int, tuple[int, ...]]:
        """Where to look for what fits the optional filters."""
        reader, conditions = self._reader, self._filters.conditions
        ids = named_ids(conditions)
        refs_lists = reader._catalog.policy.defaults.refs_lists
        hidden: frozenset[str] = frozenset()
        if ids and refs_lists != "keep":
            references = reader.resolver(self._sight, self._collection).references
            references.load(ids)
            hidden = frozenset(filter(references.is_hidden, ids))
        originals = reader._copies.originals(ids) if ids and self._copying else {}
        return terms_by_label(
            conditions,
            self._stream.labels,
            self._sight,
            reader._book,
            Hub(reader._copies.identity, originals),
            hidden=hidden,
            derives=refs_lists == "derive",
        )

    def collect(self, after: int, wanted: int) -> tuple[list[Served], bool]:
        """As Reader._collect."""
        # The relationship of a copy stands a little behind it: begin where the copy may have been the last one.
        start = max(after - RELATION_SHIFT, 0) if self._copying else after
        if self._query.ids is not None and not self._stream.is_plain(start):
            return self._by_ids(after, wanted)
        found: list[Served] = []
        place, stride = start, wanted
        while True:
            batch = self._stream.batch(self._query, place, stride)
            rows, hold = self._standing(batch.rows, batch.passed)
            items = self._serve(rows)
            # What stands at or before the place asked for is there only where copies are.
            found += [item for item in items if item.at > after] if self._copying else items
            if len(found) >= wanted or batch.is_last or hold is not None:
                return found[:wanted], False
            if len(found) > 1 and sum(len(item.content) for item in found) > _MAX_PAGE_BYTES:
                return found, True
            place = batch.frontier
            # What is hidden by references may be a long stretch: cross it in larger and larger strides.
            stride = max(wanted, min(2 * stride, _LONGEST_STRIDE))

    def _standing(self, rows: Sequence[Row], passed: int) -> tuple[list[Row], int | None]:
        resolver = self._resolver = self._reader.resolver(self._sight, self._collection)
        choice = self._filters.choice
        if not (self._copying and choice.keys):
            return resolver.standing(rows, self._filters, self._stream, passed)
        # Which version of a copy is asked for shows only when the copy is made.
        every, hold = resolver.standing(rows, replace(self._filters, versions=EVERY), self._stream, passed)
        rest = replace(choice, keys=())
        self._picked = set()
        if rest.first or rest.last:
            picked, _ = resolver.standing(rows, replace(self._filters, versions=rest), self._stream, passed)
            self._picked = {row.record.position for row in picked}
        return every, hold

    def _serve(self, rows: Sequence[Row]) -> Sequence[Served]:
        items = self._reader.serve(rows, self._resolver)
        if self._filters.conditions:
            items = fitting(items, self._filters.conditions, content=self._content)
        if not self._copying:
            return items
        ids, types, choice = self._filters.ids, self._filters.types, self._filters.choice
        return [
            item
            for item in items
            if (ids is None or item.id in ids)
            and (types is None or item.type in types)
            and (not choice.keys or item.version_key in choice.keys or item.record.position in self._picked)
        ]

    # ---- single objects whose places lie in several bands

    def _by_ids(self, after: int, wanted: int) -> tuple[list[Served], bool]:
        """The same for a few objects: their records first, then the places where they stand."""
        records = self._stream.all_records(replace(self._query, content=False))
        passed = self._stream.passed()
        resolver = self._reader.resolver(self._sight, self._collection)
        resolver.references.load({record.id for record in records})
        rows = self._stream.rows_of(records, [resolver.expected(record, self._stream) for record in records])
        if any(passed < row.at <= self._store.present() for row in rows):
            passed = self._store.tick()
        rows = [row for row in rows if row.at <= passed]
        standing, _ = self._standing(rows, passed)
        found: list[Served] = []
        size = 0
        for start in range(0, len(standing), wanted):
            some = standing[start : start + wanted]
            items = self._serve(self._with_content(some) if self._reads_texts else some)
            for item in items:
                if item.at > after:
                    found.append(item)
                    size += len(item.content)
                    if len(found) == wanted:
                        return found, False
                    if size > _MAX_PAGE_BYTES and len(found) > 1:
                        return found, True
        return found, False

    def _with_content(self, rows: list[Row]) -> list[Row]:
        """The rows with their texts; what is gone meanwhile is left out."""
        texts: dict[int, Record] = {}
        positions = [row.record.position for row in rows]
        while positions:
            records, cut = self._store.records_at(positions, limit_bytes=_MAX_PAGE_BYTES)
            texts.update((record.position, record) for record in records)
            if not cut:
                break
            positions = positions[positions.index(records[-1].position) + 1 :]
        return [row._replace(record=texts[row.record.position]) for row in rows if row.record.position in texts]


def _fingerprint(filters: Filters) -> str:
    return hashlib.sha256(orjson.dumps(filters.to_json())).hexdigest()[:32]
