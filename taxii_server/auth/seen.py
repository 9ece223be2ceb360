"""When each partner last asked, as far as this server knows: in memory that its workers share, gone with a restart.

Why not from the ledger: it tells what was given, and a client that is up to date is given nothing.
"""

from __future__ import annotations

import time

from taxii_server.auth.shared import Entry, Table

#: A partner that asks all the time is noted once in so many seconds: a poll should cost no more than it must.
_EACH_S = 5.0
_KEPT_S = 30 * 24 * 3600.0


class Seen:
    """The last request of each partner."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note(self, partner: str) -> None:
        """The partner asks now."""
        now = self._table.clock()
        entry = self._table.read("seen", partner)
        if entry is None or now - entry.when > _EACH_S:
            self._table.write(Entry(time.time(), now, now + _KEPT_S), "seen", partner)

    def last(self, partner: str) -> int | None:
        """When (µs) the partner last asked, to a few seconds; None when it has not since the server was started."""
        entry = self._table.read("seen", partner)
        return None if entry is None else int(entry.value * 1_000_000)
