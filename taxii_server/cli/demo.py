"""demo: the main job on example data."""

from __future__ import annotations

import click

from taxii_server.cli.context import Command


@click.command(cls=Command)
def demo() -> None:
    """Placeholder of the command while the demo data is written."""
    raise click.UsageError("not there yet")
