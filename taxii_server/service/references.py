"""What an audience may not read because of what it refers to, and since when it may (policy design, C11 and C20).

A record that refers to something hidden is hidden, through several steps, and with it the older versions that it
governs (C9). Where lists are derived, only its single references count and the hidden ids of its lists are taken
out, unless nothing is left of them. What an audience reads since some event it could not see before, so what refers to
it stands at that event as well; what refers to something under an embargo waits as long.

All is answered from look-ups of the ids concerned, a whole page at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from taxii_server.catalog import Catalog
from taxii_server.model import POSITION_MAX, Record
from taxii_server.service.book import Behind, Book, LabelKey
from taxii_server.service.events import Event
from taxii_server.service.sight import Sight
from taxii_server.service.stream import shift_of
from taxii_server.service.versions import age
from taxii_server.storage.base import Store

#: Longest chain of references that is followed; what hangs deeper counts as hidden.
MAX_DEPTH = 32
#: Ids of one look-up; a report may list tens of thousands.
_IDS_PER_LOOKUP = 20_000
_TRANSLATION = "language-content--"
_NOTHING: Mapping[str, int] = {}


class References:
    """Answers for one audience and one page. Remembers what it looked up."""

    def __init__(
        self,
        store: Store,
        book: Book,
        catalog: Catalog,
        sight: Sight,
        cut_id: str = "",
        before: int = POSITION_MAX,
    ) -> None:
        """Of `cut_id`, only the records `before` this position count: as it was before the others came."""
        self._cut_id, self._before = cut_id, before
        self._store = store
        self._book = book
        self._policy = catalog.policy
        self._sight = sight
        self._derives = catalog.policy.defaults.refs_lists == "derive"
        self.governed = catalog.policy.defaults.newest_governs
        #: whether anything of this audience stands elsewhere than at its own position
        self.moves = bool(sight.events or sight.reached or sight.since or sight.later)
        self.waits = bool(sight.delays) and any(access.delay_us for access in sight.access.values())
        #: what is known: the records of these ids, and the newest of each submitter
        self.records: dict[str, list[Record]] = {}
        self._newest: dict[tuple[str, str], Record] = {}
        #: what follows: hidden ids, and positions of records that are hidden although their label is readable
        self._hidden: set[str] = set()
        self.closed: set[int] = set()
        #: for each id, the records that may be closed when it is hidden; how many records keep an id from being so
        self._dependents: dict[str, list[Record]] = {}
        self._open: dict[str, int] = {}
        #: the place since which each id is in sight: of an event, or where one of its records stands
        self._since: dict[str, int] = {}
        #: position of a record -> the place of the event at which a version that governed it by then was granted
        self._granted: dict[int, int] = {}
        self._lags: dict[str, int] = {}

    # ---- answers

    def is_open(self, record: Record) -> bool:
        """Whether nothing hidden stands in the way. For loaded records whose label is readable."""
        needs = self.needs(record)
        if not self._hidden.isdisjoint(needs):
            return False
        if is_translation(record) and any(map(self._is_redacted, needs)):
            return False
        return not any(each and self._hidden.issuperset(each) for each in self._lists(record))

    def is_readable(self, record: Record) -> bool:
        """Whether the audience may read it. For loaded records."""
        return record.label in self._sight.access and record.position not in self.closed

    def taken_out(self, record: Record) -> frozenset[str]:
        """The hidden ids that are taken out of its lists."""
        return frozenset(self._hidden.intersection(self.listed(record)))

    def hidden(self, record: Record) -> tuple[str, ...]:
        """The hidden ids that it, or the newer version that governs it, refers to."""
        return tuple(id_ for id_ in self._all(record) if id_ in self._hidden)

    def moments(self, record: Record) -> set[int]:
        """The places since which what it, or the newer version that governs it, refers to is readable.

        They are places of events; or those of records, where an event before may have brought the record in sight by
        another version or copy, which is gone by now.
        """
        return {self._since[id_] for id_ in self._all(record) if id_ in self._since}

    def is_event(self, place: int) -> bool:
        """Whether an event for this audience stands there, and not a record or an event for others."""
        return place in self._sight.events

    def granted(self, record: Record) -> int:
        """The place of the event since which its governing version can be read, if it stands there; else 0.

        For loaded records.
        """
        return self._granted.get(record.position, 0)

    def lag(self, record: Record) -> int:
        """The longest delay of what it refers to, in µs."""
        return max((self._lags.get(id_, 0) for id_ in self._all(record)), default=0)

    def is_hidden(self, id_: str) -> bool:
        """Whether the store has records of this id and the audience may read none. For loaded ids."""
        return id_ in self._hidden

    def places_others(self, id_: str, position: int) -> bool:
        """Whether what refers to the id, the first of that at this position, may stand elsewhere than at its own place
        because of it. For loaded ids."""
        since = self._since.get(id_, 0)
        return bool(self._lags.get(id_)) or any(position < base <= since for base in self._sight.events)

    def due(self, record: Record) -> int:
        """The place that the clock must have passed for all that it refers to."""
        places = [
            min((self.place(each) for each in self.records[id_] if self._counts(each)), default=0)
            for id_ in self._all(record)
            if self._lags.get(id_)
        ]
        return max(places, default=0)

    def place(self, record: Record) -> int:
        """Where it stands in the stream, apart from events."""
        return record.position + shift_of(self._delay(record), self._sight.delays)

    def _delay(self, record: Record) -> int:
        return max(self._sight.access[record.label].delay_us, self.lag(record))

    # ---- what a record refers to

    def of(self, record: Record) -> tuple[str, ...]:
        """The ids that matter to whether and when it is read. Nobody loses what it posted itself."""
        return self.strict(record) + self.listed(record)

    def strict(self, record: Record) -> tuple[str, ...]:
        """The ids whose being hidden hides it."""
        if self.is_own(record):
            return ()
        mode = self._policy.defaults.refs_lists
        if mode == "hide" or (mode == "derive" and self._is_kept_whole(record)):
            return record.hard_refs + record.soft_refs
        return record.hard_refs

    def listed(self, record: Record) -> tuple[str, ...]:
        """The ids of lists that are taken out when they are hidden."""
        if not self._derives or self.is_own(record) or not record.soft_refs or self._is_kept_whole(record):
            return ()
        return record.soft_refs

    def needs(self, record: Record) -> tuple[str, ...]:
        """The ids whose being hidden hides it, those of the version that governs it included."""
        newest = self._governor(record)
        return self.strict(record) if newest is None else self.strict(record) + self.strict(newest)

    def is_own(self, record: Record) -> bool:
        return record.submitter == self._sight.audience

    def key(self, record: Record) -> LabelKey:
        """What its label stands for."""
        return self._book.label(record.label).key

    def _all(self, record: Record) -> tuple[str, ...]:
        newest = self._governor(record)
        return self.of(record) if newest is None else self.of(record) + self.of(newest)

    def _lists(self, record: Record) -> tuple[tuple[str, ...], ...]:
        newest = self._governor(record)
        return (self.listed(record),) if newest is None else (self.listed(record), self.listed(newest))

    def _governor(self, record: Record) -> Record | None:
        newest = self._newest.get((record.id, record.submitter))
        if not self.governed or newest is None or age(newest)[:2] == age(record)[:2]:
            return None
        return newest

    def _is_kept_whole(self, record: Record) -> bool:
        """No copy is made of what its originator controls (policy design, C6)."""
        return self._policy.is_orcon(self.key(record).facets, self._book.meanings)

    def _is_redacted(self, id_: str) -> bool:
        """Whether some version of the object is read in part only: its text must not come in another language.

        Any version: one that is whole may still be under an embargo, or come and go with what it refers to.
        """
        return any(
            self._sight.access[each.label].removal is not None or self.taken_out(each)
            for each in self.records.get(id_, ())
            if each.label in self._sight.access and not self._is_own_copy(each)
        )

    def _counts(self, record: Record) -> bool:
        """Whether it makes its id visible. One's own copies do not: whoever guesses an id could post one."""
        return (
            record.label in self._sight.access and record.position not in self.closed and not self._is_own_copy(record)
        )

    def _is_own_copy(self, record: Record) -> bool:
        return self.is_own(record) and any(not self.is_own(other) for other in self.records[record.id])

    # ---- looking up

    def load(self, ids: Iterable[str]) -> None:
        """Know the records of these ids and of what they refer to, and which of all known ids are hidden."""
        missing = set(ids) - self.records.keys()
        if not missing:
            return
        fresh: list[str] = []
        for _ in range(MAX_DEPTH):
            if not missing:
                break
            fresh += missing
            wanted: set[str] = set()
            for records in self._look_up(sorted(missing)):
                self.check_book(records)
                for record in records:
                    if record.label in self._sight.access:
                        wanted.update(self._all(record))
            missing = wanted - self.records.keys()
        self._judge(fresh, too_deep=missing)
        if self._sight.later and self.governed:
            self._look_into_bands(fresh)
        if self.waits:
            self._lags = self._spread(lambda record: self._sight.access[record.label].delay_us, self._counts)
        if self.moves:
            self._since = self._spread(self._own_since, self._is_earliest, self._gone())

    def _look_into_bands(self, ids: Iterable[str]) -> None:
        """Find which records of these ids stand at the event that granted what governs them."""
        events: dict[int, Event] = {}
        positions: dict[int, list[int]] = {}
        for record in (record for id_ in ids for record in self.records[id_]):
            event = self._sight.later.get(record.label)
            if event is not None and record.position < event.base:
                events[event.number] = event
                positions.setdefault(event.number, []).append(record.position)
        for number, event in events.items():
            classes = event.classes_for(self._sight.audience, None)
            found = self._store.places(number, classes, positions[number]) if classes else ()
            self._granted.update(dict.fromkeys(found, event.base))

    def _look_up(self, ids: Sequence[str]) -> Iterable[list[Record]]:
        for start in range(0, len(ids), _IDS_PER_LOOKUP):
            some = ids[start : start + _IDS_PER_LOOKUP]
            found = self._store.lookup(some)
            for id_ in some:
                records = found.get(id_, [])
                if id_ == self._cut_id:
                    records = [record for record in records if record.position < self._before]
                self.records[id_] = records
                for record in sorted(records, key=age):
                    self._newest[id_, record.submitter] = record
                yield records

    def check_book(self, records: Iterable[Record]) -> None:
        """Raise Behind when one of them has a label that is not known here."""
        newest = max((record.label for record in records), default=0)
        if newest > self._sight.length:
            raise Behind(newest)

    def _judge(self, fresh: Iterable[str], too_deep: Iterable[str]) -> None:
        """Find what is hidden among the ids that were just looked up, each record and reference once.

        An id is hidden when the store has records of it, but none that the audience may read. An id without
        a record is unknown, not hidden: STIX allows references to what is elsewhere (3.3). Records in a cycle that
        all may be read stay readable: hiding starts from what is really hidden.

        The audience's own copies do not count where others have some: it could post whatever id it guesses, and
        what others say about the hidden object would appear.
        """
        spreading = [id_ for id_ in too_deep if id_ not in self._hidden]
        self._hidden.update(spreading)
        for id_ in fresh:
            foreign = [record for record in self.records[id_] if not self.is_own(record)]
            readable = [record for record in foreign if record.label in self._sight.access]
            self._open[id_] = len(readable)
            for record in readable:
                for reference in self._all(record):
                    self._dependents.setdefault(reference, []).append(record)
                if not self.is_open(record):
                    spreading += self._close(record)
            if foreign and not readable and id_ not in self._hidden:
                self._hidden.add(id_)
                spreading.append(id_)
        while spreading:
            for record in self._dependents.get(spreading.pop(), ()):
                if not self.is_open(record):
                    spreading += self._close(record)
                elif self._derives:
                    # Its list is shorter now, and what it says must not come in another language.
                    for each in self._dependents.get(record.id, ()):
                        if is_translation(each) and not self.is_open(each):
                            spreading += self._close(each)

    def _close(self, record: Record) -> list[str]:
        """Close the record; its id, when that hides it."""
        if record.position in self.closed:
            return []
        self.closed.add(record.position)
        self._open[record.id] -= 1
        if self._open[record.id] or record.id in self._hidden:
            return []
        self._hidden.add(record.id)
        return [record.id]

    # ---- since when

    def _own_since(self, record: Record) -> int:
        """The place of the event since which the record by itself is in sight, or its own place.

        Not 0 for its own place: of several versions or copies the first one that came into sight tells, and one that
        was posted after another one had been granted did not come before that.
        """
        feed = self.key(record).facets.collection
        since = max(self._sight.since.get(record.label, 0), self.granted(record))
        moment = max(since, self._sight.reached.get(feed, 0))
        opened = max(self._book.opened.get(record.position, 0), self._book.arrived.get(record.position, 0))
        return max(moment, opened, self.place(record))

    def _is_earliest(self, record: Record) -> bool:
        """Whether its id is in sight as soon as the record is: none of the others comes with a shorter delay."""
        return self._counts(record) and self._delay(record) <= self._lags.get(record.id, 0)

    def _gone(self) -> dict[str, int]:
        """The ids that hide nothing since an event for this audience, and its place.

        All that others posted of them was deleted, also where it was posted again afterwards: what refers to them came
        into sight when they went. Or nobody waits for them any more, because they are hidden.
        """
        gone = self._book.gone
        found: dict[str, int] = {}
        for id_ in self.records.keys() & gone.keys():
            place = max(self._sight.events.intersection(gone[id_]), default=0)
            records = self.records[id_]
            was_left = all(record.position > place or self.is_own(record) for record in records)
            is_bare = was_left and (not records or any(map(self._counts, records)))
            if place and (is_bare or id_ in self._hidden):
                found[id_] = place
        return found

    def _spread(
        self, own: Callable[[Record], int], counts: Callable[[Record], bool], known: Mapping[str, int] = _NOTHING
    ) -> dict[str, int]:
        """The least value of each id: of its best record the greatest of its own and of what it refers to.

        Only records that count are looked at. `known` are least values of ids.
        """
        values: dict[str, int] = dict(known)
        #: those whose value depends on that of others; of each record that counts its own value, and those others
        open_: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        for id_, records in self.records.items():
            candidates = [(own(record), self._all(record)) for record in records if counts(record)]
            if any(refs for _, refs in candidates):
                open_[id_] = candidates
            if candidates:
                values[id_] = max(values.get(id_, 0), min(start for start, _ in candidates))
        changed = True
        while changed:
            changed = False
            for id_, candidates in open_.items():
                value = min(max([start, *(values.get(ref, 0) for ref in refs)]) for start, refs in candidates)
                if value > values[id_]:
                    values[id_] = value
                    changed = True
        return values


def is_translation(record: Record) -> bool:
    """Whether it repeats the text of what it refers to: it must not be read where that is read in part only."""
    return record.id.startswith(_TRANSLATION)
