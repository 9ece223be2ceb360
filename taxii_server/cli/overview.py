"""The program itself: its commands by what one wants to do, each in a few words."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any

import click

#: Section -> command -> what it does, in words that fit a line of 80 columns.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Begin": {
        "init": "write a commented configuration for a new hub",
        "demo": "run a hub with example data, and show who sees what",
        "migrate": "move in from another TAXII server",
        "completion": "complete commands and names in bash, zsh or fish",
    },
    "Run": {
        "serve": "answer requests until SIGTERM or Ctrl-C",
        "check": "is the configuration right, do examples and claims hold",
        "reload": "put the configuration on disk in force",
        "doctor": "what is wrong with this hub, and what to do about it",
        "mirror": "copy collections from other hubs, and to them",
    },
    "Who takes part": {
        "partner": "list partners, add one",
        "collection": "list collections, add one",
        "token": "make, list and revoke tokens of partners",
        "password": "set passwords for clients that cannot use tokens",
        "certificate": "by which names a client certificate is known",
    },
    "Who reads what": {
        "explain": "why a partner may read an object, or why not",
        "who-can": "which partners get an object",
        "get": "what a partner's client would be answered",
        "policy": "what a change gives and takes; apply it",
        "release": "what partners release of their own objects",
        "quarantine": "what guards hold back: show, release, drop",
        "ledger": "who received what; is the record whole",
    },
    "Data": {
        "import": "store STIX from files",
        "export": "what a partner may read of a collection, as a bundle",
        "backup": "the whole database into a file, while the server runs",
        "restore": "make the database what a backup holds",
        "verify": "check every stored record, repair what can be",
        "retention": "remove what has passed its time",
    },
}
_REST = "More"


class Program(click.Group):
    """The program. Where the terminal has no letter for a character, it is escaped instead of ending the command."""

    def main(self, *args: Any, **extra: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **extra)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section; those that no section names come last, with the beginning of their help."""
        named = {name for section in SECTIONS.values() for name in section}
        rest = {name: command.get_short_help_str() for name, command in self.commands.items() if name not in named}
        for title, section in {**SECTIONS, _REST: rest}.items():
            rows = [(name, words) for name, words in section.items() if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
