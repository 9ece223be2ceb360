"""retention: what collections say about how long objects are kept, carried out now."""

from __future__ import annotations

import click

from taxii_server.cli.context import Command, Session, err, pass_session
from taxii_server.cli.tables import print_json, print_rows
from taxii_server.service.upkeep import Upkeep


@click.group()
def retention() -> None:
    """Remove what has passed its time, as a running server does by itself."""


@retention.command("run", cls=Command)
@click.option("--dry-run", is_flag=True, help="Only count what would be removed; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON, for scripts.")
@pass_session
def run(session: Session, dry_run: bool, as_json: bool) -> None:
    """Remove what retention_days, retention_versions, ledger_keep_days and catalog_keep_days say. See docs/upkeep.md.

    May run beside servers; of several that would remove something at the same time only one does.

    \b
    Examples:
      taxii-server retention run --dry-run
      taxii-server retention run --json
    """
    with session.hub() as hub:
        hub.load()
        done = Upkeep(hub).work(dry=dry_run)
    records = dict(sorted(done.retention.records.items()))
    others = {"ledger": done.ledger_entries, "statuses": done.statuses, "configurations": done.catalogs}
    if as_json:
        held = sorted(done.retention.held)
        print_json({"dry_run": dry_run, "records": records, "held": held, **others})
        return
    rows = [(name, str(count)) for name, count in (records | {f"({k})": v for k, v in others.items() if v}).items()]
    print_rows(("collection", "would go" if dry_run else "removed"), rows, numbers=(1,))
    if done.retention.held:
        err.print(f"{len(done.retention.held)} object(s) are due and stay, because of what refers to them (--json)")
