"""Names on the command line: what was probably meant, what fits, and what a shell can complete."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

from taxii_server.catalog import read_files
from taxii_server.catalog.parse import COLLECTIONS
from taxii_server.errors import ConfigError
from taxii_server.settings import default_file, load
from taxii_server.settings.rows import is_name, unknown

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


def require_known(what: str, name: str, known: Collection[str], next_step: Callable[[], str] = str) -> str:
    """The name, or an error that lists the known ones and says which of them was probably meant, and what to do."""
    if name not in known:
        step = next_step()
        raise click.BadParameter(unknown(what, name, known) + (f"; {step}" if step else ""))
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


class Known(click.ParamType[str]):
    """A name of the configuration, which a shell can complete. Whether it is known, the command finds out."""

    def __init__(self, name: str, declared: Callable[[click.Context], list[str]]) -> None:
        self.name = name
        self._declared = declared

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self._declared(ctx) if name.startswith(incomplete)]


def _declared(ctx: click.Context) -> tuple[list[str], list[str]]:
    """Partners and collections of the configuration; nothing when it cannot be read: a shell asks, not a person."""
    try:
        settings = load(ctx.find_root().params.get("config") or default_file())
        files = read_files(settings)
    except ConfigError:
        return [], []
    names: set[str] = set()
    for text in files.values():
        with suppress(tomllib.TOMLDecodeError):
            names.update(tomllib.loads(text).get("audience", {}))
    doors = (name.removeprefix(COLLECTIONS).removesuffix(".toml") for name in files if name.startswith(COLLECTIONS))
    return sorted(names), sorted(doors)


NEW_NAME = NewName()
PARTNER = Known("partner", lambda ctx: _declared(ctx)[0])
COLLECTION = Known("collection", lambda ctx: _declared(ctx)[1])


def can_ask() -> bool:
    """Whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
