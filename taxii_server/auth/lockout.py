"""Guessing secrets gets slower, and nobody is kept out by what others guess elsewhere.

Wrong secrets are counted three times, whether or not there is such a name:

* for the address and the name together: after `after` of them this pair waits, each time twice as long;
* for the address, whatever the names: then names that were never right there wait (trying one password on many names);
* for the name, wherever from: then a pair waits after its first wrong secret already (one name from many addresses).
  A first attempt from an address is always looked at, so that no stranger can keep a partner out.

What is right clears the pair, and stays free from what its address or others do for a week.
"""

from __future__ import annotations

from taxii_server import audit
from taxii_server.auth.networks import client_of
from taxii_server.auth.rates import take
from taxii_server.auth.shared import Entry, Table
from taxii_server.errors import LockedOut

#: How many times `after` an address may be wrong in all, and a name from everywhere.
ADDRESS_FACTOR = 5
NAME_FACTOR = 10
_GOOD_S = 7 * 24 * 3600.0
_WORDS = "too many wrong credentials"


class Lockout:
    """Counts wrong secrets in the table. Locked for `first_s`, then twice that, ... up to `longest_s`."""

    def __init__(self, table: Table, *, after: int, first_s: float, longest_s: float) -> None:
        self._table = table
        self._after = after
        self._first_s = first_s
        self._longest_s = max(first_s, longest_s)

    def require_open(self, address: str, name: str) -> None:
        """Raise LockedOut while secrets of this name from this address are not looked at."""
        if not self._after:
            return
        client = client_of(address)
        wait_s = self._pair_wait_s(client, name)
        if not self._is_good(client, name):
            wait_s = max(wait_s, self._spent_s("wrong-address", ADDRESS_FACTOR, client))
        if wait_s > 0:
            raise LockedOut(wait_s, _WORDS)

    def note(self, address: str, name: str, partner: str | None, *, right: bool) -> None:
        """Count what a secret turned out to be."""
        if not self._after:
            return
        client = client_of(address)
        if right:
            self._note_right(client, name)
            return
        with self._table.lock:
            entry = self._table.read("wrong", client, name)
            failures = 1 if entry is None else int(entry.value) + 1
            now = self._table.clock()
            self._table.write(Entry(failures, now, now + 2 * self._longest_s), "wrong", client, name)
        for kind, factor, key in (("wrong-address", ADDRESS_FACTOR, client), ("wrong-name", NAME_FACTOR, name)):
            take(self._table, self._per_minute, self._after * factor, kind, key)
        wait_s = self._pair_wait_s(client, name)
        if wait_s > 0:
            audit.record("locked-out", partner=partner, address=address, failures=failures, seconds=round(wait_s))

    @property
    def _per_minute(self) -> float:
        return 60.0 / self._first_s

    def _note_right(self, client: str, name: str) -> None:
        good = self._table.read("right", client, name)
        now = self._table.clock()
        # Written now and then only: a poll should cost no more than it must.
        if good is None or now - good.when > 60:
            self._table.write(Entry(1, now, now + _GOOD_S), "right", client, name)
        if self._table.read("wrong", client, name) is not None:
            self._table.remove("wrong", client, name)

    def _is_good(self, client: str, name: str) -> bool:
        return self._table.read("right", client, name) is not None

    def _pair_wait_s(self, client: str, name: str) -> float:
        entry = self._table.read("wrong", client, name)
        if entry is None:
            return 0.0
        after = self._after
        if self._spent_s("wrong-name", NAME_FACTOR, name) and not self._is_good(client, name):
            after = 1
        beyond = int(entry.value) - after
        if beyond < 0:
            return 0.0
        lock_s = min(self._first_s * 2.0 ** min(beyond, 30), self._longest_s)
        return entry.when + lock_s - self._table.clock()

    def _spent_s(self, kind: str, factor: int, key: str) -> float:
        """How long until this budget has room again; 0 when it has."""
        return take(self._table, self._per_minute, self._after * factor, kind, key, count=False)
