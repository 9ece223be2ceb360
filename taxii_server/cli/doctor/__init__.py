"""doctor: everything that keeps a hub from working, or will, and what to do about each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.markup import escape

from taxii_server.catalog import Catalog
from taxii_server.cli.context import Session, out, pass_session, told
from taxii_server.cli.doctor.finding import Finding, failure, ok, warning
from taxii_server.cli.doctor.of_machine import (
    look_at_clock,
    look_at_disk,
    look_at_limits,
    look_at_server,
    look_at_spool,
)
from taxii_server.cli.doctor.of_settings import look_at_files, look_at_settings, look_at_tls
from taxii_server.cli.doctor.of_store import look_at_store
from taxii_server.cli.tables import json_option, on_one_line, print_found
from taxii_server.errors import ConfigError
from taxii_server.settings import Settings

_TITLES = ("area", "result", "what", "do")
_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command()
@click.option("--strict", is_flag=True, help="Exit status 1 also when there are only warnings.")
@json_option
@pass_session
def doctor(session: Session, strict: bool, as_json: bool) -> None:
    """Examine configuration, policy, TLS, files, machine and store; say what is wrong, and what to do about it.

    Exit status 1 when something fails. Nothing is changed, but for one small write that shows that the store can be
    written. Run it as the user of the server, beside it or without it.

    \b
    Examples:
      taxii-server doctor
      taxii-server doctor --json
    """
    with told():
        findings = []
        for each in _examine(session):
            findings.append(each)
            if out.is_terminal and not as_json:
                _print(each)
        counts = Counter(each.level for each in findings)
        if not out.is_terminal or as_json:
            rows = ((each.area, each.level, each.what, each.do) for each in findings)
            print_found(as_json, "findings", _TITLES, rows, [asdict(each) for each in findings])
        else:
            out.print(f"\n{counts['ok']} ok, {counts['warning']} warning(s), {counts['failure']} failure(s)")
        sys.exit(1 if counts["failure"] or (strict and counts["warning"]) else 0)


def _examine(session: Session) -> Iterator[Finding]:
    """Everything, one after the other; without settings there is nothing else to look at."""
    try:
        settings = session.settings()
    except ConfigError as error:
        for problem in error.problems:
            yield failure(
                "settings", str(problem), "correct it; `taxii-server init DIR` writes a configuration that holds"
            )
        return
    yield ok("settings", f"{settings.file} holds")
    catalog, found = _catalog(session, settings)
    yield from found
    yield from look_at_settings(settings, catalog)
    yield from look_at_tls(settings)
    yield from look_at_files(settings)
    yield from look_at_limits(settings)
    yield from look_at_clock()
    yield from look_at_disk(settings)
    yield from look_at_spool(settings)
    yield from look_at_store(settings, catalog)
    yield from look_at_server(settings)


def _catalog(session: Session, settings: Settings) -> tuple[Catalog | None, list[Finding]]:
    """The configuration on disk with its proofs, None when it does not hold."""
    try:
        catalog = session.catalog(settings)
    except ConfigError as error:
        do = "correct it; a server keeps what is in force, and does not start with this"
        return None, [failure("policy", str(problem), do) for problem in error.problems]
    policy = catalog.policy
    told = f"{len(policy.audiences)} partners, {len(catalog.collections)} collections; examples hold, claims are proved"
    odd = [warning("policy", str(each), "change it, if it is not meant so") for each in catalog.warnings]
    return catalog, [ok("policy", told), *odd]


def _print(finding: Finding) -> None:
    colour = _COLOURS[finding.level]
    out.print(f"[{colour}]{finding.level:<8}[/{colour}] {escape(finding.area)}: {escape(on_one_line(finding.what))}")
    if finding.do:
        out.print(f"         [bold]do:[/bold] {escape(on_one_line(finding.do))}")
