"""How commands print what they found: JSON for scripts, a table for a person, lines with tabs for a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import click
import orjson
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from taxii_server.cli.context import out

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
#: What a column takes besides its text: room on both sides, and a line.
_BESIDE = 3
#: What would move the cursor of a terminal, or end a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def print_found(
    as_json: bool,
    key: str,
    titles: Sequence[str],
    rows: Iterable[tuple[str, ...]],
    objects: Iterable[object],
    numbers: Sequence[int] = (),
    about: Mapping[str, str] = {},
) -> None:
    """What a command lists: `{key: objects}` as JSON, behind what it is about, or the rows as `print_rows` does."""
    if as_json:
        print_json({**about, key: list(objects)})
    else:
        print_rows(titles, rows, numbers)


def print_json(value: object) -> None:
    """The value as indented JSON on stdout."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def print_rows(
    titles: Sequence[str], rows: Iterable[tuple[str, ...]], numbers: Sequence[int] = (), *, head: bool = True
) -> None:
    """A table on a terminal; elsewhere one line for each row, with tabs, the titles first unless `head` is False.

    A table that is too wide for the terminal goes without its empty columns, then with cells of several lines. When a
    word would have to be broken, each row is a block with a line for each cell.
    """
    lines = [tuple(on_one_line(cell) for cell in row) for row in rows]
    if not out.is_terminal:
        for row in (tuple(titles), *lines) if head else lines:
            click.echo("\t".join(row))
        return
    columns = [_Column(title, [row[place] for row in lines], place in numbers) for place, title in enumerate(titles)]
    if _width(each.width for each in columns) > out.width:
        columns = [each for each in columns if any(each.cells)] or columns
    if _width(each.longest_word for each in columns) > out.width:
        _print_blocks(columns, len(lines))
        return
    table = Table()
    for each in columns:
        table.add_column(escape(each.title), justify="right" if each.number else "left", min_width=each.longest_word)
    for cells in zip(*(each.cells for each in columns), strict=True):
        table.add_row(*map(escape, cells))
    out.print(table)


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cells: Sequence[str]
    number: bool

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.title, *self.cells)))

    @property
    def longest_word(self) -> int:
        return max(cell_len(word) for text in (self.title, *self.cells) for word in text.split() or [""])


def _width(columns: Iterable[int]) -> int:
    """How wide a table with columns of these widths is."""
    return sum(width + _BESIDE for width in columns) + 1


def _print_blocks(columns: Sequence[_Column], count: int) -> None:
    titles = max(cell_len(each.title) for each in columns)
    for row in range(count):
        if row:
            out.print()
        for each in columns:
            if each.cells[row]:
                out.print(f"[bold]{escape(each.title.ljust(titles))}[/bold]  {escape(each.cells[row])}")


def on_one_line(cell: str) -> str:
    """The text without anything that would move the cursor of a terminal: partners choose parts of it."""
    return " ".join(_CONTROL.sub(" ", cell).split())


def number_of(count: int, one: str, many: str = "") -> str:
    """So many of something: "1 version", "1,200 versions"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
