"""Following what other processes did: a look at the store's epochs, in the background, not per request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from taxii_server.auth.directory import Directory
from taxii_server.errors import ConfigError, StorageError, StorageUnavailable
from taxii_server.service.hub import Hub

_log = logging.getLogger(__name__)
#: Credentials older than this are not relied on: a revocation may have been missed.
_MAX_AGE_S = 10.0


class Refresher:
    """Keeps the hub's catalog and labels and the directory's credentials current."""

    def __init__(self, hub: Hub, directory: Directory, every_s: float) -> None:
        #: told the clock of the store with each look
        self.noticed: Callable[[int], None] = lambda clock: None
        self._hub = hub
        self._directory = directory
        self._every_s = every_s
        self._credentials_epoch = -1
        self._last = float("-inf")
        #: why the last look failed; empty when it did not
        self.failure = ""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tick(self) -> None:
        """Look once and take over what changed.

        Raises StorageError, or ConfigError for a catalog that this release cannot put in force.
        """
        with self._lock:
            # What is taken over now is as old as this, however long that takes.
            began = time.monotonic()
            state = self._hub.store.state()
            if state.credentials_epoch != self._credentials_epoch:
                self._directory.replace(self._hub.store.credentials())
                self._credentials_epoch = state.credentials_epoch
            self._hub.refresh(state.log_length, state.catalog_epoch)
            if state.catalog_epoch:
                self._hub.keep_time()
            self._last = began
            self.failure = ""
            self.noticed(state.clock)

    def require_fresh(self) -> None:
        """Raise StorageUnavailable when the store has not been seen for so long that a revocation may be missing.

        Without a background thread (`every_s` is 0) it looks now.
        """
        if not self._every_s:
            self.tick()
        elif time.monotonic() - self._last > _MAX_AGE_S + self._every_s:
            raise StorageUnavailable("the store has not been reachable for a while; credentials may be out of date")

    def start(self) -> None:
        """Look once now, then every `every_s` seconds in a daemon thread."""
        self._try()
        if self._every_s:
            self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _settle(self) -> None:
        """Let the database have what processes of this machine that are gone had for the ledger."""
        try:
            self._hub.store.ledger.settle()
        except Exception as error:  # noqa: BLE001 - as below; whoever adds an entry tries again
            _log.error("entries of the ledger wait on the disk: %s", error)

    def _run(self) -> None:
        self._settle()
        while not self._stop.wait(self._every_s):
            self._try()

    def _try(self) -> None:
        failed_before = self.failure
        try:
            self.tick()
        except (StorageError, ConfigError) as error:
            if not failed_before:
                _log.error("cannot follow the store: %s", error)
            self.failure = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - see below
            # The thread must outlive what nobody foresaw; require_fresh closes the door meanwhile.
            _log.exception("cannot follow the store")
            self.failure = f"unexpected {type(error).__name__}"
        else:
            if failed_before:
                _log.info("the store can be followed again")
