"""Which records of a page really stand: references to hidden objects, and one object in a view once.

Labels answer the policy's questions about one record. Two questions are about other records as well:

* a record that refers to something hidden is hidden (policy design, C11), through several steps, and with it
  the older versions that it governs (C9);
* in a view an object stands once: the newest readable version over the sources. Where the audience reads a copy
  whose submitter is its creator, forged copies by others do not stand at all (C13, C16); its own copies do.

Both are answered from one look-up of the ids concerned, and only for records that can be affected: the newest
record of an id that nobody else holds costs nothing when it has no references.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from taxii_server.catalog import Catalog
from taxii_server.model import Record
from taxii_server.service.book import Behind, Book, Flags, LabelKey
from taxii_server.service.query import Filters
from taxii_server.service.sight import Sight
from taxii_server.service.versions import age
from taxii_server.storage.base import Store

#: Longest chain of references that is followed; what hangs deeper counts as hidden.
MAX_DEPTH = 32
#: Ids of one look-up; a report may list tens of thousands.
_IDS_PER_LOOKUP = 20_000


class Resolver:
    """Answers for one audience and one page. Remembers what it looked up."""

    def __init__(self, store: Store, book: Book, catalog: Catalog, sight: Sight, feeds: Collection[str]) -> None:
        self._store = store
        self._book = book
        self._catalog = catalog
        self._sight = sight
        self._feeds = frozenset(feeds)
        self._governed = catalog.policy.defaults.versions != "independent"
        #: what is known: the records of these ids, and the newest of each submitter
        self._records: dict[str, list[Record]] = {}
        self._newest: dict[tuple[str, str], Record] = {}
        #: what follows: hidden ids, and positions of records that are hidden although their label is readable
        self._hidden: set[str] = set()
        self._closed: set[int] = set()
        #: for each id, the records that are closed when it is hidden; how many records keep an id from being so
        self._dependents: dict[str, list[Record]] = {}
        self._open: dict[str, int] = {}

    def standing(self, records: Sequence[Record], filters: Filters) -> list[Record]:
        """The records of a page, whose labels are readable, that this audience gets; order kept."""
        crowded = {record.id for record in records if not self._stands_alone(record, filters)}
        governed = {record.id for record in records if not self._governs_itself(record)}
        # What is on the page, is the newest of its id and refers to nothing is readable: no need to look it up.
        plain = {record.id for record in records if not _refers(record) and not self._is_own_twin(record)} - governed
        wanted = {id_ for record in records for id_ in self._references(record)} - plain
        self._load(wanted | crowded | governed)
        chosen = {id_: self._choose(id_, filters) for id_ in crowded}
        return [
            record
            for record in records
            if self._is_open(record) and (record.id not in chosen or record.position in chosen[record.id])
        ]

    def readable(self, records: Iterable[Record]) -> list[Record]:
        """Those of the records that the audience may read at all: label, way in and references."""
        records = list(records)
        self._check_book(records)
        visible = [record for record in records if record.label in self._sight.labels]
        self._load({id_ for record in visible for id_ in (record.id, *self._references(record))})
        return [record for record in visible if self._is_open(record)]

    def hidden_references(self, record: Record) -> tuple[str, ...]:
        """The ids that the record, or the newer version that governs it, refers to and that are hidden."""
        self._load((record.id, *self._references(record)))
        return tuple(id_ for id_ in self._needs(record) if id_ in self._hidden)

    # ---- one object in a view once

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

    def _choose(self, id_: str, filters: Filters) -> frozenset[int]:
        """The positions that the version filters choose among all readable versions of the id in this view."""
        open_records = [
            record
            for record in self._records[id_]
            if record.label in self._sight.labels and record.position not in self._closed
        ]
        rightful = {record.submitter for record in open_records if self._is_rightful(record)}
        rivals = [
            record
            for record in open_records
            if record.collection in self._feeds
            and (not rightful or record.submitter in rightful or self._is_own(record))
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
                    if held is None or (self._is_own(record) and not self._is_own(held)):
                        copies[record.version_key] = record
            oldest, newest = min(copies), max(copies)
            chosen.update(copy.position for key, copy in copies.items() if filters.choice.picks(key, oldest, newest))
        return frozenset(chosen)

    def _is_own(self, record: Record) -> bool:
        return record.submitter == self._sight.audience

    def _is_own_twin(self, record: Record) -> bool:
        """Whether it is the audience's own copy of an id of which there may be others."""
        return self._is_own(record) and Flags.TWIN in self._key(record).flags

    def _is_rightful(self, record: Record) -> bool:
        """Whether the submitter owns the identity that the record names as its creator."""
        creator = self._key(record).facets.creator
        audience = self._catalog.policy.audiences.get(record.submitter)
        return audience is not None and creator is not None and creator in audience.identities

    # ---- references

    def _references(self, record: Record) -> tuple[str, ...]:
        """The ids whose being hidden hides this record from the audience. Nobody loses what it posted itself."""
        if self._is_own(record):
            return ()
        if self._catalog.policy.defaults.refs_lists == "keep":
            return record.hard_refs
        return record.hard_refs + record.soft_refs

    def _governs_itself(self, record: Record) -> bool:
        """True when the label alone tells that no newer version of the submitter can hide this record."""
        flags = self._key(record).flags
        return not self._governed or (Flags.LAST in flags and not flags & (Flags.TWIN | Flags.MIXED))

    def _needs(self, record: Record) -> tuple[str, ...]:
        """The ids whose being hidden hides this record, those of the version that governs it included."""
        newest = self._newest.get((record.id, record.submitter))
        if not self._governed or newest is None or age(newest)[:2] == age(record)[:2]:
            return self._references(record)
        return self._references(record) + self._references(newest)

    def _is_open(self, record: Record) -> bool:
        """Whether nothing hidden is referred to. For records whose label is readable."""
        return self._hidden.isdisjoint(self._needs(record))

    # ---- looking up

    def _load(self, ids: Iterable[str]) -> None:
        """Know the records of these ids and of what they refer to, and which of all known ids are hidden."""
        missing = set(ids) - self._records.keys()
        fresh: list[str] = []
        for _ in range(MAX_DEPTH):
            if not missing:
                break
            fresh += missing
            wanted: set[str] = set()
            for records in self._look_up(sorted(missing)):
                self._check_book(records)
                for record in records:
                    if record.label in self._sight.labels:
                        wanted.update(self._needs(record))
            missing = wanted - self._records.keys()
        self._judge(fresh, too_deep=missing)

    def _look_up(self, ids: Sequence[str]) -> Iterable[list[Record]]:
        for start in range(0, len(ids), _IDS_PER_LOOKUP):
            some = ids[start : start + _IDS_PER_LOOKUP]
            found = self._store.lookup(some)
            for id_ in some:
                records = self._records[id_] = found.get(id_, [])
                for record in sorted(records, key=age):
                    self._newest[id_, record.submitter] = record
                yield records

    def _check_book(self, records: Iterable[Record]) -> None:
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
            foreign = [record for record in self._records[id_] if not self._is_own(record)]
            readable = [record for record in foreign if record.label in self._sight.labels]
            self._open[id_] = len(readable)
            for record in readable:
                for reference in self._needs(record):
                    self._dependents.setdefault(reference, []).append(record)
                if not self._is_open(record):
                    spreading += self._close(record)
            if foreign and not readable and id_ not in self._hidden:
                self._hidden.add(id_)
                spreading.append(id_)
        while spreading:
            for record in self._dependents.get(spreading.pop(), ()):
                spreading += self._close(record)

    def _close(self, record: Record) -> list[str]:
        """Close the record; its id, when that hides it."""
        if record.position in self._closed:
            return []
        self._closed.add(record.position)
        self._open[record.id] -= 1
        if self._open[record.id] or record.id in self._hidden:
            return []
        self._hidden.add(record.id)
        return [record.id]

    def _key(self, record: Record) -> LabelKey:
        return self._book.label(record.label).key


def _refers(record: Record) -> bool:
    return bool(record.hard_refs or record.soft_refs)
