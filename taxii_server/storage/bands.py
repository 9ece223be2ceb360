"""The entries of an event as a few compact rows: thousands of records get a place with one small write.

An entry says at which place of the order (base + place number * POSITION_UNIT) which record stands. Entries of one
class lie together in chunks, ascending; each chunk is one row of a store. Pure.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from taxii_server.model import POSITION_UNIT

#: Entries of one row: some kilobytes.
CHUNK = 2000


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


def band_end(base: int, count: int) -> int:
    """The last place of a band of so many entries."""
    return base + POSITION_UNIT * max(count - 1, 0)


def pack(base: int, entries: Sequence[tuple[int, int]]) -> list[Chunk]:
    """The chunks of an event whose first place is `base`."""
    by_class: dict[int, list[tuple[int, int]]] = {}
    for number, (event_class, position) in enumerate(entries):
        by_class.setdefault(event_class, []).append((base + POSITION_UNIT * number, position))
    return [
        _chunk(event_class, places[start : start + CHUNK])
        for event_class, places in sorted(by_class.items())
        for start in range(0, len(places), CHUNK)
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
