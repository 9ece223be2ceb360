"""explain: why may this partner read this object, or why not."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape

from taxii_server.cli.context import Command, Session, out, pass_session, require_partner
from taxii_server.cli.naming import PARTNER
from taxii_server.cli.tables import json_option, print_json
from taxii_server.errors import NotFound
from taxii_server.service.explaining import VersionExplained
from taxii_server.service.explaining import explain as explain_object

_MARKS = {"passed": "[green]+[/green]", "failed": "[red]-[/red]", "neutral": "[dim]·[/dim]"}


@click.command(cls=Command)
@click.argument("partner", type=PARTNER)
@click.argument("object_id")
@json_option
@pass_session
def explain(session: Session, partner: str, object_id: str, as_json: bool) -> None:
    """Show every check of the policy for PARTNER and OBJECT_ID, version by version.

    For operators: the answer tells what is hidden.

    \b
    Example:
      taxii-server explain cert-fr indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f
    """
    with session.hub() as hub:
        require_partner(hub, partner)
        try:
            versions = explain_object(hub, partner, object_id)
        except NotFound:
            raise NotFound(f"no object {object_id} in this store") from None
    if as_json:
        print_json({"partner": partner, "object": object_id, "versions": [_described(each) for each in versions]})
        return
    for version in versions:
        _print(partner, version)


def _print(partner: str, version: VersionExplained) -> None:
    record = version.record
    out.print(
        f"\n[bold]{escape(record.id)}[/bold] version {escape(record.version)}\n"
        f"  posted by {record.submitter} to {version.collection}, date_added {version.date_added}"
    )
    for step in version.explanation.steps:
        if step.detail or step.outcome != "neutral":
            out.print(f"  {_MARKS.get(step.outcome, ' ')} {escape(_told(step.name, step.detail, step.rule))}")
    for reference in version.hidden_references:
        out.print(f"  [red]-[/red] refers to {escape(reference)}, which {partner} may not read")
    if not version.doors:
        out.print(f"  [red]-[/red] no collection that {partner} may read shows what is stored in {version.collection}")
    if version.copy_id is not None:
        out.print(f"  [yellow]~[/yellow] {partner} gets a copy instead, {escape(version.copy_id)}")
    if version.place is not None and version.place != version.date_added:
        out.print(f"  [yellow]~[/yellow] for {partner} its date_added is {version.place}: since then it can read it")
    if version.waits_until is not None:
        out.print(f"  [red]-[/red] held back until {version.waits_until}")
    for door in version.doors if version.readable else ():
        if door in version.served:
            out.print(f"  [green]+[/green] shown in {door}")
        else:
            out.print(f"  [red]-[/red] not shown in {door}: another copy of this version stands there")
    out.print(f"  => {_outcome(partner, version)}")


def _described(version: VersionExplained) -> dict[str, Any]:
    record, decision = version.record, version.explanation.decision
    return {
        "version": record.version,
        "date_added": version.date_added,
        "submitter": record.submitter,
        "collection": version.collection,
        "reads": bool(version.served),
        "verdict": decision.verdict,
        "reason": version.outcome.reason,
        "rule": version.outcome.rule,
        "words": version.outcome.text,
        "checks": [
            {"name": each.name, "outcome": each.outcome, "detail": each.detail, "rule": each.rule}
            for each in version.explanation.steps
        ],
        "hidden_references": list(version.hidden_references),
        "doors": list(version.doors),
        "shown_in": list(version.served),
        "copy": version.copy_id,
        "place": version.place,
        "waits_until": version.waits_until,
    }


def _told(name: str, detail: str, rule: str | None) -> str:
    text = ": ".join(part for part in (name, detail) if part)
    return f"{text} (rule '{rule}')" if rule and f"'{rule}'" not in text else text


def _outcome(partner: str, version: VersionExplained) -> str:
    outcome = version.outcome
    if version.served:
        how = "reads a copy of it, in part" if version.copy_id is not None else "reads it"
        return f"[green]{partner} {how}[/green]: {escape(outcome.text)}"
    allowed = version.explanation.decision.verdict != "hide"
    why = f"the policy alone would allow it, but {outcome.text}" if allowed else outcome.text
    return f"[red]{partner} does not get it[/red]: {escape(why)}"
