"""explain: why may this partner read this object, or why not."""

from __future__ import annotations

import click

from taxii_server.cli.context import Command, Session, out, pass_session, require_partner
from taxii_server.errors import NotFound
from taxii_server.service.explaining import VersionExplained
from taxii_server.service.explaining import explain as explain_object

_MARKS = {"passed": "[green]+[/green]", "failed": "[red]-[/red]", "neutral": "[dim]·[/dim]"}


@click.command(cls=Command)
@click.argument("partner")
@click.argument("object_id")
@pass_session
def explain(session: Session, partner: str, object_id: str) -> None:
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
    for version in versions:
        _print(partner, version)


def _print(partner: str, version: VersionExplained) -> None:
    record = version.record
    out.print(
        f"\n[bold]{record.id}[/bold] version {record.version}\n"
        f"  posted by {record.submitter} to {version.collection}, date_added {version.date_added}"
    )
    for step in version.explanation.steps:
        rule = f" (rule '{step.rule}')" if step.rule else ""
        out.print(f"  {_MARKS.get(step.outcome, ' ')} {step.name}: {step.detail}{rule}")
    decision = version.explanation.decision
    for reference in version.hidden_references:
        out.print(f"  [red]-[/red] refers to {reference}, which {partner} may not read")
    if not version.doors:
        out.print(f"  [red]-[/red] no collection that {partner} may read shows what is stored in {version.collection}")
    else:
        out.print(f"  [green]+[/green] shown in: {', '.join(version.doors)}")
    if version.readable and version.doors:
        out.print(f"  => [green]{partner} reads it[/green]: {decision.text}")
    elif decision.verdict == "read":
        out.print(f"  => [red]{partner} does not get it[/red], though the policy alone would allow it")
    else:
        out.print(f"  => [red]{partner} does not get it[/red]: {decision.text}")
