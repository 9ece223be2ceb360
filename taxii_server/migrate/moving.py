"""The objects of an old server, stored here: in its order, at its dates, through everything that a POST goes through.

Each is checked, judged by guards, labelled and written by the code that does it for a POST (`Writer.add_items`), in the
name of one partner, since old servers did not keep who posted what. A run may break off anywhere: the next one finds
what is there and goes on behind it, at the places that the first one would have given (places.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from taxii_server import audit
from taxii_server.catalog import Collection
from taxii_server.errors import BadContent, TaxiiServerError
from taxii_server.migrate.old import OldObject, Source, Unreadable
from taxii_server.migrate.places import Placed, place
from taxii_server.service.book import Book
from taxii_server.service.cursor import derived_key
from taxii_server.service.hub import Hub
from taxii_server.service.labelling import PORTION
from taxii_server.service.posting import Incoming
from taxii_server.stix.canonical import digest
from taxii_server.stix.parse import JsonLimits, read_envelope
from taxii_server.storage.base import Store
from taxii_server.times import format_position

#: Bytes of text that make a portion, however few objects they are.
_PORTION_BYTES = 16_000_000
#: So many times a portion is held in memory at most, while its last date has not ended.
_MOST_PORTIONS = 10
#: (path of the API root, id of the collection on the old server) -> the collection here
Targets = Mapping[tuple[str, str], Collection]


class MigrateError(TaxiiServerError):
    """It cannot be moved in this way. The message says what to do instead."""


@dataclass(frozen=True, slots=True)
class Left:
    """One object that did not come along, or waits in the quarantine. `date_added`: that of the old server, in text."""

    what: str
    collection: str
    id: str
    version: str
    date_added: str
    why: str


@dataclass(slots=True)
class Tally:
    """What became of the objects of one collection. `again`: those of `stored` that stand later than they did, so that
    clients which had them get them again."""

    stored: int = 0
    present: int = 0
    refused: int = 0
    quarantined: int = 0
    unreadable: int = 0
    again: int = 0


@dataclass(slots=True)
class Moved:
    """What a run did: by collection, by name here, and every object that it left."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    first: int = 0
    last: int = 0

    def total(self) -> Tally:
        """The sum over all collections."""
        total = Tally()
        for each in self.tallies.values():
            for name in Tally.__slots__:
                setattr(total, name, getattr(total, name) + getattr(each, name))
        return total


class Mover:
    """Moves objects into a hub, as posts of `submitter`."""

    def __init__(self, hub: Hub, targets: Targets, submitter: str, beside: Store | None = None) -> None:
        """`beside`: the real store, when the hub is a rehearsal: what is there already, and how far its clock is."""
        self._hub = hub
        self._targets = targets
        self._submitter = submitter
        self._beside = beside
        self._floor = 0 if beside is None else beside.clock()
        settings = hub.settings
        self._limits = JsonLimits(settings.max_json_depth, settings.max_objects_per_post, settings.max_json_values)

    def move(
        self, source: Source, progress: Callable[[int], None] = lambda done: None, *, append: bool = False
    ) -> Moved:
        """Store everything. `progress` is told how many objects are done.

        Raises MigrateError, with nothing stored, when the hub has given out later places than those of the old server
        already and nothing of it is there yet, unless `append`.
        """
        moved = Moved({each.name: Tally() for each in self._targets.values()})
        seed = derived_key(self._hub.store.secret(), b"taxii migrate v1")
        placed = place(self._dated(source, moved), seed)
        begun = next(placed, None)
        if begun is None:
            return moved
        if not append:
            self._require_room(begun)
        done = 0
        for portion in _portions(chain([begun], placed)):
            self._store(portion, moved)
            done += len(portion)
            progress(done)
        total = moved.total()
        audit.record(
            "moved-in", partner=self._submitter, stored=total.stored, present=total.present, refused=total.refused,
            quarantined=total.quarantined,
        )  # fmt: skip
        return moved

    def _dated(self, source: Source, moved: Moved) -> Iterator[tuple[int, OldObject]]:
        """The objects that have a collection here, with their dates; notes the others."""
        for each in source.objects():
            collection = self._targets.get((each.root, each.collection))
            if isinstance(each, Unreadable):
                name = collection.name if collection else f"{each.root}/{each.collection}"
                moved.tallies.setdefault(name, Tally()).unreadable += 1
                moved.left.append(Left("unreadable", name, each.id, each.version, "", each.why))
            elif collection is None:
                name = f"{each.root}/{each.collection}"
                moved.tallies.setdefault(name, Tally()).unreadable += 1
                date = format_position(each.added)
                moved.left.append(Left("unreadable", name, each.id, each.version, date, "it is in no collection"))
            else:
                yield each.added, each

    def _require_room(self, begun: Placed[OldObject]) -> None:
        clock = max(self._floor, self._hub.store.clock())
        if begun.at > clock or self._has_begun():
            return
        raise MigrateError(
            f"this hub has given out times up to {format_position(clock)} already, the oldest object is of "
            f"{format_position(begun.what.added)}: none could keep its date_added, and clients would get all of them "
            "again. Move into a new store (--store), before the hub takes posts; or say --append, if that is what you "
            "want"
        )

    def _has_begun(self) -> bool:
        """Whether something of this submitter is there: then this goes on with a run that broke off, or repeats it."""
        store, book = self._hub.store, self._hub.book
        if self._beside is not None:
            store, book = self._beside, Book(self._beside)
        book.sync()
        return any(
            count and number in book.labels and book.labels[number].key.facets.submitter == self._submitter
            for number, count in store.count_by_label().items()
        )

    def _store(self, portion: Sequence[Placed[OldObject]], moved: Moved) -> None:
        """Store a portion, and note what became of each."""
        clock, present = max(self._floor, self._hub.store.clock()), self._hub.store.present()
        incoming: list[Incoming] = []
        places: list[Placed[OldObject]] = []
        for each in portion:
            collection = self._targets[each.what.root, each.what.collection]
            try:
                (item,) = read_envelope(b'{"objects":[' + each.what.text + b"]}", self._limits)
            except BadContent as error:
                self._leave(moved, "refused", collection.name, each.what, str(error))
                continue
            # A date in the future would hold back everything that is posted until then.
            incoming.append(Incoming(collection, item, each.at if each.at <= present else 0))
            places.append(each)
        results = self._hub.writer.add_items(self._submitter, incoming)
        there = self._there(incoming)
        for entry, each, added in zip(incoming, places, results, strict=True):
            tally = moved.tallies[entry.collection.name]
            if added.stopped == "quarantined":
                self._leave(moved, "quarantined", entry.collection.name, each.what, added.message or "")
            elif not added.ok:
                self._leave(moved, "refused", entry.collection.name, each.what, added.message or "")
            elif added.message is not None or _is_one_of(entry, there):
                tally.present += 1
            else:
                tally.stored += 1
                tally.again += each.is_late or entry.at <= clock
                moved.first, moved.last = moved.first or each.what.added, each.what.added

    def _there(self, incoming: Sequence[Incoming]) -> set[tuple[str, bytes]]:
        """What the real store has of these: collection id and digest. Empty where the hub itself is the real one."""
        if self._beside is None:
            return set()
        values = [each.item.value for each in incoming if isinstance(each.item.value, dict)]
        found = self._beside.lookup({id_ for value in values if isinstance(id_ := value.get("id"), str)})
        return {
            (record.collection, record.digest)
            for records in found.values()
            for record in records
            if record.submitter == self._submitter
        }

    @staticmethod
    def _leave(moved: Moved, what: str, collection: str, old: OldObject, why: str) -> None:
        tally = moved.tallies[collection]
        if what == "quarantined":
            tally.quarantined += 1
        else:
            tally.refused += 1
        moved.left.append(Left(what, collection, old.id, old.version, format_position(old.added), why))


def _is_one_of(entry: Incoming, there: set[tuple[str, bytes]]) -> bool:
    """Whether this is one of those that are there."""
    return bool(there) and (entry.collection.id, digest(entry.item.value)) in there


def _portions(placed: Iterable[Placed[OldObject]]) -> Iterator[list[Placed[OldObject]]]:
    """The objects in portions, which end where a date ends, if that is not too far away: what came in one POST has one
    date, and guards judge it as a whole."""
    portion: list[Placed[OldObject]] = []
    size = 0
    for each in placed:
        is_full = len(portion) >= PORTION or size > _PORTION_BYTES
        is_too_much = len(portion) >= _MOST_PORTIONS * PORTION or size > _MOST_PORTIONS * _PORTION_BYTES
        if is_full and (is_too_much or each.what.added != portion[-1].what.added):
            yield portion
            portion, size = [], 0
        portion.append(each)
        size += len(each.what.text)
    if portion:
        yield portion
