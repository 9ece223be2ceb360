"""What arrivals bring into sight that the write itself does not tell (policy design, C11 and C20).

A record that came may be the first of its id that somebody can read although there were others: another partner posted
the same id, as happens with observables, whose ids follow from their values, and its copy is hidden; or the version
before refers to something hidden, and the new one does not. Then what refers to the object comes into sight, and so do
older versions that the new one governs. That something hidden is there is nothing that the work of a POST may tell. So
it is found afterwards, in the background, by one process at a time, and exactly: all this stands at an event then, for
those who gain it and for nobody else.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from taxii_server.errors import ConfigError, StorageError
from taxii_server.metering import TASK_OK, TASK_RUN
from taxii_server.model import POSITION_MAX, EventPlan, PageQuery, Record
from taxii_server.service.book import Behind
from taxii_server.service.events import EventClass
from taxii_server.service.hub import Hub
from taxii_server.service.newcomers import NOBODY, Newcomers
from taxii_server.service.references import References
from taxii_server.service.versions import age
from taxii_server.storage.base import Inside, Plan

_log = logging.getLogger(__name__)
#: The lease of whoever looks, and for how long it holds.
_LEASE, _LEASE_US = "arrivals", 30_000_000
#: The note of the position up to which all is done.
_PLACE = "arrivals until"
#: Few: what refers to all of them is written in one transaction.
_PORTION = 100
#: How long to wait where another process looks, or the database does not answer.
_AGAIN_S = 5.0


@dataclass(slots=True)
class _Found:
    """What comes into sight: records that came, with their new readers, and older ones, by position."""

    arrivals: dict[int, tuple[str, EventClass]] = field(default_factory=dict)
    older: dict[int, EventClass] = field(default_factory=dict)

    def arrive(self, record: Record, audience: str) -> None:
        """Let the id of the record come into sight of this audience with it."""
        _, readers = self.arrivals.get(record.position, ("", NOBODY))
        self.arrivals[record.position] = record.id, readers.united(EventClass(frozenset({audience})))

    def come_back(self, record: Record, audience: str) -> None:
        """Let the older record come for this audience."""
        readers = self.older.get(record.position, NOBODY)
        self.older[record.position] = readers.united(EventClass(frozenset({audience})))


class Arrivals:
    """The look of one process at what came."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._chores = hub.store.chores
        self._holder = secrets.token_hex(8)
        self._clock = -1
        #: up to here all is done, as this process has seen: the note is only of what there was to do
        self._done = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look now, and in a daemon thread whenever something came."""
        self._wake.set()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is under way."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def notice(self, clock: int) -> None:
        """Look soon, unless the clock of the store stands where it stood."""
        if clock != self._clock:
            self._clock = clock
            self._wake.set()

    def tick(self) -> bool:
        """Look at what came since the last time; False while another process does.

        Raises StorageError, and ConfigError where no configuration is in force, or one that this release cannot read:
        what nobody could read by it would be passed for ever.
        """
        clock = self._hub.store.clock()
        if not self._hub.snapshot.epoch or not self._records(self._place()):
            self._done = clock
            return True
        if not self._chores.take(_LEASE, self._holder, _LEASE_US):
            return False
        try:
            while records := self._records(self._place()):
                self._let_come(records)
                self._chores.note(_PLACE, str(records[-1].position))
                if self._stop.is_set() or not self._chores.take(_LEASE, self._holder, _LEASE_US, renew=True):
                    return False
            return True
        finally:
            self._chores.give_back(_LEASE, self._holder)

    def _place(self) -> int:
        noted = self._chores.notes(_PLACE).get(_PLACE)
        if noted is None:
            # Nobody has looked yet. What is there already was there before whoever polls from now on.
            noted = str(self._hub.store.clock())
            self._chores.note(_PLACE, noted)
        return max(int(noted), self._done)

    def _records(self, after: int) -> Sequence[Record]:
        """The first records behind this position that are not the only ones of their id."""
        book, store = self._hub.book, self._hub.store
        book.sync()
        while labels := tuple(sorted(book.crowded)):
            page = store.page(PageQuery(labels=labels, collections=(), after=after, limit=_PORTION, content=False))
            if page.horizon <= book.length:
                return page.records
            book.sync()
        return ()

    def _let_come(self, records: Sequence[Record]) -> None:
        """Let what these records brought into sight stand at an event, for whom they did."""
        labelling = self._hub.writer.labelling
        ids = sorted({record.id for record in records})
        came = {record.position for record in records}

        def attempt(edition: int) -> tuple[int, ...]:
            known = self._hub.book.lookup(ids)
            # The log tells of the configuration that they were posted under: by an older one nobody might gain.
            labelling.catch_up()
            # Before the transaction: others write meanwhile, however many audiences there are to ask.
            found = self._find(known, came)

            def plan(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
                labelling.require_current(log_length, edition)
                labelling.require_exact(present)
                if present != known:
                    raise Behind(log_length)
                return Plan(event=lambda inside: self._event(inside, found))

            return self._hub.store.write(ids, plan) if found.arrivals else ()

        labelling.settle(attempt)

    def _event(self, inside: Inside, found: _Found) -> EventPlan | None:
        come = Newcomers(self._hub.writer.labelling.key_of)
        for position, readers in found.older.items():
            come.add(position, readers)
        for id_, readers in found.arrivals.values():
            come.gain(id_, readers)
        return come.event(
            inside, lambda facts, base, end, positions: facts.payload(base, end, found.older, found.arrivals)
        )

    # ---- who gains what

    def _find(self, present: Mapping[str, Sequence[Record]], came: Collection[int]) -> _Found:
        """What those of the records that came brought into somebody's sight."""
        found = _Found()
        for records in present.values():
            for record in records:
                if record.position in came:
                    self._look(record, [each for each in records if each.position < record.position], found)
        return found

    def _look(self, record: Record, earlier: Sequence[Record], found: _Found) -> None:
        """Compare who reads something of this id before and after the record came."""
        owners = {each.submitter for each in earlier}
        # A label tells who posted what carries it, and who reads it. There are few, of any number of versions.
        labelled: dict[int, list[Record]] = {}
        for each in earlier:
            labelled.setdefault(each.label, []).append(each)
        readers = {label: self._readers(some[0]) for label, some in labelled.items()}
        defaults = self._hub.snapshot.catalog.policy.defaults
        in_the_way = _InTheWay(record, earlier, derives=defaults.refs_lists == "derive")
        seen_by: list[Mapping[str, int]] | None = None
        for audience, delay in self._readers(record).items():
            if audience == record.submitter or owners <= {audience}:
                # Its own copy tells it nothing; and what nobody else held was not hidden from it.
                continue
            labels = [
                label
                for label, some in labelled.items()
                if some[0].submitter != audience and readers[label].get(audience, delay + 1) <= delay
            ]
            if not labels:
                # Where the same one had posted it before, the write itself has told (reopening.py).
                if record.submitter not in owners:
                    found.arrive(record, audience)
                continue
            if in_the_way.labels.isdisjoint(labels):
                continue
            if seen_by is None:
                seen_by = self._seen_by(in_the_way.ids)
            if all(readers_of_id.get(audience) == 0 for readers_of_id in seen_by):
                continue
            had = [each for label in labels for each in labelled[label]]
            before, now = self._references(audience, record, before=record.position), self._references(audience, record)
            if not now.is_readable(record):
                continue
            if not any(map(before.is_readable, had)):
                found.arrive(record, audience)
            if now.governed:
                for each in had:
                    if each.submitter == record.submitter and now.is_readable(each) and not before.is_readable(each):
                        found.arrive(record, audience)
                        found.come_back(each, audience)

    def _readers(self, record: Record) -> Mapping[str, int]:
        """Who reads the record by its label, and with which delay."""
        labelling = self._hub.writer.labelling
        key = labelling.key_of(record.label)
        return labelling.readers(key.facets, key.governor)

    def _seen_by(self, ids: Collection[str]) -> list[Mapping[str, int]]:
        """Who surely reads each of these ids that there are, with a delay: by a record of another one that refers to
        nothing itself."""
        found: list[Mapping[str, int]] = []
        for records in self._hub.book.lookup(sorted(ids)).values():
            readers: dict[str, int] = {}
            for record in records:
                if not (record.hard_refs or record.soft_refs):
                    for audience, delay in self._readers(record).items():
                        if audience != record.submitter:
                            readers[audience] = min(delay, readers.get(audience, delay))
            found.append(readers)
        return found

    def _references(self, audience: str, record: Record, before: int = POSITION_MAX) -> References:
        """What the audience may not read because of references, as if no record of this id came `before` or later."""
        sights = self._hub.snapshot.sights
        references = References(self._hub.store, self._hub.book, sights.catalog, sights.of(audience), record.id, before)
        references.load([record.id])
        return references

    # ---- in the background

    def _run(self) -> None:
        failure = ""
        while self._wake.wait() and not self._stop.is_set():
            self._wake.clear()
            failure, failed_before = "", failure
            try:
                is_done = self.tick()
            except (StorageError, ConfigError) as error:
                is_done, failure = False, str(error)
                if not failed_before:
                    _log.warning("what arrivals bring into sight is found later: %s", error)
            except Exception as error:  # noqa: BLE001 - the thread must outlive what nobody foresaw
                is_done, failure = False, f"unexpected {type(error).__name__}"
                _log.exception("what arrivals bring into sight could not be found")
            if is_done or failure:
                self._hub.meter.set(TASK_RUN, time.time(), "arrivals")
                self._hub.meter.set(TASK_OK, is_done, "arrivals")
            if not is_done:
                self._stop.wait(_AGAIN_S)
                self._wake.set()


class _InTheWay:
    """What earlier records of an id, and the versions that governed them, refer to and a new record does not.

    Whoever reads the new one has what both refer to. So only the rest can have hidden them.
    """

    def __init__(self, record: Record, earlier: Iterable[Record], *, derives: bool) -> None:
        self._record = record
        self._derives = derives
        newest: dict[str, Record] = {}
        records = sorted(earlier, key=age)
        for each in records:
            newest[each.submitter] = each
        #: the labels of those that something may have hidden, and what that is
        self.labels: set[int] = set()
        self.ids: set[str] = set()
        for each in records:
            for version in (each, newest[each.submitter]):
                if not self._is_covered(version):
                    self.labels.add(each.label)
                    self.ids.update(_references(version))
        if not derives:
            self.ids -= _references(record)

    def _is_covered(self, version: Record) -> bool:
        """Whether nothing hides the version from anybody who can read the new record."""
        if not set(version.hard_refs) <= set(self._record.hard_refs):
            return False
        if self._derives:
            # Something has to be left of a list, so a shorter one may have been hidden, and a longer one.
            return not version.soft_refs or set(version.soft_refs) == set(self._record.soft_refs)
        return set(version.soft_refs) <= _references(self._record)


def _references(record: Record) -> frozenset[str]:
    return frozenset((*record.hard_refs, *record.soft_refs))
