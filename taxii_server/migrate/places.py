"""Where the objects of an old server want to stand: at their old date_added, as far as two cannot stand at one place.

Old servers give everything that comes in one POST the same date_added, and any microsecond; here positions are unique
multiples of 16 µs. A client remembers the date_added of what it got last, D, and asks for what is later. So objects
of D go to places that are not later than D, and later than whatever was added before: a client at D does not get them
again, and a client at the date before misses none. Only where more objects came within some microseconds than there
are places do some stand after D: a client at D gets those again, which clients take (they know them by id and
version). Nothing is ever placed where a client could miss it.

The steps within one date are uneven, as everywhere (storage/positions.py), and the same on every run, so that a run
that broke off is continued and not mixed: they are drawn from the date and a secret of the hub.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from taxii_server.model import POSITION_UNIT

T = TypeVar("T")

#: So many objects of one date are placed together; what is beyond stands after the date.
MOST_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """One object, and the place where it wants to stand. `is_late`: after its old date."""

    what: T
    at: int
    is_late: bool


def place(dated: Iterable[tuple[int, T]], seed: bytes) -> Iterator[Placed[T]]:
    """The objects with their places, in the order given, which is that of their dates (µs), ascending."""
    last, before = 0, 0
    for date, group in _groups(dated):
        # Later than what was added before, for clients that stopped there, and than what took its place.
        first = max(last, before) // POSITION_UNIT + 1
        places = _places(first, date // POSITION_UNIT, len(group), seed + date.to_bytes(8, "big", signed=True))
        for what, unit in zip(group, places, strict=True):
            last = unit * POSITION_UNIT
            yield Placed(what, last, last > date)
        before = date


def _groups(dated: Iterable[tuple[int, T]]) -> Iterator[tuple[int, list[T]]]:
    date, group = 0, list[T]()
    for each, what in dated:
        if group and (each != date or len(group) == MOST_AT_ONCE):
            yield date, group
            group = []
        date = each
        group.append(what)
    if group:
        yield date, group


def _places(first: int, last: int, count: int, seed: bytes) -> list[int]:
    """So many increasing places, in units, not before `first`, and up to `last` if they fit."""
    spare = last - first + 1 - count
    if spare < 0:
        return list(range(first, first + count))
    chance = random.Random(seed)  # noqa: S311 - nobody knows the seed
    places = []
    for _ in range(count):
        places.append(last)
        gap = min(chance.randrange(3), spare)
        spare -= gap
        last -= 1 + gap
    return places[::-1]
