"""Which records of a page really stand: references to hidden objects, and one object in a view once.

Labels answer the policy's questions about one record. Two questions are about other records as well:

* a record that refers to something hidden is hidden (policy design, C11), through several steps;
* in a view an object stands once: the newest readable version over the sources, and a forged copy of an
  object whose rightful creator's copy is readable does not stand at all (C13, C16).

Both are answered from one look-up of the ids concerned, and only for records that can be affected: a record
without references whose label says that nobody else holds its id costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from taxii_server.catalog import Catalog
from taxii_server.model import Record
from taxii_server.service.book import Behind, Book, Flags, LabelKey
from taxii_server.service.query import Filters
from taxii_server.service.sight import Sight
from taxii_server.storage.base import Store

#: Longest chain of references that is followed; what hangs deeper counts as hidden.
MAX_DEPTH = 32


class Resolver:
    """Answers for one audience and one request. Remembers what it looked up."""

    def __init__(self, store: Store, book: Book, catalog: Catalog, sight: Sight, feeds: Collection[str]) -> None:
        self._store = store
        self._book = book
        self._catalog = catalog
        self._sight = sight
        self._feeds = frozenset(feeds)
        self._records: dict[str, list[Record]] = {}
        self._hidden: frozenset[str] = frozenset()

    def standing(self, records: Sequence[Record], filters: Filters) -> list[Record]:
        """The records of a page, whose labels are readable, that this audience gets; order kept."""
        crowded = [record for record in records if not self._stands_alone(record, filters)]
        crowded_ids = {record.id for record in crowded}
        # What is on the page and refers to nothing is readable: no need to look it up.
        plain = {record.id for record in records if not _refers(record)}
        wanted = {id_ for record in records for id_ in self._references(record)} - plain
        self._load(wanted | crowded_ids)
        return [
            record
            for record in records
            if not self._refers_to_hidden(record) and (record.id not in crowded_ids or self._chosen(record, filters))
        ]

    def readable(self, records: Iterable[Record]) -> list[Record]:
        """Those of the records that the audience may read at all: label, way in and references."""
        visible = [record for record in records if record.label in self._sight.labels]
        self._load({id_ for record in visible for id_ in self._references(record)})
        return [record for record in visible if not self._refers_to_hidden(record)]

    def hidden_references(self, record: Record) -> tuple[str, ...]:
        """The ids that the record refers to and that are hidden from the audience."""
        self._load(self._references(record))
        return tuple(id_ for id_ in self._references(record) if id_ in self._hidden)

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

    def _chosen(self, record: Record, filters: Filters) -> bool:
        """Whether the record is chosen among all readable versions of its id in this view."""
        rivals = [
            other
            for other in self._records.get(record.id, ())
            if other.collection in self._feeds
            and other.label in self._sight.labels
            and not self._refers_to_hidden(other)
            and (filters.spec_versions is None or other.spec_version in filters.spec_versions)
        ]
        rightful = [other for other in rivals if self._is_rightful(other)]
        rivals = rightful or rivals
        if filters.spec_versions is None:
            best = max((other.spec_version for other in rivals), default="")
            rivals = [other for other in rivals if other.spec_version == best]
        same_form = [other for other in rivals if other.spec_version == record.spec_version]
        if not same_form:
            return False
        twins = [other.position for other in same_form if other.version_key == record.version_key]
        if not twins or record.position != min(twins):
            return False
        keys = [other.version_key for other in same_form]
        return filters.choice.picks(record.version_key, min(keys), max(keys))

    def _is_rightful(self, record: Record) -> bool:
        """Whether the submitter owns the identity that the record names as its creator."""
        creator = self._key(record).facets.creator
        audience = self._catalog.policy.audiences.get(record.submitter)
        return audience is not None and creator is not None and creator in audience.identities

    # ---- references

    def _references(self, record: Record) -> tuple[str, ...]:
        """The ids whose being hidden hides this record from the audience. Nobody loses what it posted itself."""
        if record.submitter == self._sight.audience:
            return ()
        if self._catalog.policy.defaults.refs_lists == "keep":
            return record.hard_refs
        return record.hard_refs + record.soft_refs

    def _refers_to_hidden(self, record: Record) -> bool:
        return any(id_ in self._hidden for id_ in self._references(record))

    def _load(self, ids: Iterable[str]) -> None:
        """Know the records of these ids and of what they refer to, and which of all known ids are hidden."""
        missing = set(ids) - self._records.keys()
        if not missing:
            return
        for _ in range(MAX_DEPTH):
            found = self._store.lookup(sorted(missing))
            for id_ in missing:
                self._records[id_] = found.get(id_, [])
            missing = {
                reference
                for records in found.values()
                for record in records
                if record.label in self._sight.labels
                for reference in self._references(record)
            } - self._records.keys()
            if not missing:
                break
        self._check_book()
        self._hidden = self._hidden_ids(too_deep=frozenset(missing))

    def _check_book(self) -> None:
        newest = max((record.label for records in self._records.values() for record in records), default=0)
        if newest > self._sight.length:
            raise Behind(newest)

    def _hidden_ids(self, too_deep: frozenset[str]) -> frozenset[str]:
        """The ids of which the store has records, but none that the audience may read.

        An id without a record is unknown, not hidden: STIX allows references to what is elsewhere (3.3).
        Records in a cycle that all may be read stay readable: hiding starts from what is really hidden.
        """
        open_records = {
            id_: [record for record in records if record.label in self._sight.labels]
            for id_, records in self._records.items()
            if records
        }
        hidden = set(too_deep) | {id_ for id_, records in open_records.items() if not records}
        again = bool(hidden)
        while again:
            again = False
            for id_, records in open_records.items():
                if id_ in hidden:
                    continue
                if all(any(ref in hidden for ref in self._references(record)) for record in records):
                    hidden.add(id_)
                    again = True
        return frozenset(hidden)

    def _key(self, record: Record) -> LabelKey:
        return self._book.label(record.label).key


def _refers(record: Record) -> bool:
    return bool(record.hard_refs or record.soft_refs)
