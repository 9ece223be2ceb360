"""No connection to an SQLite file is open at the moment at which this process forks.

Why: SQLite keeps in the memory of a process which locks that process holds on a file. A child inherits the memory but
not the locks (POSIX, fork). Had the parent a connection open, those of the child would believe that they hold locks and
hold none: whoever else closes the file then takes itself for the last one and removes the write-ahead log, and what the
child commits afterwards is lost. Seen: a worker that came for a killed one while another thread of the parent put
edited files in force; what it had acknowledged was gone.

So a fork waits until the calls that run have ended, lets none begin, and closes what is idle. Should a call take too
long, the child is told that it must not open any file: see `require_clear`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from taxii_server.errors import StorageError

#: How long a fork waits for the calls that run: longer than any of a server may take.
WAIT_S = 60.0


class _Own(threading.local):
    """How many calls this thread is in."""

    depth = 0


class ForkGate:
    """Which calls run in this process, and whether it forks. `close_idle` closes every connection that rests."""

    def __init__(self, close_idle: Callable[[], None], wait_s: float = WAIT_S) -> None:
        self.wait_s = wait_s
        self._close_idle = close_idle
        #: whether this process was forked while its parent had a connection open: it cannot open one of its own
        self.is_spoilt = False
        self._spoils = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._running = 0
        self._forks = False
        self._own = _Own()

    def enter(self) -> None:
        """A call of this thread begins, as soon as no fork is on its way. Raises StorageError in a spoilt child."""
        if self.is_spoilt:
            raise StorageError("this process was forked while its parent used an SQLite file: start it again")
        own = self._own
        with self._lock:
            # A thread that is inside goes on: the fork waits for it.
            while self._forks and not own.depth:
                self._changed.wait()
            self._running += 1
        own.depth += 1

    def leave(self) -> None:
        """A call of this thread has ended."""
        self._own.depth -= 1
        with self._lock:
            self._running -= 1
            if self._forks:
                self._changed.notify_all()

    def before(self) -> None:
        """Wait until nothing runs, and close what rests."""
        with self._lock:
            self._forks = True
            self._changed.wait_for(lambda: self._running == self._own.depth, self.wait_s)
            # The fork goes on whatever is raised here.
            self._spoils = True
            self._close_idle()
            self._spoils = self._running > 0

    def after_in_parent(self) -> None:
        """Go on."""
        with self._lock:
            self._forks = False
            self._changed.notify_all()

    def after_in_child(self) -> None:
        """Start afresh: whoever ran or waited did so in the parent."""
        self.is_spoilt = self.is_spoilt or self._spoils
        self._begin()

    def register(self) -> None:
        """From now on."""
        os.register_at_fork(
            before=self.before, after_in_parent=self.after_in_parent, after_in_child=self.after_in_child
        )
