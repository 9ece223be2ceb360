"""How many stored records each partner may read, and how many not, by the reason. For operators alone.

Counted are records by their labels, as `policy diff` does: what only a page can tell (references to what is hidden,
which of several copies a view shows) is left out. Nothing here is on the way of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taxii_server.service.comparing import decide_label
from taxii_server.service.hub import Hub

#: After so many decisions others get a turn.
_STRETCH = 200


@dataclass(frozen=True, slots=True)
class Tally:
    """Partner -> records that it may read; (partner, reason) -> records that it may not."""

    visible: dict[str, int]
    hidden: dict[tuple[str, str], int]


def tally(hub: Hub, pause: Callable[[], None] = lambda: None) -> Tally:
    """Count all records for all partners now. `pause` is called now and then. Raises StorageError.

    A record whose label is too coarse for the policy in force, which is labelled anew just now, is hidden.
    """
    hub.follow()
    sights, book = hub.snapshot.sights, hub.book
    counts = {number: count for number, count in hub.store.count_by_label().items() if count}
    book.sync()
    visible: dict[str, int] = {}
    hidden: dict[tuple[str, str], int] = {}
    done = 0
    for audience in sorted(sights.catalog.policy.audiences):
        readable = sights.of(audience).access
        visible[audience] = 0
        for number, count in counts.items():
            if number in readable:
                visible[audience] += count
                continue
            key = audience, decide_label(sights, book, audience, number).reason
            hidden[key] = hidden.get(key, 0) + count
            done += 1
            if done % _STRETCH == 0:
                pause()
    return Tally(visible, hidden)
