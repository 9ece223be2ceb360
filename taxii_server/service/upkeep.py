"""Work in the background that one server process at a time does: retention, old entries, old rows.

A lease in the store says who and when. A process that dies leaves a lease behind that runs out, and the next one goes
on: every step is a transaction of its own, so nothing has to be undone.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import dataclass

from taxii_server.errors import ConfigError, StorageError, StorageUnavailable
from taxii_server.metering import REMOVED, TASK_OK, TASK_RUN
from taxii_server.service.filling import fill_terms
from taxii_server.service.hub import Hub
from taxii_server.service.pruning import prune
from taxii_server.service.retention import PAUSE_S, Removed, Retention

_log = logging.getLogger(__name__)
#: The lease that says that somebody works now, renewed with every step; and for how long it holds without.
RUNNING, _RUNNING_US = "upkeep running", 300_000_000
#: The lease that says that it has been done for this time.
DONE = "upkeep done"
#: Reading what the records of an older database are found by.
_FILLING = "upkeep terms"
#: Marking-definitions and identities are looked for once a day: that reads every text.
_DEFINITIONS, _PRUNING = "upkeep definitions", "upkeep ledger"
_MINUTE_US = 60_000_000
_DAY_US = 24 * 60 * _MINUTE_US
#: How often a process looks whether something is to be done.
_LOOK_S = 60.0
_FIRST_LOOK_S = 2.0


def _no_pause() -> None:
    """Where nothing is written, nobody waits."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one round removed."""

    retention: Removed
    ledger_entries: int
    statuses: int
    catalogs: int


class Upkeep:
    """The background work of one process. `holder` tells its leases from those of others."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._chores = hub.store.chores
        self._holder = secrets.token_hex(8)
        self._stop = threading.Event()
        #: whether this process has seen that no record is left to be filled: nobody adds one
        self._filled = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Work in a daemon thread, unless `upkeep_minutes` is 0."""
        if self._hub.settings.upkeep_minutes:
            self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the step that is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def tick(self) -> bool:
        """Do what is to be done, if it is time and nobody else does it; whether it was."""
        if not self._chores.take(DONE, self._holder, self._hub.settings.upkeep_minutes * _MINUTE_US):
            return False
        daily = self._chores.take(_DEFINITIONS, self._holder, _DAY_US)
        pruning = self._chores.take(_PRUNING, self._holder, _DAY_US)
        is_done = False
        try:
            done = self.work(definitions=daily, pruning=pruning)
            is_done = True
        except StorageUnavailable:
            # Not done: whoever looks next goes on.
            for name in (DONE, *[_DEFINITIONS] * daily, *[_PRUNING] * pruning):
                self._chores.give_back(name, self._holder)
            raise
        finally:
            self._hub.meter.set(TASK_RUN, time.time(), "upkeep")
            self._hub.meter.set(TASK_OK, is_done, "upkeep")
        self._count(done)
        if done.retention.total or done.ledger_entries:
            _log.info(
                "removed %d records and %d entries of the ledger; %d objects stay because of what refers to them",
                done.retention.total,
                done.ledger_entries,
                len(done.retention.held),
            )
        return True

    def fill(self) -> int:
        """Let filters find the records of an older database by index, unless another process does; how many it were."""
        if not self._chores.take(_FILLING, self._holder, _RUNNING_US):
            return 0
        try:
            return fill_terms(self._hub.store, lambda count: self._pause(_FILLING))
        finally:
            self._chores.give_back(_FILLING, self._holder)

    def _fill_once(self) -> None:
        if not self._filled:
            if count := self.fill() if self._hub.store.unfilled(1) else 0:
                _log.info("filters find %d records of an older database by index now", count)
            self._filled = not self._hub.store.unfilled(1)

    def _count(self, done: Done) -> None:
        removed = {
            "records": done.retention.total,
            "ledger": done.ledger_entries,
            "statuses": done.statuses,
            "catalogs": done.catalogs,
        }
        for what, count in removed.items():
            self._hub.meter.count(REMOVED, count, what)

    def work(self, *, dry: bool = False, definitions: bool = True, pruning: bool = True) -> Done:
        """Do all of it now. Raises StorageUnavailable while another process does, or the database does not answer."""
        if not self._chores.take(RUNNING, self._holder, _RUNNING_US):
            raise StorageUnavailable("another process is removing old objects now; try again later")
        try:
            settings, store = self._hub.settings, self._hub.store
            pause = _no_pause if dry else self._pause
            removed = Retention(self._hub, dry=dry, pause=pause).run(definitions=definitions)
            entries = 0
            if pruning and settings.ledger_keep_days:
                before = store.present() - settings.ledger_keep_days * _DAY_US
                entries = prune(store, self._hub.ledger, before, dry=dry)
            statuses = 0 if dry else self._chores.forget_statuses()
            catalogs = 0
            if settings.catalog_keep_days and not dry:
                catalogs = self._chores.forget_catalogs(store.present() - settings.catalog_keep_days * _DAY_US)
            return Done(removed, entries, statuses, catalogs)
        finally:
            self._chores.give_back(RUNNING, self._holder)

    def _pause(self, lease: str = RUNNING) -> None:
        """Let others write, and tell them that this process is alive."""
        if self._stop.wait(PAUSE_S):
            raise StorageUnavailable("the server stops; the rest is removed later")
        if not self._chores.take(lease, self._holder, _RUNNING_US, renew=True):
            raise StorageUnavailable("another process has taken over")

    def _run(self) -> None:
        wait_s = _FIRST_LOOK_S
        while not self._stop.wait(wait_s):
            wait_s = _LOOK_S
            try:
                self._fill_once()
                self.tick()
            except (StorageError, ConfigError) as error:
                _log.warning("what has passed its time is removed later: %s", error)
            except Exception:  # noqa: BLE001 - the thread must outlive what nobody foresaw
                _log.exception("what has passed its time could not be removed")
