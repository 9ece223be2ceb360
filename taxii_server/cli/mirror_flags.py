"""What the command line says of a mirror: a flag for each key of mirrors.toml, and the mirror that they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from taxii_server.cli.tables import json_option
from taxii_server.errors import ConfigError, Problem
from taxii_server.mirror.schema import Mirror, make_mirror, read_mirrors
from taxii_server.settings.rows import first_sentence, rows_of

#: Keys of a mirror that are no flags: they are arguments, or say something to the service only.
_NOT_FLAGS = ("url", "collection", "partner", "every_s", "follow_every_s")
_PUSH_ONLY, _PULL_ONLY = ("status_wait_s",), ("overlap_s", "follow_deletions", "max_deletions_percent")


def flags_of(kind: str) -> Callable[[Any], Any]:
    """A flag for each key that a mirror of this kind has in mirrors.toml."""
    left_out = (*_NOT_FLAGS, *(_PUSH_ONLY if kind == "pull" else _PULL_ONLY))

    def add(command: Any) -> Any:
        for name, row in reversed(list(rows_of(Mirror).items())):
            if name in left_out:
                continue
            flag, about = "--" + name.replace("_", "-"), first_sentence(row.help) + "."
            if isinstance(row.default, bool):
                words = f"{flag}/--no-{flag[2:]}" if row.default else flag
                option = click.option(words, name, default=None, is_flag=True, help=about)
            else:
                option = click.option(flag, name, metavar=row.kind.name.split()[-1].upper(), help=about)
            command = option(command)
        return command

    return add


def flags_of_a_run(command: Any) -> Any:
    """What pull and push have in common."""
    for option in (
        json_option,
        click.option("--from-start", is_flag=True, help="Begin anew; what is there already stays as it is."),
        click.option(
            "--name", metavar="NAME", help="What to call it in lists and logs. Default: made of the collection."
        ),
    ):
        command = option(command)
    return command


def mirror_of(kind: str, source: str, values: dict[str, Any], name: str | None, file: Path) -> Mirror:
    """The mirror of this URL with these values, or that of mirrors.toml with this name, with the values on top."""
    if "://" in source:
        if "collection" not in values:
            raise click.BadParameter("--into COLLECTION is missing: where do the objects go?")
        return make_mirror(
            name or f"{values['collection']}-{kind}", kind, {"url": source, **values}, Path.cwd(), "command line"
        )
    found = [each for each in read_mirrors(file) if (each.name, each.kind) == (source, kind)]
    if not found:
        raise ConfigError(
            [Problem(file.as_posix(), kind, f"there is no mirror '{source}' in it; give a URL, or a name")]
        )
    if not values:
        return found[0]
    rows = rows_of(Mirror)
    declared = {each: getattr(found[0], each) for each in rows}
    return make_mirror(source, kind, declared | values, Path.cwd(), "command line")


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, read as in the environment."""
    rows = rows_of(Mirror)
    return {
        name: rows[name].kind.parse(value) if isinstance(value, str) else value
        for name, value in flags.items()
        if value is not None
    }
