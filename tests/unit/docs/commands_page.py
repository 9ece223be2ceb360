"""docs/commands.md, from the help of the commands: `python -m tests.unit.docs.commands_page > docs/commands.md`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from taxii_server.cli import main

_HEAD = """\
# Commands

Written from what `taxii-server COMMAND --help` prints; a test compares this page with the program.

**Which hub.** `--config FILE` names the server.toml, else `TAXII_SERVER_CONFIG` does, else it is `config/server.toml`
in the folder where one stands. `--store` goes before what it says. Both stand before the command.

**Output.** What a command lists is a table on a terminal, a block for each entry where the terminal is too narrow, and
lines with tabs, titles first, into a pipe. `--json` prints JSON for scripts. What is only said to a person, progress
included, goes to stderr where a command has output for a script. `NO_COLOR=1` switches colours off. A reader that goes
away (`| head`) ends a command quietly.

**Exit status.** 0 done, 1 not done, 2 configuration or command line wrong; then nothing was changed.

**Completion.** `taxii-server completion bash` (or zsh, fish) prints what a shell needs to complete commands, options,
partners and collections; its help says where to put it.
"""


_WIDTH = {"terminal_width": 100, "max_content_width": 100}


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    context = click.Context(main, info_name="taxii-server", help_option_names=["-h", "--help"], **_WIDTH)
    yield from _block(main, context)
    yield from _commands(main, context)


def _commands(group: click.Group, parent: click.Context) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        context = click.Context(command, parent=parent, info_name=name, **_WIDTH)
        path = context.command_path.removeprefix("taxii-server ")
        yield from (f"## {path}" if parent.parent is None else f"### {path}", "")
        if isinstance(command, click.Group):
            yield from (f"{command.get_short_help_str(1000)}", "")
            yield from _commands(command, context)
        else:
            yield from _block(command, context)


def _block(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("```", *(line.rstrip() for line in command.get_help(context).splitlines()), "```", "")


if __name__ == "__main__":
    print(page(), end="")
