"""What the copy of another partner brings into sight (policy design, C11 and C20).

Two partners may post the same id, as they do with observables, whose ids follow from their values. Where the first
copy is hidden from somebody and the second one is not, what refers to the object comes into sight with the second. That
there is a hidden copy is nothing that the work of a POST may tell. So it is found afterwards, in the background, by one
process at a time: what refers to the object stands at an event then, for those who gain it and for nobody else.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from taxii_server.errors import ConfigError, StorageError
from taxii_server.metering import TASK_OK, TASK_RUN
from taxii_server.model import EventPlan, PageQuery, Record
from taxii_server.service.events import EventClass, EventFacts
from taxii_server.service.hub import Hub
from taxii_server.service.newcomers import Newcomers
from taxii_server.storage.base import Inside, Plan

_log = logging.getLogger(__name__)
#: The lease of whoever looks, and for how long it holds.
_LEASE, _LEASE_US = "twins", 30_000_000
#: The note of the position up to which all is done.
_PLACE = "twins until"
_PORTION = 1000
#: How long to wait where another process looks, or the database does not answer.
_AGAIN_S = 5.0


class _Gain(NamedTuple):
    """A record, and who reads its id since it came."""

    record: Record
    readers: frozenset[str]


class Twins:
    """The look of one process at what came."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._chores = hub.store.chores
        self._holder = secrets.token_hex(8)
        self._clock = -1
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look now, and in a daemon thread whenever something came."""
        self._wake.set()
        self._thread = threading.Thread(target=self._run, name="twins", daemon=True)
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
        """Look at what came since the last time; False while another process does."""
        if not self._chores.take(_LEASE, self._holder, _LEASE_US):
            return False
        try:
            self._hub.book.sync()
            after = self._place()
            while records := self._records(after):
                self._let_come(records)
                after = records[-1].position
                self._chores.note(_PLACE, str(after))
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
        return int(noted)

    def _records(self, after: int) -> Sequence[Record]:
        """The first records behind this position whose id others hold as well."""
        book, store = self._hub.book, self._hub.store
        while labels := tuple(sorted(book.twins)):
            page = store.page(PageQuery(labels=labels, collections=(), after=after, limit=_PORTION, content=False))
            if page.horizon <= book.length:
                return page.records
            book.sync()
        return ()

    def _let_come(self, records: Sequence[Record]) -> None:
        """Let what refers to these records stand at an event, for whom it came into sight with them."""
        labelling = self._hub.writer.labelling
        ids = sorted({record.id for record in records})
        fresh = {record.position for record in records}
        if not self._gains(self._hub.book.lookup(ids), fresh):
            return

        def attempt(edition: int) -> tuple[int, ...]:
            def plan(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
                labelling.require_current(log_length, edition)
                labelling.require_exact(present)
                gains = self._gains(present, fresh)
                return Plan(event=lambda inside: self._event(inside, gains)) if gains else Plan()

            return self._hub.store.write(ids, plan)

        labelling.settle(attempt)

    def _gains(self, present: Mapping[str, Sequence[Record]], fresh: Collection[int]) -> list[_Gain]:
        """Those of the records at these positions that brought their id into somebody's sight."""
        return [
            _Gain(record, readers)
            for records in present.values()
            for record in records
            if record.position in fresh and (readers := self._gain(record, records))
        ]

    def _gain(self, record: Record, records: Sequence[Record]) -> frozenset[str]:
        """Who reads this id since the record came, or earlier than it was to."""
        earlier = [each for each in records if each.position < record.position]
        owners = {each.submitter for each in earlier}
        if not owners - {record.submitter}:
            # New to everybody, or told by the write itself (reopening.py).
            return frozenset()
        before: dict[str, int] = {}
        if len(owners) == 1:
            # What nobody else holds is nothing hidden from who posted it.
            before.update(dict.fromkeys(owners, 0))
        refers = set(record.hard_refs + record.soft_refs)
        for each in earlier:
            # One that refers to something else may be hidden for that. Whether it is, is asked of each page.
            if refers.issuperset(each.hard_refs + each.soft_refs):
                for audience, delay in self._readers(each).items():
                    before[audience] = min(delay, before.get(audience, delay))
        return frozenset(
            audience for audience, delay in self._readers(record).items() if delay < before.get(audience, delay + 1)
        )

    def _readers(self, record: Record) -> dict[str, int]:
        """Who reads the record, and with which delay. Its submitter is told of nothing by its own copy."""
        labelling = self._hub.writer.labelling
        key = labelling.key_of(record.label)
        readers = dict(labelling.readers(key.facets, key.governor))
        readers.pop(record.submitter, None)
        return readers

    def _event(self, inside: Inside, gains: Sequence[_Gain]) -> EventPlan | None:
        come = Newcomers(self._hub.writer.labelling.key_of)
        for record, readers in gains:
            come.gain(record.id, EventClass(readers))
        come.follow(inside.referrers)
        come.add_versions(inside.lookup)
        if not come.entries:
            return None
        facts = EventFacts(classes=come.classes())
        arrived = [record.position for record, _ in gains]
        return EventPlan(come.numbered(), lambda base, end, positions: facts.payload(base, end, arrived=arrived))

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
                    _log.warning("what others' copies bring into sight is found later: %s", error)
            except Exception as error:  # noqa: BLE001 - the thread must outlive what nobody foresaw
                is_done, failure = False, f"unexpected {type(error).__name__}"
                _log.exception("what others' copies bring into sight could not be found")
            if is_done or failure:
                self._hub.meter.set(TASK_RUN, time.time(), "twins")
                self._hub.meter.set(TASK_OK, is_done, "twins")
            if not is_done:
                self._stop.wait(_AGAIN_S)
                self._wake.set()
