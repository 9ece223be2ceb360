"""Which rows of a page really stand: in a view an object stands once, and every record at one place.

Labels answer the policy's questions about one record; the rest depends on other records:

* what it refers to, and since when that can be read (references.py);
* in a view an object stands once: the newest readable version over the sources. Where the audience reads a copy
  whose submitter is its creator, forged copies by others do not stand at all (C13, C16); its own copies do.

All is answered from one look-up of the ids concerned, and only for records that can be affected: the newest
record of an id that nobody else holds costs nothing when it has no references.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from taxii_server.catalog import Catalog
from taxii_server.model import Record, Removal
from taxii_server.service.book import Book, Flags, LabelKey
from taxii_server.service.query import Filters
from taxii_server.service.references import References, is_translation
from taxii_server.service.sight import Sight
from taxii_server.service.stream import Row, Stream
from taxii_server.storage.base import Store

_place = attrgetter("at")
#: How long a page waits for what a record refers to and what was posted a moment after it.
_HOLD_US = 5_000_000


class Resolver:
    """Answers for one audience and one page. Remembers what it looked up."""

    def __init__(self, store: Store, book: Book, catalog: Catalog, sight: Sight, feeds: Collection[str]) -> None:
        self._book = book
        self._catalog = catalog
        self._sight = sight
        self._feeds = frozenset(feeds)
        self.references = References(store, book, catalog, sight)
        #: place of an event -> those of the records at hand that stand in its band
        self._in_bands: Mapping[int, Collection[int]] = {}

    def standing(
        self, rows: Sequence[Row], filters: Filters, stream: Stream, passed: int
    ) -> tuple[list[Row], int | None]:
        """The rows, whose labels are readable, that this audience gets, with what is taken out of them; order kept.

        `passed`: the place up to which the store's clock has gone. Also says before which place the page must end,
        because what stands there becomes readable within moments.
        """
        references = self.references
        choice = filters.choice
        if references.moves or references.waits or stream.has_events() or not (choice.every or choice.last):
            return self._looked_at(rows, filters, stream, passed, frozenset())
        # Nearly every record is the newest of its id, alone, whole and at its own place: its label tells. If it refers
        # to nothing, or only to such records of this page, nothing is left to be asked. One pass over a page of 1,000
        # takes 0.5 ms, asking about each of its records took 12 (bench/RESULTS.md).
        settled = self._sight.settled
        clear: list[Row] = []
        open_: list[Row] = []
        plain: set[str] = set()
        for row in rows:
            record = row.record
            if record.label not in settled or record.hard_refs or record.soft_refs:
                open_.append(row)
            else:
                clear.append(row)
                plain.add(record.id)
        if not open_:
            return clear, None
        # An older version on this page may be governed by what is not: the id is looked up then.
        plain.difference_update([row.record.id for row in open_ if row.record.label not in settled])
        rest: list[Row] = []
        for row in open_:
            record = row.record
            is_plain = plain.issuperset(record.hard_refs) and plain.issuperset(record.soft_refs)
            if is_plain and record.label in settled and not is_translation(record):
                clear.append(row)
            else:
                rest.append(row)
        if rest:
            clear += self._looked_at(rest, filters, stream, passed, frozenset(plain))[0]
        clear.sort(key=_place)
        return clear, None

    def _looked_at(
        self, rows: Sequence[Row], filters: Filters, stream: Stream, passed: int, plain_elsewhere: frozenset[str]
    ) -> tuple[list[Row], int | None]:
        """The same, for rows about which something has to be looked up; `plain_elsewhere` are ids that do not."""
        references = self.references
        rows = [row if row.record.type else self._completed(row) for row in rows]
        records = [row.record for row in rows]
        crowded = {record.id for record in records if not self._stands_alone(record, filters)}
        governed = {record.id for record in records if not self._governs_itself(record)}
        # What is on the page, is the newest of its id and refers to nothing is readable: no need to look it up.
        plain: set[str] = set()
        if not (references.moves or references.waits):
            plain = {record.id for record in records if self._is_plain(record)}.union(plain_elsewhere) - governed
        wanted = {id_ for record in records for id_ in references.of(record)} - plain
        # A translation repeats what any version of the object says, those included that are not on this page.
        wanted.update(id_ for record in records if is_translation(record) for id_ in references.of(record))
        references.load(wanted | crowded | governed)
        chosen = {id_: self._choose(id_, filters, passed) for id_ in crowded}
        bases_of = self._look_into_bands(rows, stream)
        standing: list[Row] = []
        for row, bases in zip(rows, bases_of, strict=True):
            record = row.record
            if not references.is_open(record) or record.position not in chosen.get(record.id, (record.position,)):
                continue
            place = references.place(record) if references.waits else record.position
            if references.waits and self._must_wait(record, passed):
                if row.at == place and references.due(record) < place + _HOLD_US:
                    return standing, row.at
                continue
            if self._stands_at(row, place, bases):
                removal = self.removal(record)
                standing.append(row if removal is None else row._replace(removal=removal))
        return standing, None

    def _completed(self, row: Row) -> Row:
        """With what its id and its label say of a record that was read for its text only."""
        record, facets = row.record, self._key(row.record).facets
        return row._replace(
            record=record._replace(
                collection=facets.collection,
                submitter=facets.submitter,
                type=record.id.partition("--")[0],  # a label says only types that rules name
                spec_version=facets.spec_version,
            )
        )

    def expected(self, record: Record, stream: Stream) -> tuple[int, Sequence[int]]:
        """Where a readable record stands by itself, and the places of the events in whose bands it may stand instead:
        in the last one that has it."""
        references = self.references
        references.load((record.id, *references.of(record)))
        place = references.place(record) if references.waits else record.position
        return place, self._events_of(record, place, stream)

    def removal(self, record: Record) -> Removal | None:
        """What this audience does not get of a readable record."""
        removal = self._sight.access[record.label].removal
        hidden = self.references.taken_out(record)
        return replace(removal or Removal(), references=hidden) if hidden else removal

    def readable(self, records: Iterable[Record], passed: int) -> list[Record]:
        """Those of the records that the audience may read at all: label, way in, references, delays."""
        records = list(records)
        references = self.references
        references.check_book(records)
        visible = [record for record in records if record.label in self._sight.access]
        references.load({id_ for record in visible for id_ in (record.id, *references.of(record))})
        return [
            record
            for record in visible
            if references.is_open(record)
            and not (references.waits and (references.place(record) > passed or self._must_wait(record, passed)))
        ]

    def hidden_references(self, record: Record) -> tuple[str, ...]:
        """The ids that the record, or the newer version that governs it, refers to and that are hidden."""
        self.references.load((record.id, *self.references.of(record)))
        return self.references.hidden(record)

    def waits_until(self, record: Record, passed: int) -> int | None:
        """The place that the clock has to pass before the audience gets a record whose label it may read."""
        if not self.references.waits or record.label not in self._sight.access:
            return None
        self.references.load((record.id, *self.references.of(record)))
        place = max(self.references.place(record), self.references.due(record))
        return place if place > passed else None

    # ---- at which place

    def _must_wait(self, record: Record, passed: int) -> bool:
        """Whether something that it refers to is still under an embargo."""
        return self.references.lag(record) > 0 and self.references.due(record) > passed

    def _stands_at(self, row: Row, place: int, bases: Iterable[int]) -> bool:
        for base in bases:
            if base == row.event:
                return True
            if row.record.position in self._in_bands.get(base, ()):
                return False
        return not row.event and row.at == place

    def _events_of(self, record: Record, place: int, stream: Stream) -> list[int]:
        """The places of the events behind this place that it may stand at, the last one first.

        It does at the last one whose band has it. None has it that was hidden by nothing then: what it depends on now
        may be a newer version, of its own or of what it refers to, that came after the event.
        """
        references = self.references
        if not (references.moves or stream.has_events()):
            return []
        bases = {stream.since(record.label), references.granted(record)}
        for since in (self._book.opened.get(record.position, 0), *references.moments(record)):
            if since > place:
                bases.update((since,) if references.is_event(since) else stream.bases_between(place, since))
        return sorted((base for base in bases if base > place), reverse=True)

    def _look_into_bands(self, rows: Sequence[Row], stream: Stream) -> Sequence[Sequence[int]]:
        """The events of each row, as `_events_of`, after it is known in which of their bands the rows stand besides
        those that they were read in: one look-up for each event."""
        references = self.references
        if not (references.moves or stream.has_events()):
            return [()] * len(rows)
        asked: dict[int, list[int]] = {}
        found: list[list[int]] = []
        for row in rows:
            place = references.place(row.record) if references.waits else row.record.position
            bases = self._events_of(row.record, place, stream)
            found.append(bases)
            for base in bases:
                if base == row.event:
                    break
                asked.setdefault(base, []).append(row.record.position)
        self._in_bands = {base: stream.in_band(base, positions) for base, positions in asked.items()}
        return found

    # ---- one object in a view once

    def _is_plain(self, record: Record) -> bool:
        """Whether the page alone shows that its id is readable, and whole."""
        own_twin = self.references.is_own(record) and Flags.TWIN in self._key(record).flags
        redacted = self._sight.access[record.label].removal is not None
        return not (record.hard_refs or record.soft_refs or own_twin or redacted)

    def _stands_alone(self, record: Record, filters: Filters) -> bool:
        """True when the label alone tells that the version filters choose this record."""
        flags = self._key(record).flags
        if flags & Flags.TWIN or (flags & Flags.MIXED and filters.spec_versions is None):
            return False
        choice = filters.choice
        return (
            choice.every
            or (choice.last and Flags.LAST in flags)
            or (choice.first and Flags.FIRST in flags)
            or record.version_key in choice.keys
        )

    def _choose(self, id_: str, filters: Filters, passed: int) -> frozenset[int]:
        """The positions that the version filters choose among all readable versions of the id in this view."""
        references = self.references
        open_records = [
            record
            for record in references.records[id_]
            if record.label in self._sight.access
            and record.position not in references.closed
            and not (references.waits and references.place(record) > passed)
        ]
        rightful = {record.submitter for record in open_records if self._is_rightful(record)}
        rivals = [
            record
            for record in open_records
            if record.collection in self._feeds
            and (not rightful or record.submitter in rightful or references.is_own(record))
            and (filters.spec_versions is None or record.spec_version in filters.spec_versions)
        ]
        forms = {record.spec_version for record in rivals}
        if filters.spec_versions is None:
            forms = {max(forms)} if forms else set()
        chosen: set[int] = set()
        for form in forms:
            # One copy of each version: the audience's own, else the oldest, so that nothing appears twice.
            copies: dict[str, Record] = {}
            for record in rivals:
                if record.spec_version == form:
                    held = copies.get(record.version_key)
                    if held is None or (references.is_own(record) and not references.is_own(held)):
                        copies[record.version_key] = record
            oldest, newest = min(copies), max(copies)
            chosen.update(copy.position for key, copy in copies.items() if filters.choice.picks(key, oldest, newest))
        return frozenset(chosen)

    def _is_rightful(self, record: Record) -> bool:
        """Whether the submitter owns the identity that the record names as its creator, or that it is."""
        named = {self._key(record).facets.creator, record.id}
        audience = self._catalog.policy.audiences.get(record.submitter)
        return audience is not None and not named.isdisjoint(audience.identities)

    def _governs_itself(self, record: Record) -> bool:
        """True when the label alone tells that no newer version of the submitter can hide this record."""
        flags = self._key(record).flags
        return not self.references.governed or (Flags.LAST in flags and not flags & (Flags.TWIN | Flags.MIXED))

    def _key(self, record: Record) -> LabelKey:
        return self._book.label(record.label).key
