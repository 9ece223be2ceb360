"""verify: whether the database holds what it was given, and a repair of what can be derived."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from taxii_server.cli.context import Command, Session, err, pass_session, progress_bar, require_database
from taxii_server.cli.tables import print_json, print_rows
from taxii_server.service.verify import Report, Verifier
from taxii_server.storage import store_of

_FAULTS = ("part", "where", "what is wrong", "repair")
_HOW = {True: "repairable", False: "by hand"}


@click.command(cls=Command)
@click.option("--repair", is_flag=True, help="Set right what can be derived from the stored texts, then check again.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, for scripts.")
@pass_session
def verify(session: Session, repair: bool, as_json: bool) -> None:
    """Check every stored record and everything beside it. Exit status 1, and what is wrong on stdout, when not whole.

    Records against their texts: digest, id, versions, references, label, version flags. Positions, log, events,
    copies, statuses, quarantine, configurations, and the ledger as `ledger verify`. May run beside the server.

    \b
    Examples:
      taxii-server verify
      taxii-server verify --repair
    """
    settings = session.settings()
    store = store_of(settings)
    try:
        require_database(settings, store)
        store.state()  # says so when it is not whole
        with progress_bar("", rate=True) as advance:

            def progress(part: str, done: int, of: int) -> None:
                advance(done, of, part)

            report = Verifier(store, progress).check()
    finally:
        store.close()
    repaired = 0
    if repair and (report.repairable or report.unfilled):
        with session.hub() as hub, progress_bar("", rate=True) as advance:
            verifier = Verifier(hub.store, lambda part, done, of: advance(done, of, part))
            before = verifier.check()
            hub.load()
            verifier.repair(hub.writer)
            report = Verifier(hub.store).check()
            repaired = len(before.faults) - len(report.faults)
    _tell(report, repaired, as_json)
    sys.exit(1 if report.faults else 0)


def _tell(report: Report, repaired: int, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "whole": not report.faults,
                "repaired": repaired,
                "pending": report.pending,
                "unfilled": report.unfilled,
                "counts": report.counts,
                "faults": [asdict(fault) for fault in report.faults],
            }
        )
        return
    if report.faults:
        rows = [(each.part, each.where, each.what, _HOW[each.repairable]) for each in report.faults]
        print_rows(_FAULTS, rows, head=False)
    counted = ", ".join(f"{count:,} {part}" for part, count in report.counts.items())
    if repaired:
        err.print(f"{repaired} fault(s) repaired")
    if report.pending:
        err.print(f"{report.pending} label(s) will be made finer by the next change of the policy")
    if report.unfilled:
        err.print("filters look at records of an older database one by one until a server, or --repair, has read them")
    if report.faults:
        told = f"{len(report.faults)} fault(s), {len(report.repairable)} of them can be repaired (--repair)"
        err.print(f"[red]error[/red] {counted}: {told}")
    else:
        err.print(f"[green]ok[/green] {counted}")
