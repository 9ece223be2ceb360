"""What comes into sight by one event, and for whom: ids that gain readers, and what refers to them over any number of
steps, with the older versions that it governs (policy design, C9, C11 and C20)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from taxii_server.model import EventPlan, Record
from taxii_server.service.book import ONLY, LabelKey
from taxii_server.service.events import EventClass, EventFacts
from taxii_server.storage.base import Inside

#: Ids of one look-up of what refers to them.
_IDS_PER_LOOKUP = 5000
NOBODY = EventClass()

Referrers = Callable[[list[str]], list[Record]]
Lookup = Callable[[list[str]], Mapping[str, Sequence[Record]]]


class Newcomers:
    """The entries of an event, in the order of their discovery. `key_of` gives the key of a label, None where it is
    not known."""

    def __init__(self, key_of: Callable[[int], LabelKey | None]) -> None:
        self._key_of = key_of
        #: position of a record -> for whom it stands at the event
        self.entries: dict[int, EventClass] = {}
        #: id -> who reads something of it that could not be read before
        self.ids: dict[str, EventClass] = {}
        #: id and submitter of what refers to those and may govern older versions, which then come with it
        self._governing: dict[tuple[str, str], EventClass] = {}
        #: ids of which all versions have yet to be looked at
        self._open: set[str] = set()

    def add(self, position: int, readers: EventClass) -> None:
        """Let the record stand at the event for these."""
        self.entries[position] = readers.united(self.entries.get(position, NOBODY))

    def gain(self, id_: str, readers: EventClass) -> bool:
        """Let the id gain these readers; whether it had not."""
        known = self.ids.get(id_, NOBODY)
        united = known.united(readers)
        if united == known:
            return False
        self.ids[id_] = united
        return True

    def follow(self, referrers: Referrers) -> None:
        """Add what refers to the ids that gain readers, over any number of steps."""
        todo = sorted(self.ids)
        while todo:
            fresh: set[str] = set()
            for start in range(0, len(todo), _IDS_PER_LOOKUP):
                for record in referrers(todo[start : start + _IDS_PER_LOOKUP]):
                    if self.refer(record):
                        fresh.add(record.id)
            todo = sorted(fresh)

    def refer(self, record: Record) -> bool:
        """Add a record that refers to some of the ids; whether its own id gains readers by that."""
        readers = NOBODY
        for id_ in (*record.hard_refs, *record.soft_refs):
            readers = readers.united(self.ids.get(id_, NOBODY))
        if readers == NOBODY:
            return False
        self.add(record.position, readers)
        label = self._key_of(record.label)
        if label is None or label.flags != ONLY:
            key = record.id, record.submitter
            self._governing[key] = readers.united(self._governing.get(key, NOBODY))
            self._open.add(record.id)
        return self.gain(record.id, readers)

    def classes(self) -> list[EventClass]:
        """The classes of the entries; the place in this list is the number of a class."""
        return list(dict.fromkeys(self.entries.values()))

    def numbered(self) -> list[tuple[int, int]]:
        """The entries: number of the class and position."""
        numbers = {each: number for number, each in enumerate(self.classes())}
        return [(numbers[each], position) for position, each in self.entries.items()]

    def add_versions(self, lookup: Lookup, ids: Collection[str] = ()) -> None:
        """Add what is governed by a version that refers to something that is gained; `ids` are looked at anyway."""
        for records in looked_up(lookup, self._open.union(ids)):
            for record in records:
                readers = self._governing.get((record.id, record.submitter))
                if readers is not None:
                    self.add(record.position, readers)
        self._open.clear()

    def event(self, inside: Inside, tell: Callable[[EventFacts, int, int, Sequence[int]], str]) -> EventPlan | None:
        """The event of these and of what refers to them, found in its transaction; None when nothing comes.

        `tell` writes the entry of the log, from what it says of its classes and the arguments of EventPlan.payload.
        """
        self.follow(inside.referrers)
        self.add_versions(inside.lookup)
        if not self.entries:
            return None
        return EventPlan(self.numbered(), partial(tell, EventFacts(classes=self.classes())))


def looked_up(lookup: Lookup, ids: Collection[str]) -> Iterator[Sequence[Record]]:
    """All records of each of these ids that has any."""
    wanted = sorted(ids)
    for start in range(0, len(wanted), _IDS_PER_LOOKUP):
        yield from lookup(wanted[start : start + _IDS_PER_LOOKUP]).values()
