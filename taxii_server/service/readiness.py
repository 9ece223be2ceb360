"""Whether this process can serve now: what /readyz asks."""

from __future__ import annotations

import threading
import time

from taxii_server.errors import ConfigError, StorageError
from taxii_server.service.hub import Hub
from taxii_server.service.refresh import Refresher

#: An answer comes within this time, whatever the database does.
LIMIT_S = 2.0
#: Whoever asks within this time after another one gets the same answer: probes cost no more than so many looks.
KEPT_S = 0.5


class _Look:
    """One look at the store, by a thread of its own."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.at = time.monotonic()
        self.problem = ""


class Readiness:
    """Looks at the store, one look at a time. Safe for several threads; made after the fork."""

    def __init__(self, hub: Hub, refresher: Refresher, kept_s: float = KEPT_S) -> None:
        self._hub = hub
        self._refresher = refresher
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._look: _Look | None = None

    def problem(self) -> str:
        """Why nothing can be served now, in words for an operator; empty when everything can. Within LIMIT_S."""
        with self._lock:
            look = self._look
            if look is None or (look.ended.is_set() and time.monotonic() - look.at >= self._kept_s):
                look = _Look()
                # A thread for each look: one that hangs in a database holds up nobody but those who ask this.
                try:
                    threading.Thread(target=self._run, args=(look,), name="readiness", daemon=True).start()
                except RuntimeError as error:  # the system gives none
                    return str(error)
                self._look = look
        if look.ended.wait(LIMIT_S):
            return look.problem
        return f"the store does not answer within {LIMIT_S:g} s"

    def _run(self, look: _Look) -> None:
        try:
            look.problem = self._found()
        except (StorageError, ConfigError) as error:
            look.problem = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it cannot serve
            look.problem = f"unexpected {type(error).__name__}"
        finally:
            look.at = time.monotonic()
            look.ended.set()

    def _found(self) -> str:
        self._refresher.require_fresh()
        if self._refresher.failure:
            return f"cannot follow the store: {self._refresher.failure}"
        self._hub.store.health.check(LIMIT_S)
        if not self._hub.snapshot.epoch:
            return "no configuration is in force"
        return ""
