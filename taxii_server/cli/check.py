"""check and reload: is the configuration right, and put it in force."""

from __future__ import annotations

import getpass

import click
from rich.markup import escape
from rich.table import Table

from taxii_server import settings as settings_module
from taxii_server.auth.provider import require_keys
from taxii_server.catalog import read_files
from taxii_server.cli.context import Command, Session, out, pass_session, require_private
from taxii_server.serving.tls import make_context, warnings_of


@click.command(cls=Command)
@click.option("--show", is_flag=True, help="Also print every setting with its value and where it comes from.")
@pass_session
def check(session: Session, show: bool) -> None:
    """Check settings, partners, collections and policy, exactly as a start would.

    Runs every [[test]] of the policy and proves every [[never]]. Exit status 2 when anything does not hold.

    \b
    Example:
      taxii-server check --show
    """
    settings = session.settings()
    if show:
        table = Table()
        for title in ("setting", "value", "from"):
            table.add_column(title, overflow="fold")
        for row in settings_module.show(settings):
            table.add_row(*map(escape, (row.name, row.value, row.source)))
        out.print(table)
    require_private(settings)
    require_keys(settings)
    catalog = session.catalog(settings)
    make_context(settings)
    for warning in (*catalog.warnings, *warnings_of(settings)):
        out.print(f"[yellow]warning[/yellow] {escape(str(warning))}")
    policy = catalog.policy
    out.print(
        f"[green]ok[/green] {len(catalog.api_roots)} API root(s), {len(catalog.collections)} collections, "
        f"{len(policy.audiences)} partners; policy '{escape(policy.name)}' {policy.digest[:12]}: "
        "all examples hold, all never-claims are proved"
    )


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Check the configuration on disk and put it in force for every running server of this store.

    Running servers follow within a second. A configuration that does not hold changes nothing.

    \b
    Example:
      taxii-server reload
    """
    settings = session.settings()
    with session.hub(settings) as hub:
        before = hub.snapshot.epoch
        applied = hub.apply(read_files(settings), getpass.getuser())
    changed = "is in force" if applied.epoch != before else "was in force already"
    out.print(f"[green]ok[/green] configuration {applied.digest[:12]} {changed} (epoch {applied.epoch})")
