"""Pictures: where their lines and boxes are. Templates draw them as SVG; nothing of them is measured in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from taxii_server.service.browsing import Day
from taxii_server.web.console import shown

_BAR_WIDTH, _BAR_STEP, _CHART_HEIGHT = 16, 20, 100
_BOX_WIDTH, _BOX_HEIGHT, _ROW = 230, 44, 62
#: So many neighbours on either side; a table has the others.
_A_SIDE = 8
GRAPH_WIDTH = 980
_MIDDLE_WIDTH = 250


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: its date, what stands in a table about it, and the bar. A day with too many to count is `open`."""

    date: str
    words: str
    number: int
    x: int
    y: float
    width: int
    height: float
    open: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right in a box of this size."""

    bars: Sequence[Bar]
    width: int
    height: int
    highest: str
    total: int
    is_more: bool


def chart(days: Sequence[Day]) -> Chart:
    """The chart of these days."""
    highest = max((day.count.number for day in days), default=0)
    bars = []
    for place, day in enumerate(days):
        number = day.count.number
        # A single object on a day beside thousands is still a bar that can be seen.
        height = max(2.0, _CHART_HEIGHT * number / highest) if number else 0.0
        words = f"more than {number:,}" if day.count.is_more else f"{number:,}"
        bars.append(
            Bar(
                date=datetime.fromtimestamp(day.start / 1_000_000, UTC).strftime("%Y-%m-%d"),
                words=words,
                number=number,
                x=place * _BAR_STEP + (_BAR_STEP - _BAR_WIDTH) // 2,
                y=round(_CHART_HEIGHT - height, 1),
                width=_BAR_WIDTH,
                height=round(height, 1),
                open=day.count.is_more,
            )
        )
    is_more = any(day.count.is_more for day in days)
    total = sum(day.count.number for day in days)
    most = f"{highest:,}+" if any(d.count.is_more and d.count.number == highest for d in days) else f"{highest:,}"
    return Chart(bars, len(days) * _BAR_STEP, _CHART_HEIGHT, most, total, is_more)


@dataclass(frozen=True, slots=True)
class Near:
    """A neighbour: how it is related, and which way the relation points (`out`: from the object in the middle)."""

    id: str
    type: str
    title: str
    label: str
    out: bool
    known: bool
    via: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """An object in the picture."""

    x: int
    y: int
    width: int
    height: int
    type: str
    title: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A relation in the picture: a path with an arrow, and where its words stand."""

    path: str
    label: str
    x: int
    y: int
    anchor: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The object in the middle, what refers to it on the left, what it refers to on the right."""

    width: int
    height: int
    middle: Box
    boxes: Sequence[Box]
    lines: Sequence[Line]
    #: how many neighbours are not in it
    rest: int = 0


def graph(type_: str, title: str, near: Sequence[Near]) -> Graph:
    """The picture of an object and its first neighbours on either side."""
    left = [each for each in near if not each.out][:_A_SIDE]
    right = [each for each in near if each.out][:_A_SIDE]
    rows = max(len(left), len(right), 1)
    height = rows * _ROW + 16
    centre = height // 2
    middle = _box((GRAPH_WIDTH - _MIDDLE_WIDTH) // 2, centre - _BOX_HEIGHT // 2, type_, title, width=_MIDDLE_WIDTH)
    boxes: list[Box] = []
    lines: list[Line] = []
    for some, out in ((left, False), (right, True)):
        top = centre - len(some) * _ROW // 2
        for place, each in enumerate(some):
            y = top + place * _ROW + (_ROW - _BOX_HEIGHT) // 2
            x = GRAPH_WIDTH - _BOX_WIDTH - 4 if out else 4
            boxes.append(_box(x, y, each.type, each.title, known=each.known))
            lines.append(_line(middle, boxes[-1], each.label, out))
    return Graph(GRAPH_WIDTH, height, middle, boxes, lines, len(near) - len(boxes))


def _box(x: int, y: int, type_: str, title: str, *, width: int = _BOX_WIDTH, known: bool = True) -> Box:
    letters = width // 7 - 2
    return Box(x, y, width, _BOX_HEIGHT, shown.short(type_, letters), shown.short(title, letters), known)


def _line(middle: Box, box: Box, label: str, out: bool) -> Line:
    here, there = middle.y + middle.height // 2, box.y + box.height // 2
    if out:
        start, end = middle.x + middle.width, box.x - 7
        path = f"M{start} {here} C{start + 60} {here} {end - 60} {there} {end} {there}"
        return Line(path, shown.short(label, 18), end - 4, there - 6, "end")
    start, end = box.x + box.width, middle.x - 7
    path = f"M{start} {there} C{start + 60} {there} {end - 60} {here} {end} {here}"
    return Line(path, shown.short(label, 18), start + 6, there - 6, "start")
