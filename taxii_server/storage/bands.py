"""The entries of an event as a few compact rows: thousands of records get a place with one small write.

An entry says at which place of the order which record stands. Places lie in uneven steps behind the first one, so
that a gap between two of them does not count what others were granted. Entries of one class lie together in chunks,
ascending; each chunk is one row of a store.
"""

from __future__ import annotations

import random
import sys
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from taxii_server.model import POSITION_UNIT

#: Entries of one row: some kilobytes.
CHUNK = 2000
_STEPS = (POSITION_UNIT, 2 * POSITION_UNIT, 3 * POSITION_UNIT)
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to CHUNK entries of one class; `first` and `last` are the outermost of their places, `low` and `high` of
    their records' positions."""

    event_class: int
    first: int
    last: int
    low: int
    high: int
    entries: bytes


def draw_places(base: int, count: int) -> list[int]:
    """So many places, the first of which is `base`."""
    steps = _random.choices(_STEPS, k=max(count - 1, 0))
    return list(accumulate(steps, initial=base))[:count]


def pack(places: Sequence[int], entries: Sequence[tuple[int, int]]) -> list[Chunk]:
    """The chunks of an event: (class, position) entries, each at its place."""
    by_class: dict[int, list[tuple[int, int]]] = {}
    for place, (event_class, position) in zip(places, entries, strict=True):
        by_class.setdefault(event_class, []).append((place, position))
    return [
        _chunk(event_class, found[start : start + CHUNK])
        for event_class, found in sorted(by_class.items())
        for start in range(0, len(found), CHUNK)
    ]


def first_entries(chunks: Iterable[Chunk], after: int, limit: int) -> list[tuple[int, int]]:
    """The first `limit` (place, position) pairs after a place. The chunks come ascending by `first`."""
    found: list[tuple[int, int]] = []
    for chunk in chunks:
        if len(found) >= limit:
            found.sort()
            # Whatever follows lies behind the beginning of this chunk.
            if found[limit - 1][0] < chunk.first:
                break
        found += [entry for entry in unpack(chunk.entries) if entry[0] > after]
    found.sort()
    return found[:limit]


def places_of(chunks: Iterable[Chunk], positions: Collection[int]) -> dict[int, int]:
    """Position -> place, for those of the positions that have an entry."""
    wanted = frozenset(positions)
    found: dict[int, int] = {}
    for chunk in chunks:
        if any(chunk.low <= position <= chunk.high for position in wanted):
            found.update((position, place) for place, position in unpack(chunk.entries) if position in wanted)
    return found


def _chunk(event_class: int, places: Sequence[tuple[int, int]]) -> Chunk:
    deltas = array("q", _deltas(place for place, _ in places))
    deltas.extend(_deltas(position for _, position in places))
    positions = [position for _, position in places]
    return Chunk(
        event_class,
        places[0][0],
        places[-1][0],
        min(positions),
        max(positions),
        zlib.compress(_little(deltas).tobytes(), 1),
    )


def unpack(entries: bytes) -> list[tuple[int, int]]:
    """The (place, position) pairs of a chunk, ascending place."""
    deltas = array("q")
    deltas.frombytes(zlib.decompress(entries))
    deltas = _little(deltas)
    half = len(deltas) // 2
    return list(zip(_sums(deltas[:half]), _sums(deltas[half:]), strict=True))


def _little(values: array[int]) -> array[int]:
    """The same bytes on every machine: a database may move."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _deltas(values: Iterable[int]) -> Iterator[int]:
    before = 0
    for value in values:
        yield value - before
        before = value


def _sums(deltas: Iterable[int]) -> Iterator[int]:
    total = 0
    for delta in deltas:
        total += delta
        yield total
