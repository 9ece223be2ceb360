"""The hub: what one server process holds, and the catalog in force.

The catalog, what it lets each audience see, and the reader over it are one immutable snapshot that is swapped
whole: a request takes it once and finishes on it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import SystemRandom

from taxii_server import audit
from taxii_server.catalog import FILED, Catalog, check_catalog, parse_catalog, with_filed
from taxii_server.errors import CatalogMoved, ConfigError, Problem, StorageError, StorageUnavailable
from taxii_server.metering import NO_METER, TASK_OK, TASK_RUN, Meter
from taxii_server.model import POSITION_MAX, Actor, AppliedCatalog, StoreState
from taxii_server.service.book import Book
from taxii_server.service.copies import Copies
from taxii_server.service.cursor import CursorSeal, derived_key
from taxii_server.service.granting import Granting
from taxii_server.service.ledger import Ledger
from taxii_server.service.posting import Writer
from taxii_server.service.reading import Reader
from taxii_server.service.sight import Sights, wanted_vocabulary
from taxii_server.service.statuses import Statuses
from taxii_server.service.visit import Snapshot, Visit
from taxii_server.settings import Settings
from taxii_server.stix.derive import Maker, hub_identity
from taxii_server.stix.parse import JsonLimits
from taxii_server.storage.base import Store
from taxii_server.storage.together import Together

_log = logging.getLogger(__name__)
#: How often a change of the configuration starts over because another one came between.
_ATTEMPTS = 20
#: How long a change waits for another one of the same process.
_TURN_S = 10.0
#: How much longer each attempt may wait than the one before.
_PAUSE_S = 0.05
_random = SystemRandom()


class Hub:
    """One server process's view of the hub. Safe for several threads."""

    def __init__(self, settings: Settings, store: Store, meter: Meter = NO_METER) -> None:
        self.settings = settings
        self.meter = meter
        self.store = store
        self.book = Book(store)
        self.writer = Writer(
            store,
            self.book,
            lambda: self.snapshot.catalog.policy.guards,
            JsonLimits(settings.max_json_depth, settings.max_objects_per_post, settings.max_json_values),
            settings.max_labels_per_partner,
        )
        self.writer.labelling.epoch = 0
        self.writer.labelling.catch_up = self._catch_up
        self.statuses = Statuses(store, settings.status_hours)
        self.ledger = Ledger(store, enabled=settings.ledger, meter=meter)
        self._snapshot: Snapshot | None = None
        self._seal: CursorSeal | None = None
        self._copies: Copies | None = None
        self._looks = Together[None, StoreState](lambda asked, limit_s: [store.state()] * len(asked), wait_s=_TURN_S)
        self._lock = threading.Lock()
        #: epoch and generation, and when a decision changes by itself under them; in one piece, for all threads
        self._next = (0, -1, POSITION_MAX)
        self._change_lock = threading.Lock()

    # ---- the catalog in force

    @property
    def snapshot(self) -> Snapshot:
        """What is in force now; take it once per request."""
        if self._snapshot is None:
            self.load()
        if self._snapshot is None:
            problem = Problem("", "", "no configuration was ever applied to this store; run 'taxii-server serve'")
            raise ConfigError([problem])
        return self._snapshot

    @property
    def in_force(self) -> Snapshot | None:
        """The same, as far as this process knows; None before the first one."""
        return self._snapshot

    def load(self) -> None:
        """Read the catalog in force from the store and swap it in, when it is another one than before."""
        applied = self.store.catalog()
        if applied is None or (self._snapshot is not None and self._snapshot.epoch == applied.epoch):
            return
        catalog = parse_catalog(applied.files)
        self.book.sync()
        self._swap(applied.epoch, Sights(catalog, self.book, applied.moment))

    def _catch_up(self) -> None:
        """Work with the catalog that the log tells of, if it is another one."""
        if self._snapshot is None or self.book.epoch > self._snapshot.epoch:
            self.load()

    def apply(
        self,
        files: Mapping[str, str] | Callable[[], Mapping[str, str]],
        applied_by: str,
        progress: Callable[[int], None] = lambda done: None,
    ) -> AppliedCatalog:
        """Put these files in force for every process of this store; what partners filed stays in force beside them.

        What reads them is called again when somebody else's change came between: that may have been made of newer ones.
        Raises as `change` does, and what reading raises.
        """
        own: Mapping[str, str] = {}

        def merged(in_force: Mapping[str, str]) -> dict[str, str]:
            nonlocal own
            own = files() if callable(files) else files
            texts, gone = with_filed(own, in_force)
            for partner in gone:
                _log.warning("the filed releases of '%s' are dropped: there is no such partner any more", partner)
            return texts

        try:
            return self.change(merged, applied_by, progress)
        except ConfigError as error:
            raise ConfigError([*error.problems, *self._filed_in_the_way(own, error)]) from error

    def change(
        self,
        make: Callable[[Mapping[str, str]], Mapping[str, str]],
        applied_by: str,
        progress: Callable[[int], None] = lambda done: None,
    ) -> AppliedCatalog:
        """Put in force what `make` makes of the texts in force, for every process of this store.

        `make` is called again when somebody else's change came between, so that neither is lost. Raises whatever
        `make` raises, ConfigError for what does not hold, and changes nothing then.
        """
        # Threads wait for each other here: each would only make the others start over.
        if not self._change_lock.acquire(timeout=_TURN_S):
            raise StorageUnavailable("another change of the configuration is being applied; try again")
        try:
            for attempt in range(_ATTEMPTS):
                # What a majority has can be behind what the transaction found: at once it would be the same again.
                time.sleep(_random.uniform(0, attempt * _PAUSE_S))
                in_force = self.store.catalog()
                files, epoch = (in_force.files, in_force.epoch) if in_force else ({}, 0)
                try:
                    return self._put(make(files), applied_by, progress, epoch)
                except CatalogMoved:
                    _log.info("the configuration was changed by somebody else meanwhile; starting over")
        finally:
            self._change_lock.release()
        raise StorageUnavailable("the configuration is changed by others all the time; try again")

    def _filed_in_the_way(self, files: Mapping[str, str], error: ConfigError) -> list[Problem]:
        """What to tell besides, when these files would hold if nothing were filed."""
        in_force = self.store.catalog()
        filed = in_force is not None and any(name.startswith(FILED) for name in in_force.files)
        if not filed or any(problem.file.startswith(FILED) for problem in error.problems):
            return []
        try:
            check_catalog(files, self.settings)
        except ConfigError:
            return []
        message = "it holds without them: see 'taxii-server release list', and take back what is in the way"
        return [Problem(FILED, "", message)]

    def _put(
        self, files: Mapping[str, str], applied_by: str, progress: Callable[[int], None], expected_epoch: int
    ) -> AppliedCatalog:
        """Put these texts in force, unless another epoch than the expected one is.

        Raises ConfigError, and changes nothing, if they do not hold.
        Records whose labels are too coarse for the new policy are labelled anew before it takes effect; the
        vocabulary only grows, so the policy in force stays exact meanwhile. `progress` is told how many are done.
        """
        catalog = check_catalog(files, self.settings)
        self.book.grow_vocabulary(wanted_vocabulary(catalog))
        self._relabel(catalog, progress)
        applied = self._put_in_force(files, catalog, applied_by, expected_epoch)
        audit.record("catalog-applied", epoch=applied.epoch, digest=catalog.digest, by=applied_by)
        return applied

    def _relabel(self, catalog: Catalog, progress: Callable[[int], None]) -> None:
        is_done = False
        try:
            self.writer.labelling.relabel(progress)
            self.writer.labelling.relabel_released(catalog.policy)
            is_done = True
        finally:
            self.meter.set(TASK_RUN, time.time(), "relabel")
            self.meter.set(TASK_OK, is_done, "relabel")

    def _put_in_force(
        self, files: Mapping[str, str], catalog: Catalog, applied_by: str, expected_epoch: int
    ) -> AppliedCatalog:
        """Swap the catalog of the store, and let every audience have what it gains by that. Raises CatalogMoved."""
        self.load()
        self.book.sync()
        before = None if self._snapshot is None else self._snapshot.sights
        moment = _moment(catalog, self.book, self.store.present())
        if before is not None:
            moment = max(moment, before.moment)
        granting = Granting(self.store, self.book, before, Sights(catalog, self.book, moment))
        granting.prepare()
        applied = self.store.apply_catalog(
            files,
            catalog.digest,
            applied_by,
            moment=moment,
            event=granting.plan,
            expected_epoch=expected_epoch,
        )
        self.load()
        return applied

    def pass_time(self) -> None:
        """Put in force what the passing of time brings: a release that begins or ends, an embargo that is over."""
        applied = self.store.catalog()
        if applied is not None:
            # Another process that was faster has done the same.
            with suppress(CatalogMoved):
                self._put_in_force(applied.files, parse_catalog(applied.files), applied.applied_by, applied.epoch)
            self.load()
            _log.info("a date of the policy has come; it is judged anew (epoch %d)", self.snapshot.epoch)

    def keep_time(self) -> None:
        """Judge the policy anew when one of its dates has come; nothing to do at any other time."""
        if self.store.present() >= self._next_moment():
            self.pass_time()

    def follow(self) -> None:
        """Take over now what other processes did; one cheap command when they did nothing."""
        # Requests that come at the same time share a look that began after they came.
        state = self._looks.do(None)
        self.refresh(state.log_length, state.catalog_epoch)

    def followed(self) -> int:
        """The epoch of the catalog in force, after taking over what other processes did."""
        self.follow()
        return self.snapshot.epoch

    def refresh(self, log_length: int, catalog_epoch: int) -> None:
        """Follow what other processes did: new labels, another catalog.

        Raises StorageError when the log has become shorter: a backup was restored under this process.
        """
        known = self.book.length
        if log_length < known and self.store.state().log_length < known:
            raise StorageError("the store is an older one than this process began with: restart the server")
        if log_length != self.book.length:
            self.book.sync()
        if self._snapshot is None or catalog_epoch != self._snapshot.epoch:
            self.load()

    def _swap(self, epoch: int, sights: Sights) -> None:
        if self._seal is None or self._copies is None:
            secret = self.store.secret()
            self._seal = CursorSeal(secret)
            self._copies = Copies(self.store, Maker(derived_key(secret, b"taxii copies v1"), hub_identity(secret)))
        reader = Reader(self.store, self.book, sights, self._seal, self._copies, epoch)
        with self._lock:
            # Two threads may have read the store at different moments: the newer catalog stays.
            if self._snapshot is not None and self._snapshot.epoch >= epoch:
                return
            self._snapshot = Snapshot(epoch, sights.catalog, sights, reader)
            self.writer.labelling.readers = sights.readers
            governed = sights.catalog.policy.defaults.newest_governs
            self.writer.labelling.granted = sights.granted_behind if governed else None
            self.writer.labelling.epoch = epoch
        _log.info("catalog %s is in force (epoch %d)", sights.catalog.digest[:12], epoch)

    def visit(self, actor: Actor, renew: Callable[[], Snapshot] | None = None) -> Visit:
        """The operations for this actor under the catalog in force now; for one request.

        `renew` gives the snapshot in force when another one than this came into force meanwhile; None: `Hub.renew`.
        """
        self.keep_time()
        return Visit(
            actor,
            self.snapshot,
            self.settings,
            self.store,
            self.book,
            self.writer,
            self.statuses,
            self.ledger,
            renew or self.renew,
            self.followed,
            self.meter,
        )

    def renew(self) -> Snapshot:
        """The snapshot in force, after somebody found that the one it had is not."""
        self.load()
        return self.snapshot

    def _next_moment(self) -> int:
        """When the policy in force has to be judged anew."""
        snapshot = self.snapshot
        generation = self.book.generation
        known = self._next
        if known[:2] != (snapshot.epoch, generation):
            moments = snapshot.catalog.policy.moments(self.book.meanings)
            moment = min((each for each in moments if each > snapshot.sights.moment), default=POSITION_MAX)
            known = self._next = (snapshot.epoch, generation, moment)
        return known[2]


def _moment(catalog: Catalog, book: Book, present: int) -> int:
    """The last instant at which a decision of this policy changed by itself."""
    return max((each for each in catalog.policy.moments(book.meanings) if each <= present), default=0)
