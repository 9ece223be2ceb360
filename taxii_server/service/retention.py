"""Retention: what has passed its time in a collection is removed, as if its submitter had deleted it.

The ordinary deletion transaction does it, in portions with pauses in between: events, labels of what remains and
entries of the ledger as for any deletion, under the name "retention". Nobody's order changes, so a client in the
middle of a walk gets everything that is still there.

Nothing comes into sight by retention, and nothing goes that others need:

* A version goes only after all older ones of the same object by the same submitter, in whatever collection: an old
  version, which the newer one replaced or revoked, never stands as the newest.
* The last record of an object stays while it hides something: when somebody could then read what refers to it, and
  cannot now. What refers to it keeps its place, unless that place came from it: then it stands at an event, as after
  any deletion.
* marking-definitions and identities stay while any object that is kept names them (see service/definitions.py).
* An embargo counts: the days begin when the last audience may read the version.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from taxii_server import audit
from taxii_server.catalog import Catalog
from taxii_server.errors import StorageUnavailable
from taxii_server.model import POSITION_MAX, Actor, PageQuery, Record
from taxii_server.service.book import Flags, Label
from taxii_server.service.definitions import named_in
from taxii_server.service.hub import Hub
from taxii_server.service.references import References
from taxii_server.service.sight import Sights
from taxii_server.service.versions import age
from taxii_server.storage.base import Inside

#: As whom objects are removed, in the ledger and in the log.
ACTOR = Actor("retention", "background", "retention")
DEFINITIONS = frozenset({"marking-definition", "identity"})
#: Records looked at, and ids of one transaction.
PAGE, PORTION = 1000, 100
PAUSE_S = 0.2
#: Passes of one run: what was held by something that went may go in the next one.
_PASSES = 3
#: How often it is looked again at what others refer to just then.
_ATTEMPTS = 5
_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Removed:
    """What one run removed, or would remove: records by collection name. `held`: objects that had to stay."""

    records: dict[str, int] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """All records."""
        return sum(self.records.values())


class _Overtaken(Exception):
    """Something that was not looked at refers to what goes: it may be hidden by that."""


@dataclass(slots=True)
class _Ends:
    """Ids that have to stay, ids of which nothing is left, those of them that go without a word, who refers to them."""

    held: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    quiet: list[str] = field(default_factory=list)
    referrers: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Rule:
    """The rule of one collection: versions before `cutoff` (µs) go, and all but so many (0: no such limit)."""

    cutoff: int
    versions: int


class Retention:
    """One run over one hub, under the catalog in force when it begins. `dry`: nothing is removed."""

    def __init__(
        self,
        hub: Hub,
        *,
        dry: bool = False,
        pause: Callable[[], None] = lambda: time.sleep(PAUSE_S),
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._hub, self._store, self._book = hub, hub.store, hub.book
        self._dry = dry
        self._pause = pause
        self._progress = progress
        hub.follow()
        hub.book.sync()
        snapshot = hub.snapshot
        self._epoch = snapshot.epoch
        self._catalog: Catalog = snapshot.catalog
        self._sights: Sights = snapshot.sights
        self._names = {each.id: each.name for each in self._catalog.collections.values()}
        self._rules = _rules(self._catalog, self._store.present())
        self._removed = Removed()

    def run(self, *, definitions: bool = True) -> Removed:
        """Remove what is due. With `definitions` also marking-definitions and identities, which reads every object.

        Raises StorageUnavailable; what was removed until then stays removed, and the rest goes with the next run.
        """
        for _ in range(_PASSES if not self._dry else 1):
            before = self._removed.total
            self._removed.held.clear()
            for collection, rule in self._rules.items():
                for ids in self._due_ids(collection, rule):
                    self._remove(ids, lambda record: record.type not in DEFINITIONS)
            if self._removed.total == before:
                break
        if definitions and self._rules:
            self._remove_definitions()
        return self._removed

    # ---- what is due

    def _due_ids(self, collection: str, rule: _Rule) -> Iterator[list[str]]:
        """The ids of records that may be due, in portions. Each id once in a portion."""
        # A copy: other threads read the log meanwhile.
        known = list(self._book.labels.items())
        labels = [n for n, each in known if each.key.facets.collection == collection]
        if rule.cutoff:
            yield from self._walk(labels, collection, rule.cutoff)
        if rule.versions:
            older = [n for n in labels if not self._book.labels[n].key.flags & Flags.LAST]
            yield from self._walk(older, collection, POSITION_MAX)

    def _walk(self, labels: Sequence[int], collection: str, before: int) -> Iterator[list[str]]:
        after = 0
        while labels:
            page = self._store.page(
                PageQuery(tuple(sorted(labels)), (collection,), after, PAGE, content=False, before=before)
            )
            ids = list(dict.fromkeys(record.id for record in page.records))
            for start in range(0, len(ids), PORTION):
                yield ids[start : start + PORTION]
            if len(page.records) < PAGE:
                return
            after = page.records[-1].position

    def _due(self, records: Sequence[Record]) -> list[Record]:
        """Those of all records of one id that are due: of each submitter the oldest ones, up to one that is not."""
        due: list[Record] = []
        by_submitter: dict[str, list[Record]] = {}
        for record in sorted(records, key=age):
            by_submitter.setdefault(record.submitter, []).append(record)
        for theirs in by_submitter.values():
            for record in theirs:
                if not self._is_due(record, theirs):
                    break
                due.append(record)
        return due

    def _is_due(self, record: Record, theirs: Sequence[Record]) -> bool:
        rule = self._rules.get(record.collection)
        label = self._book.labels.get(record.label)
        if rule is None or label is None:
            return False
        if rule.cutoff and record.position + self._longest_delay(label) < rule.cutoff:
            return True
        versions = {each.version_key for each in theirs if each.collection == record.collection}
        newer = sum(key > record.version_key for key in versions)
        return bool(rule.versions) and newer >= rule.versions

    def _longest_delay(self, label: Label) -> int:
        return max(self._sights.readers(label.key.facets, label.key.governor).values(), default=0)

    # ---- removing

    def _remove(self, ids: Sequence[str], may_go: Callable[[Record], bool]) -> None:
        """Remove what is due of these ids, in one transaction."""
        for _ in range(_ATTEMPTS):
            # Whoever comes too often for that is looked at by the next run.
            with suppress(_Overtaken):
                self._try_to_remove(ids, may_go)
                return

    def _try_to_remove(self, ids: Sequence[str], may_go: Callable[[Record], bool]) -> None:
        """The same, once. Raises _Overtaken, and removes nothing, when it may hide something that came meanwhile."""
        present = self._book.lookup(ids)
        doomed = {id_: [r for r in self._due(records) if may_go(r)] for id_, records in present.items()}
        length = self._book.length
        ends = self._book.settled(lambda: self._ends(present, doomed))
        self._removed.held |= ends.held
        wanted = [id_ for id_ in ids if doomed.get(id_) and id_ not in ends.held]
        if not wanted:
            return
        if self._dry:
            self._count(record for id_ in wanted for record in doomed[id_])
            return
        noted: set[int] = set()

        def pick(now: Mapping[str, Sequence[Record]]) -> list[Record]:
            if self._book.epoch > self._epoch:
                raise StorageUnavailable(
                    "another configuration came into force meanwhile; what is due under it goes with the next run"
                )
            going: list[Record] = []
            for id_ in wanted:
                records = now.get(id_, ())
                known = {record.position for record in doomed[id_]}
                due = [record for record in self._due(records) if record.position in known]
                # Only what was looked at: the next run asks what has to stay of the rest.
                if len(due) < len(records) or id_ in ends.gone:
                    going += due
            fresh = [record for record in going if record.position not in noted]
            self._hub.ledger.removed(ACTOR, self._facts(), fresh)
            noted.update(record.position for record in fresh)
            return going

        def quiet(inside: Inside) -> Sequence[str]:
            known = {record.position for record in ends.referrers}
            if any(record.position not in known for record in inside.referrers(ends.gone)):
                raise _Overtaken
            return ends.quiet if (inside.epoch, inside.log_length) == (self._epoch, length) else ()

        self._count(self._hub.writer.remove(wanted, pick, quiet))
        self._progress(self._removed.total)
        self._pause()

    def _count(self, records: Iterable[Record]) -> None:
        counts: dict[str, int] = {}
        for record in records:
            name = self._names[record.collection]
            counts[name] = counts.get(name, 0) + 1
        for name, count in counts.items():
            self._removed.records[name] = self._removed.records.get(name, 0) + count
            if not self._dry:
                audit.record("removed", partner=ACTOR.partner, collection=name, count=count)

    def _facts(self) -> dict[str, object]:
        return {"policy": self._catalog.digest, "epoch": self._epoch}

    # ---- what has to stay

    def _ends(self, present: Mapping[str, Sequence[Record]], doomed: Mapping[str, Sequence[Record]]) -> _Ends:
        """What becomes of the ids of which nothing would be left. Raises Behind."""
        ends = _Ends()
        while True:
            going = {record.position for id_, some in doomed.items() if id_ not in ends.held for record in some}
            ends.gone = {
                id_
                for id_, records in present.items()
                if id_ not in ends.held and all(record.position in going for record in records)
            }
            ends.referrers = self._store.referrers(ends.gone) if ends.gone else []
            kept = [record for record in ends.referrers if record.position not in going]
            hiding, placing = self._effects(frozenset(ends.gone), kept)
            if not hiding:
                ends.quiet = sorted(ends.gone - placing)
                return ends
            ends.held |= hiding

    def _effects(self, gone: frozenset[str], kept: Sequence[Record]) -> tuple[set[str], set[str]]:
        """Those of the ids that hide one of the kept records from somebody, and those that give it another place."""
        readers: dict[str, set[str]] = {}
        #: the first position of what refers to each id
        first: dict[str, int] = {}
        for record in kept:
            label = self._book.label(record.label)
            refs = gone.intersection(record.hard_refs + record.soft_refs)
            first.update((id_, min(record.position, first.get(id_, record.position))) for id_ in refs)
            for audience in self._sights.readers(label.key.facets, label.key.governor):
                # Nobody loses what it posted itself.
                if audience != record.submitter:
                    readers.setdefault(audience, set()).update(refs)
        hiding: set[str] = set()
        placing: set[str] = set()
        for audience, ids in readers.items():
            references = self._loaded(audience, ids)
            hiding |= {id_ for id_ in ids if references.is_hidden(id_)}
            placing |= {id_ for id_ in ids if references.places_others(id_, first[id_])}
        return hiding, placing

    def _loaded(self, audience: str, ids: Collection[str]) -> References:
        references = References(self._store, self._book, self._catalog, self._sights.of(audience))
        references.load(ids)
        return references

    def _remove_definitions(self) -> None:
        """Remove the marking-definitions and identities that are due and that no object names any more."""
        due: set[str] = set()
        for collection, rule in self._rules.items():
            for ids in self._due_ids(collection, rule):
                some = [id_ for id_ in ids if id_.partition("--")[0] in DEFINITIONS]
                present = self._book.lookup(some) if some else {}
                due |= {id_ for id_, records in present.items() if self._due(records)}
        if not due:
            return
        named = named_in(self._store, self._book, due, self._pause)
        self._removed.held |= named
        free = sorted(due - named)
        for start in range(0, len(free), PORTION):
            self._remove(free[start : start + PORTION], lambda record: True)


def _rules(catalog: Catalog, present: int) -> dict[str, _Rule]:
    """The rules of the collections that have one, by their ids."""
    return {
        each.id: _Rule(present - each.retention_days * _DAY_US if each.retention_days else 0, each.retention_versions)
        for each in catalog.collections.values()
        if each.retention_days or each.retention_versions
    }
