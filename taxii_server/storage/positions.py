"""Which positions the insertions of a write get: behind all that was given out, in steps that nobody can foresee.

Steps are uneven, so that a gap in what a reader sees does not count what it may not see.

Why a draft may want an older place (`Draft.at`): what another server had goes on standing where its clients remember
it. Only the clock is not moved on to the present for it; nothing is ever given out at or below the clock, so that the
promise about positions holds whatever is wanted.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from taxii_server.model import POSITION_UNIT

#: Wanted by whatever takes the next free place, however long ago the last one was taken.
NEXT = 1


def positions_after(last: int, present: int, wanted: Sequence[int]) -> tuple[int, ...]:
    """One position for each of these, increasing, behind the clock at `last`.

    0 is the present or later, anything else that place (µs) or the first free one after it.
    """
    position = rounded_up(last)
    now = rounded_up(present)
    positions: list[int] = []
    for at, byte in zip(wanted, secrets.token_bytes(len(wanted)), strict=True):
        if at:
            position = max(position + POSITION_UNIT, rounded_up(at))
        else:
            position = max(position, now) + POSITION_UNIT * (1 + byte % 3)
        positions.append(position)
    return tuple(positions)


def rounded_up(us: int) -> int:
    """The first place at or behind this moment that a record can have."""
    return us // -POSITION_UNIT * -POSITION_UNIT
