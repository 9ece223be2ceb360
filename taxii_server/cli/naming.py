"""Names on the command line: what was probably meant, what fits, and what a shell can complete."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import click

from taxii_server.settings.rows import is_name, unknown

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


def require_known(what: str, name: str, known: Iterable[str], next_step: str = "") -> str:
    """The name, or an error that lists the known ones and says which of them was probably meant."""
    names = list(known)
    if name not in names:
        raise click.BadParameter(unknown(what, name, names) + (f"; {next_step}" if next_step else ""))
    return name


class NewName(click.ParamType[str]):
    """A name for something new: lower case, digits, single - or _ between them."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if is_name(text):
            return text
        better = re.sub("[-_]{2,}", "-", _NOT_IN_NAMES.sub("-", text.lower())).strip("-_")
        hint = f"; did you mean '{better}'?" if is_name(better) else ""
        self.fail(f"'{text}' is not a name made of a-z, 0-9, and single - or _ between them{hint}", param, ctx)


NEW_NAME = NewName()


def can_ask() -> bool:
    """Whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
