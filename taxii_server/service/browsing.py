"""Looking around in a collection: how much is there, what is new, what fits a word. For people, within bounds.

Everything goes through the reads of a visit, so it knows nothing that a poll would not deliver, and the bounds are
counted in what this audience gets: what is hidden changes no number here. Nothing is recorded as given away by looking;
whoever shows some of the items says so (Visit.show).

Streams are read from the old end. What is newest is found by trying from where on there is little left; each try reads
one short page without contents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from taxii_server.catalog import Collection
from taxii_server.service.copies import Served
from taxii_server.service.query import Filters, ReadRequest
from taxii_server.service.visit import Visit

#: So many objects are counted; beyond that there are "more than" so many.
COUNTED = 1_000
#: So many objects of one day are counted.
COUNTED_A_DAY = 500
#: So many objects, the newest ones, are looked at for a word.
SEARCHED = 2_000
_SEARCHED_BYTES = 24_000_000
#: Tries to find where the newest objects begin: each halves a span of at most 2^63 µs.
_TRIES = 64
DAY_US = 86_400_000_000
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are, or that there are more than that."""

    number: int
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class Day:
    """What was added on one day (UTC), which begins at `start` (µs)."""

    start: int
    count: Count


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest items, newest first, and whether there are older ones."""

    items: tuple[Served, ...]
    is_more: bool


@dataclass(frozen=True, slots=True)
class Match:
    """What was found, newest first, among so many of the newest objects; `is_all`: there are no others."""

    items: tuple[Served, ...]
    looked_at: int
    is_all: bool


class Browser:
    """Looks around for whoever makes the visit."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def count(self, collection: Collection) -> Count:
        """How many objects the collection holds for this audience."""
        items, more = self._read(collection, Filters(), 0, COUNTED, content=False)
        return Count(len(items), more)

    def days(self, collection: Collection, number: int) -> list[Day]:
        """How many objects came on each of the last `number` days, oldest first. Today is the last one."""
        today = self._visit.store.present() // DAY_US * DAY_US
        counts: dict[int, Count] = {}
        start = today - (number - 1) * DAY_US
        while start <= today:
            items, more = self._read(collection, Filters(), start - 1, COUNTED_A_DAY, content=False)
            for item in items:
                day = item.at // DAY_US * DAY_US
                counts[day] = Count(counts.get(day, Count(0)).number + 1)
            if not more:
                break
            # What the page ends in is not complete: the day is asked for by itself, unless the page is all of it.
            last = items[-1].at // DAY_US * DAY_US
            if last == start:
                counts[start] = Count(len(items), is_more=True)
                start += DAY_US
            else:
                del counts[last]
                start = last
        first = today - (number - 1) * DAY_US
        return [Day(each, counts.get(each, Count(0))) for each in range(first, today + DAY_US, DAY_US)]

    def newest(self, collection: Collection, wanted: int, filters: Filters | None = None) -> Recent:
        """The newest `wanted` objects with their contents."""
        filters = filters or Filters()
        after, is_all = self._tail(collection, wanted, filters)
        items, _ = self._read(collection, filters, after, wanted * 4, content=True)
        found = tuple(reversed(items))
        return Recent(found[:wanted], len(found) > wanted or not is_all)

    def search(
        self, collection: Collection, fits: Callable[[Served], bool], types: Sequence[str], wanted: int
    ) -> Match:
        """Those of the newest objects, with contents, that fit; of these types, if there are any."""
        filters = Filters(types=tuple(types) or None)
        after, is_all = self._tail(collection, SEARCHED, filters)
        looked_at, size = 0, 0
        found: list[Served] = []
        while looked_at < 4 * SEARCHED and size < _SEARCHED_BYTES:
            items, more = self._read(collection, filters, after, 500, content=True)
            looked_at += len(items)
            size += sum(len(item.content) for item in items)
            found += filter(fits, items)
            if not more:
                return Match(tuple(reversed(found))[:wanted], looked_at, is_all)
            after = items[-1].at
        return Match(tuple(reversed(found))[:wanted], looked_at, False)

    def of_ids(self, collection: Collection, ids: Sequence[str]) -> list[Served]:
        """The newest version of each of these objects that is there, with contents."""
        most = self._visit.settings.max_ids_per_match
        found: list[Served] = []
        for start in range(0, len(ids), most):
            filters = Filters(ids=tuple(ids[start : start + most]))
            found += self._read(collection, filters, 0, most, content=True)[0]
        return found

    def referrers(self, collection: Collection, object_id: str, wanted: int) -> Recent:
        """Objects that refer to this one, the last ones that came, with contents.

        Costs by the number of records that refer to it, also by those that this audience does not get: as long as it
        may find more, it goes on, so that what is hidden does not shorten the answer.
        """
        visit = self._visit
        sight = visit.snapshot.sights.of(visit.actor.partner)
        feeds = frozenset(visit.catalog.feeds(collection))
        records = visit.store.referrers([object_id])
        near = [record for record in records if record.label in sight.access and record.collection in feeds]
        ids = list(dict.fromkeys(record.id for record in sorted(near, key=lambda each: -each.position)))
        found: list[Served] = []
        start, stride = 0, 50
        while start < len(ids) and len(found) <= wanted:
            order = {id_: place for place, id_ in enumerate(ids[start : start + stride])}
            items = self.of_ids(collection, list(order))
            # One of several versions may refer to it that the audience gets another one of.
            fitting = [item for item in items if object_id.encode() in item.content]
            found += sorted(fitting, key=lambda item: order.get(item.id, len(order)))
            start, stride = start + stride, 500
        return Recent(tuple(found[:wanted]), len(found) > wanted)

    # ---- inside

    def _tail(self, collection: Collection, wanted: int, filters: Filters) -> tuple[int, bool]:
        """A place behind which there are the newest `wanted` objects, and not many more; True when those are all."""
        most = 4 * wanted
        items, more = self._read(collection, filters, 0, most, content=False)
        if not more:
            return 0, True
        low, high = items[-1].at, max(self._visit.store.present(), items[-1].at) + 1
        step = _MINUTE_US
        for _ in range(_TRIES):
            # From the new end in larger and larger steps; then the half of what is between too much and too little.
            middle = max(high - step, (low + high) // 2) if step else (low + high) // 2
            if middle in (low, high):
                break
            items, more = self._read(collection, filters, middle, most, content=False)
            if more:
                low, step = middle, 0
            elif len(items) < wanted:
                high, step = middle, step * 16
            else:
                return middle, False
        return low, False

    def _read(
        self, collection: Collection, filters: Filters, after: int, wanted: int, *, content: bool
    ) -> tuple[list[Served], bool]:
        """Up to `wanted` items behind this place, ascending, and whether there are more."""
        request = ReadRequest("objects", filters=filters, added_after=after, limit=wanted, content=content)
        found: list[Served] = []
        while True:
            page = self._visit.look(collection, replace(request, limit=wanted - len(found)))
            found += page.items
            if page.next is None or len(found) >= wanted:
                return found, page.next is not None
            request = replace(request, next=page.next)
