"""How commands print what they found: JSON for scripts, a table for a person, lines with tabs for a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
import orjson
from rich.markup import escape
from rich.table import Table

from taxii_server.cli.context import out


def print_json(value: object) -> None:
    """The value as indented JSON on stdout."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def print_rows(titles: Sequence[str], rows: Iterable[tuple[str, ...]], numbers: Sequence[int]) -> None:
    """A table on a terminal; elsewhere one line for each row, with tabs, the titles first."""
    if not out.is_terminal:
        for row in (titles, *rows):
            click.echo("\t".join(" ".join(cell.split()) for cell in row))
        return
    table = Table()
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)
