"""How many requests a minute: for each address, and for each partner.

A limit of N a minute lets N come at once, then one every 60/N seconds: a client that begins with a full copy is not
slowed down, one that never stops is.
"""

from __future__ import annotations

from taxii_server.auth.networks import client_of
from taxii_server.auth.shared import Entry, Table
from taxii_server.errors import TooManyRequests
from taxii_server.policy import Audience


def take(table: Table, per_minute: float, burst: float, *key: str, count: bool = True) -> float:
    """0 when this one is within the limit, and counted unless `count` is false; else the seconds to wait.

    What is over the limit is not counted: who keeps asking is not kept out for longer.
    """
    each_s = 60.0 / per_minute
    room_s = each_s * (burst - 1)
    with table.lock:
        now = table.clock()
        entry = table.read(*key)
        # Never more than a full bucket, should the limit have been another one before.
        debt_s = 0.0 if entry is None else min(max(entry.value - now, 0.0), room_s + each_s)
        if debt_s > room_s + 1e-9:
            return debt_s - room_s
        if count:
            until = now + debt_s + each_s
            table.write(Entry(until, now, until), *key)
        return 0.0


class RateLimits:
    """The limits of the settings; 0 is none. Addresses of one IPv6 /64 count as one."""

    def __init__(self, table: Table, *, address_per_minute: int, partner_per_minute: int) -> None:
        self._table = table
        self._address = address_per_minute
        self._partner = partner_per_minute

    def require_address(self, address: str) -> None:
        """Raise TooManyRequests when this address has asked too much."""
        self._require(self._address, "address_requests_per_minute", "address", client_of(address))

    def require_partner(self, audience: Audience) -> None:
        """Raise TooManyRequests when this partner has asked too much."""
        own = audience.requests_per_minute
        limit = "partner_requests_per_minute" if own is None else "the partner's requests_per_minute"
        self._require(self._partner if own is None else own, limit, "partner", audience.name)

    def _require(self, per_minute: int, limit: str, *key: str) -> None:
        if not per_minute:
            return
        wait_s = take(self._table, per_minute, per_minute, *key)
        if wait_s:
            raise TooManyRequests(wait_s, f"more than {per_minute} requests a minute ({limit})")
