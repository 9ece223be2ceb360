"""Watching the files of the catalog: who edits them need not say so.

Looked at, not told of: a look at a few dozen files every second costs nothing, works on every file system, and an
editor that writes a file in several steps is waited for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from taxii_server.settings import Settings

_log = logging.getLogger(__name__)
#: How often the files are looked at. A change is taken over once it has been there unchanged for one look.
LOOK_S = 1.0

#: file -> when it was changed, and its size
Seen = dict[str, tuple[int, int]]


def look(settings: Settings) -> Seen:
    """The state of every file that the catalog is read from."""
    paths = [settings.folder / name for name in settings.config_files]
    with suppress(OSError):
        paths += sorted(Path(settings.collections_dir).glob("*.toml"))
    seen: Seen = {}
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        seen[str(path)] = (found.st_mtime_ns, found.st_size)
    return seen


class Watcher:
    """Calls `changed` whenever the files are others than before and have stopped changing."""

    def __init__(self, settings: Settings, changed: Callable[[], None], every_s: float = LOOK_S) -> None:
        self._settings = settings
        self._changed = changed
        self._every_s = every_s
        self._known = look(settings)
        self._last = self._known
        self._stop = threading.Event()

    def start(self) -> None:
        """Watch in a daemon thread of this process; it does not live on in forked ones."""
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def tick(self) -> bool:
        """Look once; whether a change was taken over."""
        seen = look(self._settings)
        settled, self._last = seen == self._last, seen
        if seen == self._known or not settled:
            return False
        self._known = seen
        self._changed()
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - the next edit must be seen, whatever this one did
                _log.exception("the edited files could not be put in force")
