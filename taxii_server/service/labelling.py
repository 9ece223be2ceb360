"""The labels of records: whatever writes plans with labels that exist, and labels records anew when they should change.

A label is a number for facets (book.py). A transaction cannot make one, so it is planned again until the labels that it
needs are there and the vocabulary that it was planned with is still the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import orjson

from taxii_server.errors import StorageUnavailable
from taxii_server.model import PageQuery, Record, Traits
from taxii_server.policy import Facets, Policy, Vocabulary
from taxii_server.service.book import Behind, Book, Coarse, LabelKey, LabelsMissing
from taxii_server.service.quota import Quota
from taxii_server.service.reopening import Granted, Readers, with_reopening
from taxii_server.service.versions import plan_relabelling
from taxii_server.stix.traits import read_traits
from taxii_server.storage.base import Inside, Plan, Store

#: Objects of one transaction: large enough to be quick, small enough to let other writers in between.
PORTION = 1000
#: How often a write plans again because labels were missing or the log moved. Many, because where all writers bring
#: labels of their own each of them moves the log under the others.
_MAX_ATTEMPTS = 100

T = TypeVar("T")


class Labelling:
    """What the writes of one server have in common about labels, and relabelling itself."""

    def __init__(self, store: Store, book: Book, quota: Quota) -> None:
        self._store = store
        self._book = book
        self._quota = quota
        #: who reads what under the catalog that this process works with, and the epoch of that one (None: nobody reads,
        #: as in a rehearsal); set by the hub
        self.readers: Readers = lambda facets, governor: {}
        #: what was granted, under the same catalog; None: nothing, or versions that do not govern each other
        self.granted: Granted | None = None
        self.epoch: int | None = None
        #: makes this process work with the catalog in force; set by the hub
        self.catch_up: Callable[[], None] = lambda: None

    # ---- a transaction

    def settle(self, attempt: Callable[[int], T], submitter: str | None = None) -> T:
        """What `attempt` returns for the newest edition of the vocabulary, once nothing that it needs is missing.

        Raises QuotaReached when it would be too much for this submitter.
        """
        for _ in range(_MAX_ATTEMPTS):
            edition = self._book.edition
            try:
                return attempt(edition)
            except LabelsMissing as missing:
                if submitter is not None:
                    self._quota.require(submitter, missing)
                self._book.intern(missing.keys, edition)
            except Coarse as coarse:
                self._relabel_ids(coarse.ids)
            except Behind:
                self._book.sync()
                self.catch_up()
        raise StorageUnavailable("the labels of this write kept changing; try again")

    def require_current(self, log_length: int, edition: int) -> None:
        """Raise Behind unless all of the log is known, `edition` is its newest vocabulary, and its catalog is in use.

        The readers of that catalog tell what comes into sight by a write (with_reopening). Nobody can append while the
        transaction lasts, so what holds here holds at the commit.
        """
        is_late = self.epoch is not None and self._book.epoch > self.epoch
        if log_length != self._book.length or edition != self._book.edition or is_late:
            raise Behind(log_length)

    def require_exact(self, present: Mapping[str, Sequence[Record]]) -> None:
        """Raise Coarse where a stored label is out of date: its facets must not pass into a new label."""
        coarse = [
            id_
            for id_, records in present.items()
            if not all(self._book.label(record.label).exact for record in records)
        ]
        if coarse:
            raise Coarse(coarse)

    def with_reopening(
        self,
        plan: Plan,
        present: Mapping[str, Sequence[Record]],
        quiet: Callable[[Inside], Collection[str]] = lambda inside: (),
    ) -> Plan:
        """The plan with the event that tells of what it brings back (see reopening.py), under the catalog in use."""
        return with_reopening(plan, present, self.key_of, self.readers, quiet=quiet, granted=self.granted)

    def facets_of(self, record: Record) -> Facets:
        return self._book.label(record.label).key.facets

    def key_of(self, label: int) -> LabelKey:
        return self._book.label(label).key

    # ---- labels anew

    def relabel(self, progress: Callable[[int], None] = lambda done: None) -> int:
        """Label anew every record whose label is coarse; how many were looked at. Idempotent, safe beside writers."""
        done = after = 0
        self._book.sync()
        while labels := self._book.coarse():
            page = self._store.page(
                PageQuery(labels=tuple(labels), collections=(), after=after, limit=PORTION, content=False)
            )
            if not page.records:
                if not after:
                    return done
                after = 0
                continue
            # Onwards, so that nobody walks again over what is done; once more from the start to be sure.
            after = page.records[-1].position
            self._relabel_ids({record.id for record in page.records})
            done += len(page.records)
            progress(done)
        return done

    def relabel_released(self, policy: Policy) -> None:
        """Give what the releases of this policy name the labels that say so. The vocabulary names them already.

        A label that does not know of a release only hides more, so all others can stay as they are.
        """
        named = sorted({id_ for release in policy.releases for id_ in release.objects})
        for start in range(0, len(named), PORTION):
            some = named[start : start + PORTION]
            stale = {
                record.id
                for records in self._book.lookup(some).values()
                for record in records
                if self._lacks_release(record)
            }
            if stale:
                self._relabel_ids(stale)

    def _lacks_release(self, record: Record) -> bool:
        released = self._book.vocabulary.released_to(record.submitter, record.id)
        return not set(released) <= set(self.facets_of(record).releases)

    def _relabel_ids(self, ids: Iterable[str]) -> None:
        """Give all records of these ids the labels that their stored texts ask for."""
        wanted = sorted(ids)

        def attempt(edition: int) -> tuple[int, ...]:
            fresh = self._project_stored(wanted, self._book.vocabularies[edition])

            def facets_of(record: Record) -> Facets:
                try:
                    return fresh[record.position]
                except KeyError:
                    raise Behind(record.position) from None

            def plan(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
                self.require_current(log_length, edition)
                return plan_relabelling(present, facets_of, self._book.number)

            return self._store.write(wanted, plan)

        self.settle(attempt)

    def _project_stored(self, ids: Sequence[str], vocabulary: Vocabulary) -> dict[int, Facets]:
        """The facets of every record of these ids under this vocabulary, read off the stored text."""
        every_label = tuple(sorted(self._book.labels))
        facets: dict[int, Facets] = {}
        after = 0
        while True:
            page = self._store.page(
                PageQuery(labels=every_label, collections=(), after=after, limit=PORTION, ids=tuple(ids))
            )
            for record in page.records:
                traits = read_traits(
                    orjson.loads(record.content),
                    collection=record.collection,
                    submitter=record.submitter,
                    spec_version=record.spec_version,
                )
                facets[record.position] = vocabulary.project(traits)
            if len(page.records) < PORTION:
                return facets
            after = page.records[-1].position

    def relabel_by(
        self,
        ids: Iterable[str],
        read: Callable[[Sequence[str]], Mapping[int, Traits]],
        shown: frozenset[int] = frozenset(),
    ) -> None:
        """Give the records of these ids the labels that their texts ask for, when those that they have may be wrong.

        `read` gives the traits of their texts by position; a record without any keeps the facets of its label. Who
        polls gets what comes into sight by this, and the records at the positions `shown`.
        """
        wanted = sorted(ids)

        def attempt(edition: int) -> tuple[int, ...]:
            vocabulary = self._book.vocabularies[edition]
            fresh = {position: vocabulary.project(traits) for position, traits in read(wanted).items()}

            def facets_of(record: Record) -> Facets:
                return fresh[record.position] if record.position in fresh else self.facets_of(record)

            def key_of(label: int) -> LabelKey | None:
                known = self._book.labels.get(label)
                return None if known is None else known.key

            def plan(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
                self.require_current(log_length, edition)
                planned = plan_relabelling(present, facets_of, self._book.number)
                return with_reopening(planned, present, key_of, self.readers, shown, granted=self.granted)

            return self._store.write(wanted, plan)

        self.settle(attempt)
