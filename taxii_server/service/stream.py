"""The order in which one audience sees one view: its stream.

Most records stand at their own position. What the audience can read only since some event stands in the band of
that event (events.py); what is under an embargo of 48 hours stands 48 hours after its position. So a stream is read
piece by piece: the records between two bands, then a band, and so on; beside each piece run the delayed ones.
A client that polls after the last band, as nearly all do nearly always, reads one piece with one command.

Nothing may appear in a stream before what was given out already. A delayed record stands at a place that no commit
chose, so it is given out only when the store's clock has passed that place: then no record can come before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal, NamedTuple

from taxii_server.model import POSITION_MAX, Page, PageQuery, Record, Removal
from taxii_server.service.book import Behind, Book
from taxii_server.service.events import Event
from taxii_server.service.sight import Sight
from taxii_server.storage.base import Store


class Row(NamedTuple):
    """A record at a place of a stream, as it is: unless there is a `removal`, this is what the audience gets.

    `event` is the place of the event in whose band it stands, else 0; `removal` what is taken out of it.
    """

    at: int
    record: Record
    event: int = 0
    removal: Removal | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def type(self) -> str:
        return self.record.type

    @property
    def spec_version(self) -> str:
        return self.record.spec_version

    @property
    def version(self) -> str:
        return self.record.version

    @property
    def version_key(self) -> str:
        return self.record.version_key

    @property
    def content(self) -> bytes:
        return self.record.content

    @property
    def form(self) -> Literal["whole"]:
        return "whole"

    def without_text(self) -> Row:
        return self._replace(record=self.record._replace(content=b""))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in ascending order: all there are after the place asked for, up to `frontier`. `is_last`: none follow.

    `is_cut`: it ended because of the limit of bytes. `passed`: a place that the store's clock has passed.
    """

    rows: Sequence[Row]
    frontier: int
    is_last: bool
    is_cut: bool = False
    passed: int = POSITION_MAX


@dataclass(frozen=True, slots=True)
class _Piece:
    """Places after `low` and before `high`; inside the band of `event`, or between bands."""

    low: int
    high: int
    event: Event | None


class Stream:
    """One audience in one view, for some labels (all readable, of these feeds, ascending)."""

    def __init__(
        self, store: Store, book: Book, sight: Sight, view: str, feeds: tuple[str, ...], labels: Sequence[int]
    ) -> None:
        self._store = store
        self._book = book
        self._sight = sight
        self._view = view
        self._feeds = feeds
        self._labels = tuple(labels)
        self._shown = feeds_shown_since(book, view)
        #: delay -> place of the event from which on -> labels
        self._lanes: dict[int, dict[int, list[int]]] = {}
        for number in labels:
            delay = sight.access[number].delay_us
            self._lanes.setdefault(delay, {}).setdefault(self.since(number), []).append(number)
        #: all labels, where none is delayed or came later: those of every page
        self._steady = self._labels if set(self._lanes) <= {0} and set(self._lanes.get(0, ())) <= {0} else None
        self._shifts = {delay: shift_of(delay, sight.delays) for delay in self._delays() if delay}
        boundaries = {place for lane in self._lanes.values() for place in lane}
        self._events = [
            event for event in book.events if event.base in boundaries or event.classes_for(sight.audience, view)
        ]

    def _delays(self) -> list[int]:
        """Every delay of this audience, ascending: what it refers to may be delayed in another feed."""
        if not self._sight.delays:
            return []
        return sorted({access.delay_us for access in self._sight.access.values()})

    def since(self, label: int) -> int:
        """The place of the event since which this audience sees what carries the label in this view; else 0."""
        feed = self._book.labels[label].key.facets.collection
        return max(self._sight.since.get(label, 0), self._shown.get(feed, 0))

    def delay_of(self, label: int) -> int:
        """How far behind their positions the records with this label stand."""
        return shift_of(self._sight.access[label].delay_us, self._sight.delays)

    @property
    def labels(self) -> tuple[int, ...]:
        """Its labels."""
        return self._labels

    def has_events(self) -> bool:
        """Whether anything may stand elsewhere than at its own place."""
        return bool(self._events)

    def is_plain(self, after: int) -> bool:
        """True when everything behind this place stands at its own position."""
        return not self._shifts and not (self._events and self._events[-1].end > after)

    def batch(self, query: PageQuery, after: int, stride: int) -> Batch:
        """Up to `stride` rows after this place that satisfy the query, whose labels and bounds are not looked at.

        Raises Behind when the log says more than the sight knows.
        """
        piece = self._piece(after)
        if not self._shifts:
            return self._read(piece, query, stride)
        clock = self._store.clock()
        batch = self._with_delayed(piece, query, stride, clock)
        if batch is None:
            # Something is due that lies behind the clock; once the clock has passed it, nothing can come before it.
            batch = self._with_delayed(piece, query, stride, self._store.tick(), may_wait=False)
        assert batch is not None
        return batch

    # ---- a few records

    def all_records(self, query: PageQuery) -> list[Record]:
        """Every record of this stream that satisfies the query, ascending position, wherever it stands."""
        asked = replace(query, labels=self._labels, collections=self._feeds, limit=1000, after=0)
        records: list[Record] = []
        while True:
            page = self._page(asked)
            records += page.records
            if len(page.records) < asked.limit and not page.cut:
                return records
            asked = replace(asked, after=records[-1].position)

    def passed(self) -> int:
        """A place that the store's clock has passed; what is not delayed cannot lie behind it."""
        return self._store.clock() if self._shifts else POSITION_MAX

    def rows_of(self, records: Sequence[Record], expected: Sequence[tuple[int, Sequence[int]]]) -> list[Row]:
        """The rows of these records, ascending: in the first of the bands in which each may stand and does, else at its
        own place. `expected`: own place, and the places of the events, the last one first."""
        rows: list[Row] = []
        left = {record.position: (record, *each) for record, each in zip(records, expected, strict=True)}
        for base in sorted({base for _, bases in expected for base in bases}, reverse=True):
            asked = [position for position, (_, _, bases) in left.items() if base in bases]
            rows += [Row(place, left.pop(position)[0], base) for position, place in self.in_band(base, asked).items()]
        rows += [Row(place, record) for record, place, _ in left.values()]
        rows.sort(key=_place)
        return rows

    def bases_between(self, low: int, high: int) -> list[int]:
        """The places after `low` and before `high` of the events that may have given this audience something."""
        return [event.base for event in self._events if low < event.base < high and self._classes(event)]

    def in_band(self, base: int, positions: Collection[int]) -> dict[int, int]:
        """Where the records at these positions stand in the band of the event at this place, as far as they do.

        Record position -> place.
        """
        event = next((each for each in self._events if each.base == base), None)
        if event is None:
            return {}
        return self._store.places(event.number, self._classes(event), positions)

    def _classes(self, event: Event) -> tuple[int, ...]:
        return event.classes_for(self._sight.audience, self._view)

    # ---- pieces

    def _piece(self, after: int) -> _Piece:
        # Bands follow each other, and nearly all who poll have passed them all.
        number = bisect_right(self._events, after, key=attrgetter("end"))
        if number == len(self._events):
            return _Piece(after, POSITION_MAX, None)
        event = self._events[number]
        if after < event.base - 1:
            return _Piece(after, event.base, None)
        return _Piece(after, event.end + 1, event)

    def _read(self, piece: _Piece, query: PageQuery, stride: int) -> Batch:
        """The rows of a piece that are not delayed."""
        return self._between(piece, query, stride) if piece.event is None else self._in_band(piece, query, stride)

    def _since_at_most(self, delay: int, place: int) -> tuple[int, ...]:
        if self._steady is not None and not delay:
            return self._steady
        lane = self._lanes.get(delay, {})
        return tuple(
            sorted(number for since, numbers in lane.items() if not since or since <= place for number in numbers)
        )

    def _between(self, piece: _Piece, query: PageQuery, stride: int) -> Batch:
        asked = replace(
            query,
            labels=self._since_at_most(0, piece.low),
            collections=self._feeds,
            after=piece.low,
            before=piece.high,
            limit=stride,
        )
        page = self._page(asked)
        rows = [Row(record.position, record) for record in page.records]
        done = len(rows) < stride and not page.cut
        return Batch(rows, piece.high - 1 if done else rows[-1].at, done and piece.high == POSITION_MAX, page.cut)

    def _page(self, query: PageQuery) -> Page:
        page = self._store.page(query)
        if page.horizon > self._sight.length:
            raise Behind(page.horizon)
        return page

    def _in_band(self, piece: _Piece, query: PageQuery, stride: int) -> Batch:
        event = piece.event
        assert event is not None
        # A band never changes, what may be read of it does: the log tells, as the horizon does elsewhere.
        length = self._store.state().log_length
        if length > self._sight.length:
            raise Behind(length)
        classes = self._classes(event)
        labels = frozenset(self._labels)
        entries = self._store.band(event.number, classes, piece.low, stride) if classes else []
        places = {position: place for place, position in entries}
        records, cut = self._store.records_at(list(places), content=query.content, limit_bytes=query.limit_bytes)
        rows = [
            Row(places[record.position], record, event.base)
            for record in records
            if record.label in labels and satisfies(record, query)
        ]
        if cut:
            return Batch(rows, places[records[-1].position], False, bool(rows))
        return Batch(rows, piece.high - 1 if len(entries) < stride else entries[-1][0], False)

    # ---- delays

    def _with_delayed(
        self, piece: _Piece, query: PageQuery, stride: int, clock: int, may_wait: bool = True
    ) -> Batch | None:
        """The rows of a piece; None when some are due behind the clock and the clock has to be moved first."""
        batch = self._read(piece, query, stride)
        passed = max([clock, *(row.at for row in batch.rows)])
        limit = max(passed, self._store.present()) if may_wait else passed
        rows, frontier, all_read, cut = list(batch.rows), batch.frontier, batch.is_last, batch.is_cut
        since = piece.low if piece.event is None else piece.event.base
        for delay, shift in self._shifts.items():
            bounds = replace(
                query,
                collections=self._feeds,
                after=max(piece.low - shift, 0),
                before=min(piece.high, limit + 1) - shift,
                limit=stride,
            )
            own = self._page(replace(bounds, labels=self._since_at_most(delay, since)))
            # What refers to something delayed waits as long as that does.
            sooner = tuple(n for other in self._lanes if other < delay for n in self._since_at_most(other, since))
            others = self._page(replace(bounds, labels=tuple(sorted(sooner)), content=False))
            if any(record.position + shift > passed for record in own.records):
                return None
            referring = [record for record in others.records if record.hard_refs or record.soft_refs]
            if any(record.position + shift > passed for record in referring):
                return None
            if query.content and referring:
                positions = [record.position for record in referring]
                # Not cut: what is not wanted is dropped before long, and a page has its own limit.
                referring = self._store.records_at(positions)[0]
            rows += [Row(record.position + shift, record) for record in (*own.records, *referring)]
            for page in (own, others):
                if page.cut or len(page.records) == stride:
                    frontier, all_read = min(frontier, page.records[-1].position + shift), False
                    cut = cut or page.cut
        rows.sort(key=_place)
        return Batch([row for row in rows if row.at <= frontier], frontier, all_read, cut, passed)


def shift_of(delay_us: int, delays: Sequence[int]) -> int:
    """How far behind its position a record with this delay stands; each delay has places that no other has."""
    return delay_us + delays.index(delay_us) + 1 if delay_us else 0


def feeds_shown_since(book: Book, view: str) -> dict[str, int]:
    """The feeds that a view shows only since an event: place of that event."""
    return {feed: event.base for event in book.events for feed in event.views.get(view, ())}


def satisfies(record: Record, query: PageQuery) -> bool:
    """Whether a record passes the filters of a query."""
    return (
        (query.ids is None or record.id in query.ids)
        and (query.types is None or record.type in query.types)
        and (query.spec_versions is None or record.spec_version in query.spec_versions)
        and (query.version_keys is None or record.version_key in query.version_keys)
    )


def _place(row: Row) -> int:
    return row.at
