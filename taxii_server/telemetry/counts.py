"""What each partner may read and what is hidden from it, counted now and then by one worker of each server.

The result lies in a file beside the metrics, which whoever is asked for them reads: numbers of partners that are gone
do not stay, as they would in counters.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from taxii_server.errors import ConfigError, StorageError
from taxii_server.metering import TASK_OK, TASK_RUN
from taxii_server.service.hub import Hub
from taxii_server.service.tally import tally

_log = logging.getLogger(__name__)
_FILE, _LOCK = "counts.json", "counts.lock"
_FIRST_S, _LOOK_S = 5.0, 30.0
#: Counting takes no more than about a third of a core from requests.
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Counts:
    """As Tally, and when it was counted (seconds since 1970)."""

    at_s: float
    visible: dict[str, int]
    hidden: dict[tuple[str, str], int]


class Counter:
    """Counts every `count_minutes`, whichever worker's turn it is. Made after the fork."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self._stop = threading.Event()

    def start(self) -> None:
        """Count in a daemon thread, unless `count_minutes` is 0."""
        if self._hub.settings.count_minutes:
            threading.Thread(target=self._run, name="counts", daemon=True).start()

    def stop(self) -> None:
        """End after the count that is under way."""
        self._stop.set()

    def latest(self) -> Counts | None:
        """What was counted last, by whatever worker; None before that."""
        try:
            found = json.loads((self._folder / _FILE).read_bytes())
        except OSError:
            return None
        hidden = {(partner, reason): count for partner, reason, count in found["hidden"]}
        return Counts(found["at_s"], found["visible"], hidden)

    def tick(self) -> bool:
        """Count if it is time and no other worker does; whether it was. Raises StorageError, ConfigError."""
        handle = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            latest = self.latest()
            if latest is not None and time.time() - latest.at_s < self._hub.settings.count_minutes * 60:
                return False
            self._count()
            return True
        finally:
            os.close(handle)

    def _count(self) -> None:
        meter, is_done = self._hub.meter, False
        try:
            found = tally(self._hub, lambda: time.sleep(_PAUSE_S))
            hidden = [[*key, count] for key, count in found.hidden.items()]
            scratch = self._folder / f"{_FILE}.new"
            scratch.write_text(json.dumps({"at_s": time.time(), "visible": found.visible, "hidden": hidden}))
            scratch.replace(self._folder / _FILE)
            is_done = True
        finally:
            meter.set(TASK_RUN, time.time(), "count")
            meter.set(TASK_OK, is_done, "count")

    def _run(self) -> None:
        wait_s = _FIRST_S
        while not self._stop.wait(wait_s):
            wait_s = _LOOK_S
            try:
                self.tick()
            except (StorageError, ConfigError, OSError) as error:
                _log.warning("what is hidden is counted later: %s", error)
            except Exception:  # noqa: BLE001 - the thread must outlive what nobody foresaw
                _log.exception("what is hidden could not be counted")
