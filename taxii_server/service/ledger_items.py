"""What one entry of the disclosure ledger says was delivered: positions and labels, in a few bytes each.

Lists of numbers, not objects: a page has a thousand of them, and packing them must not show in what a page costs.
"""

from __future__ import annotations

import operator
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from taxii_server.model import Record
from taxii_server.service.copies import Copy, Served

FORMS = ("whole", "copy", "metadata")
_WHOLE, _METADATA = FORMS.index("whole"), FORMS.index("metadata")
_CODES = {"whole": _WHOLE, "copy": FORMS.index("copy"), "relation": _METADATA}
_WIDTH = 8  # bytes of a number before they are compressed
_LEVEL = 3  # of compression: the next ones take three times as long for 4 % less
#: Memory of the compressor: 70 kB and not 300, which is a third of a page of 1,000 beside it. The result is no larger.
_WINDOW_BITS, _MEMORY_LEVEL = 12, 5
_FORM_BITS = 2


class Item(NamedTuple):
    """One object version as it was delivered: its record's position and label, and how (an index into FORMS)."""

    position: int
    label: int
    form: int


class Items(NamedTuple):
    """The items of an entry as it keeps them, with the lowest and the highest position among them."""

    first: int = 0
    last: int = 0
    packed: bytes = b""


NOTHING = Items()


def of_page(items: Sequence[Served], content: bool) -> Items:
    """What a page gives away of each record: once, in its fullest form."""
    positions = [item.record.position for item in items]
    if not all(map(operator.lt, positions, positions[1:])):
        return _of_any(items, content)
    # What tells where a copy comes from is no copy itself, but it names the object.
    if content and Copy in set(map(type, items)):
        return _packed(positions, [item.record.label << _FORM_BITS | _CODES[item.form] for item in items])
    form = _WHOLE if content else _METADATA
    return _packed(positions, [item.record.label << _FORM_BITS | form for item in items])


def _of_any(items: Iterable[Served], content: bool) -> Items:
    """The same for items in any order, with several of one record."""
    found: dict[int, int] = {}
    for item in items:
        record = item.record
        mark = record.label << _FORM_BITS | (_CODES[item.form] if content else _METADATA)
        found[record.position] = min(mark, found.get(record.position, mark))
    positions = sorted(found)
    return _packed(positions, [found[position] for position in positions])


def of_records(records: Iterable[Record]) -> Items:
    """These records, whole."""
    return pack(sorted(Item(record.position, record.label, 0) for record in records))


def pack(items: Sequence[Item]) -> Items:
    """The items, ascending by position."""
    return _packed([item.position for item in items], [item.label << _FORM_BITS | item.form for item in items])


def _packed(positions: Sequence[int], marks: Sequence[int]) -> Items:
    """The steps from one position to the next, then labels and forms.

    The bytes of equal weight stand together, so that those that hardly ever change take no room.
    """
    if not positions:
        return NOTHING
    values = array("Q", map(operator.sub, positions, [0, *positions]))
    values.extend(marks)
    data = _little(values).tobytes()
    planes = b"".join([data[place::_WIDTH] for place in range(_WIDTH)])
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return Items(positions[0], positions[-1], compressor.compress(planes) + compressor.flush())


def unpack(packed: bytes) -> list[Item]:
    """The items again, ascending by position. Raises ValueError for bytes that were not made here."""
    if not packed:
        return []
    try:
        data = zlib.decompress(packed)
    except zlib.error as error:
        raise ValueError("not a list of items") from error
    if len(data) % (2 * _WIDTH):
        raise ValueError("not a whole number of items")
    values = array("Q")
    count = len(data) // _WIDTH
    values.frombytes(b"".join(bytes(data[place::count]) for place in range(count)))
    values = _little(values)
    positions = accumulate(values[: count // 2])
    form = (1 << _FORM_BITS) - 1
    return [
        Item(position, mark >> _FORM_BITS, mark & form)
        for position, mark in zip(positions, values[count // 2 :], strict=True)
    ]


def _little(values: array[int]) -> array[int]:
    """The values in the byte order in which they are kept, or from it."""
    if sys.byteorder == "big":
        values.byteswap()
    return values
