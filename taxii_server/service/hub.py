"""The hub: what one server process holds, and the catalog in force.

The catalog, what it lets each audience see, and the reader over it are one immutable snapshot that is swapped
whole: a request takes it once and finishes on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from taxii_server import audit
from taxii_server.catalog import Catalog, check_catalog, parse_catalog, require_enforceable
from taxii_server.errors import ConfigError, Problem
from taxii_server.model import Actor, AppliedCatalog
from taxii_server.service.book import Book
from taxii_server.service.cursor import CursorSeal
from taxii_server.service.posting import Writer
from taxii_server.service.reading import Reader
from taxii_server.service.sight import Sights, wanted_vocabulary
from taxii_server.service.statuses import Statuses
from taxii_server.service.visit import Snapshot, Visit
from taxii_server.settings import Settings
from taxii_server.storage.base import Store

_log = logging.getLogger(__name__)


class Hub:
    """One server process's view of the hub. Safe for several threads."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.book = Book(store)
        self.writer = Writer(store, self.book, lambda: self.snapshot.catalog.policy.guards)
        self.statuses = Statuses(store, settings.status_hours)
        self._snapshot: Snapshot | None = None
        self._seal: CursorSeal | None = None
        self._lock = threading.Lock()

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

    def load(self) -> None:
        """Read the catalog in force from the store and swap it in, when it is another one than before."""
        applied = self.store.catalog()
        if applied is None or (self._snapshot is not None and self._snapshot.epoch == applied.epoch):
            return
        catalog = parse_catalog(applied.files)
        # A newer release may have applied rules that this one would pass over in silence.
        require_enforceable(catalog)
        self.book.sync()
        self._swap(applied.epoch, catalog)

    def apply(
        self, files: Mapping[str, str], applied_by: str, progress: Callable[[int], None] = lambda done: None
    ) -> AppliedCatalog:
        """Put these files in force for every process of this store.

        Raises ConfigError, and changes nothing, if they do not hold.
        Records whose labels are too coarse for the new policy are labelled anew before it takes effect; the
        vocabulary only grows, so the policy in force stays exact meanwhile. `progress` is told how many are done.
        """
        catalog = check_catalog(files, self.settings)
        self.book.grow_vocabulary(wanted_vocabulary(catalog))
        self.writer.relabel(progress)
        applied = self.store.apply_catalog(files, catalog.digest, applied_by)
        audit.record("catalog-applied", epoch=applied.epoch, digest=catalog.digest, by=applied_by)
        self.load()
        return applied

    def refresh(self, log_length: int, catalog_epoch: int) -> None:
        """Follow what other processes did: new labels, another catalog."""
        if log_length != self.book.length:
            self.book.sync()
        if self._snapshot is None or catalog_epoch != self._snapshot.epoch:
            self.load()

    def _swap(self, epoch: int, catalog: Catalog) -> None:
        if self._seal is None:
            self._seal = CursorSeal(self.store.secret())
        sights = Sights(catalog, self.book)
        reader = Reader(self.store, self.book, catalog, sights, self._seal)
        with self._lock:
            # Two threads may have read the store at different moments: the newer catalog stays.
            if self._snapshot is not None and self._snapshot.epoch >= epoch:
                return
            self._snapshot = Snapshot(epoch, catalog, sights, reader)
        _log.info("catalog %s is in force (epoch %d)", catalog.digest[:12], epoch)

    def visit(self, actor: Actor) -> Visit:
        """The operations for this actor under the catalog in force now; for one request."""
        return Visit(actor, self.snapshot, self.settings, self.store, self.book, self.writer, self.statuses)
