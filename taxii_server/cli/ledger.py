"""ledger: who received an object, what a partner did, who has to be told, whether the ledger is whole. Read-only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from taxii_server.cli.context import Command, Session, err, pass_session, progress_bar, require_database
from taxii_server.cli.naming import PARTNER
from taxii_server.cli.tables import number_of, print_found, print_json, print_rows
from taxii_server.errors import NotFound
from taxii_server.service.book import Book
from taxii_server.service.checking import check
from taxii_server.service.disclosures import Delivery, Disclosures, Event, Holder
from taxii_server.service.ledger import Ledger
from taxii_server.service.ledger_items import FORMS
from taxii_server.service.pruning import prune
from taxii_server.settings.rows import unknown
from taxii_server.storage import store_of
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import Head
from taxii_server.times import format_position, parse_instant

_DELIVERIES = ("time", "partner", "object", "version", "as", "collection", "credential", "address")
_EVENTS = ("time", "what", "status", "request", "collection", "objects", "reason", "credential", "address", "policy")
_HOLDERS = ("partner", "version", "as", "first", "last", "times", "since then")
_FAULTS = ("strand", "number", "what is wrong")
_DIGEST_CHARS = 12

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every recorded fact, for scripts.")


@click.group()
def ledger() -> None:
    """Ask the disclosure ledger who received what, and check that it is whole."""


@ledger.command("who-received", cls=Command)
@click.argument("object_id")
@json_option
@pass_session
def who_received(session: Session, object_id: str, as_json: bool) -> None:
    """Show every delivery of a version of OBJECT_ID: when, to whom, whole, as a copy, or only metadata.

    Also of versions that were deleted since. The id may be that of a derived copy. For operators.

    \b
    Example:
      taxii-server ledger who-received indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f
    """
    with _opened(session) as disclosures:
        found = disclosures.who_received(object_id)
        if not found:
            _require_known(disclosures, object_id)
    _print_deliveries(as_json, found, {"object": object_id})


@ledger.command("what-did", cls=Command)
@click.argument("partner", type=PARTNER)
@click.argument("only", required=False, type=click.Choice(["receive"]), metavar="[receive]")
@click.option("--since", metavar="TIME", help="From this instant on, as 2026-01-31T00:00:00Z.")
@json_option
@pass_session
def what_did(session: Session, partner: str, only: str | None, since: str | None, as_json: bool) -> None:
    """Show the recorded requests of PARTNER, oldest first; with `receive` each object version that it was given.

    \b
    Examples:
      taxii-server ledger what-did cert-fr --since 2026-01-31T00:00:00Z
      taxii-server ledger what-did cert-fr receive
    """
    try:
        start = parse_instant(since) if since else 0
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    with _opened(session) as disclosures:
        _require_met(disclosures, partner)
        if only:
            _print_deliveries(as_json, disclosures.received(partner, start), {"partner": partner})
        else:
            events = disclosures.what_did(partner, start)
            described = (_event_json(each, items=True) for each in events)
            rows, about = map(_event_row, events), {"partner": partner}
            print_found(as_json, "events", _EVENTS, rows, described, numbers=(2,), about=about)


@ledger.command("recall", cls=Command)
@click.argument("object_id")
@json_option
@pass_session
def recall(session: Session, object_id: str, as_json: bool) -> None:
    """Show who has which version of OBJECT_ID, and whether they received a newer version, or its revocation, since.

    \b
    Example:
      taxii-server ledger recall indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f
    """
    with _opened(session) as disclosures:
        found = disclosures.recall(object_id)
        if not found:
            _require_known(disclosures, object_id)
    rows, described, about = map(_holder_row, found), map(_holder_json, found), {"object": object_id}
    print_found(as_json, "holders", _HOLDERS, rows, described, numbers=(5,), about=about)


@ledger.command("verify", cls=Command)
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `ledger heads` printed earlier: the ledger must still have these entries.",
)
@json_option
@pass_session
def verify(session: Session, anchor: Path | None, as_json: bool) -> None:
    """Check every entry of the ledger. Exit status 1, and what is wrong on stdout, when it is not whole.

    Finds changed entries, missing ones, strands that vanished, and ends that are missing, as far as a later entry, or
    the file given with --anchor, names them. May run beside the server.

    \b
    Example:
      taxii-server ledger verify --anchor /mnt/elsewhere/heads-2026-01-31
    """
    anchors = _anchors(anchor) if anchor else []
    with _store(session) as store, progress_bar("checking", store.ledger.count()) as advance:
        finding = check(store, anchors, advance)
    if as_json:
        faults = [asdict(fault) for fault in finding.faults]
        counts = {"entries": finding.entries, "strands": finding.strands}
        print_json({"whole": not faults, **counts, "faults": faults})
        sys.exit(1 if faults else 0)
    if finding.faults:
        rows = [(each.strand, str(each.number), each.what) for each in finding.faults]
        print_rows(_FAULTS, rows, numbers=(1,), head=False)
    counted = f"{number_of(finding.entries, 'entry', 'entries')} in {number_of(finding.strands, 'strand')}"
    if finding.faults:
        err.print(f"[red]error[/red] {counted}, {len(finding.faults)} fault(s)")
        sys.exit(1)
    err.print(f"[green]ok[/green] {counted}")


@ledger.command("prune", cls=Command)
@click.option("--keep-days", type=click.IntRange(1), required=True, help="Entries of the last so many days stay.")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed; change nothing.")
@json_option
@pass_session
def prune_(session: Session, keep_days: int, dry_run: bool, as_json: bool) -> None:
    """Remove old entries for good. What they told can never be told again; what is left can still be verified.

    A running server does so by itself when ledger_keep_days is set.

    \b
    Example:
      taxii-server ledger prune --keep-days 1095
    """
    with _store(session) as store:
        before = store.present() - keep_days * 86_400_000_000
        count = prune(store, Ledger(store), before, dry=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "entries": count})
        return
    click.echo(f"{count:,} entries {'would go' if dry_run else 'removed'}")


@ledger.command("heads", cls=Command)
@json_option
@pass_session
def heads(session: Session, as_json: bool) -> None:
    """Print the last entry of each strand, to be kept where nobody with access to the server can change it.

    `ledger verify --anchor` takes what is printed without --json.

    \b
    Examples:
      taxii-server ledger heads > /mnt/elsewhere/heads-2026-01-31
      taxii-server ledger verify --anchor /mnt/elsewhere/heads-2026-01-31
    """
    with _store(session) as store:
        found = store.ledger.heads()
    if as_json:
        print_json({"heads": [{**asdict(head), "hash": head.hash.hex()} for head in found]})
    else:
        for head in found:
            click.echo(f"{head.strand} {head.number} {head.hash.hex()}")


# ---- reading


@contextmanager
def _store(session: Session) -> Iterator[Store]:
    """The store of the settings, not prepared: a check must not repair anything."""
    settings = session.settings()
    store = store_of(settings)
    try:
        require_database(settings, store)
        store.state()  # says so when it is not whole
        yield store
    finally:
        store.close()


def _require_met(disclosures: Disclosures, partner: str) -> None:
    """Raise NotFound for a partner that the ledger never met and the configuration in force does not know either."""
    if next(disclosures.what_did(partner), None) is None:
        known = disclosures.partners()
        if partner not in known:
            raise NotFound(f"{unknown('partner', partner, known)}, and the ledger has nothing of it")


def _require_known(disclosures: Disclosures, object_id: str) -> None:
    if not disclosures.versions(object_id):
        raise NotFound(f"no object {object_id} in this store, and no deletion of it in the ledger")


@contextmanager
def _opened(session: Session) -> Iterator[Disclosures]:
    with _store(session) as store:
        book = Book(store)
        book.sync()
        yield Disclosures(store, book)


def _anchors(path: Path) -> list[Head]:
    """The heads in a file as `ledger heads` prints them."""
    found: list[Head] = []
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            strand, number, hash_ = line.split()
            found.append(Head(strand, int(number), bytes.fromhex(hash_)))
    except ValueError:
        place = f"{path}, line {len(found) + 1}"
        raise click.BadParameter(f"{place}: not what `ledger heads` prints", param_hint="--anchor") from None
    if not found:
        raise click.BadParameter(f"{path}: no head in it", param_hint="--anchor")
    return found


# ---- printing


def _print_deliveries(as_json: bool, found: Iterable[Delivery], about: Mapping[str, str]) -> None:
    rows, described = map(_delivery_row, found), map(_delivery_json, found)
    print_found(as_json, "deliveries", _DELIVERIES, rows, described, about=about)


def _delivery_row(delivery: Delivery) -> tuple[str, ...]:
    event, version = delivery.event, delivery.version
    return (
        format_position(event.time),
        event.partner,
        version.id if version else "(unknown)",
        _version_words(delivery),
        delivery.form,
        event.fact("collection"),
        event.fact("credential"),
        event.fact("address"),
    )


def _version_words(delivery: Delivery) -> str:
    if delivery.version is None:
        return f"(added {format_position(delivery.position)})"
    words = [delivery.version.version]
    if delivery.revoked:
        words.append("revoked")
    if delivery.version.deleted is not None:
        words.append("deleted")
    return ", ".join(words)


def _delivery_json(delivery: Delivery) -> dict[str, Any]:
    version = delivery.version
    return {
        **_event_json(delivery.event, items=False),
        "object": version and version.id,
        "version": version and version.version,
        "deleted": version and version.deleted and format_position(version.deleted),
        "date_added": format_position(delivery.position),
        "as": delivery.form,
        "revoked": delivery.revoked,
    }


def _event_row(event: Event) -> tuple[str, ...]:
    counts = [(form, sum(FORMS[item.form] == form for item in event.items)) for form in FORMS]
    query = event.fact("query")
    return (
        format_position(event.time),
        event.kind,
        event.fact("status"),
        " ".join(filter(None, (event.fact("method"), event.fact("path") + (f"?{query}" if query else "")))),
        event.fact("collection"),
        event.object if event.kind != "delivered" else ", ".join(f"{count} {form}" for form, count in counts if count),
        event.fact("reason"),
        event.fact("credential"),
        event.fact("address"),
        event.fact("policy")[:_DIGEST_CHARS],
    )


def _event_json(event: Event, *, items: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "strand": event.strand,
        "number": event.number,
        "time": format_position(event.time),
        "kind": event.kind,
        "partner": event.partner,
        "asked_for": event.object or None,
        **event.facts,
    }
    if items:
        values["items"] = [
            {"date_added": format_position(each.position), "label": each.label, "as": FORMS[each.form]}
            for each in event.items
        ]
    return values


def _holder_row(holder: Holder) -> tuple[str, ...]:
    return (
        holder.partner,
        holder.version.version + (", deleted" if holder.version.deleted is not None else ""),
        holder.form,
        format_position(holder.first),
        format_position(holder.last),
        str(holder.times),
        _since_then(holder),
    )


def _since_then(holder: Holder) -> str:
    if holder.revocation is not None:
        return f"received the revocation {format_position(holder.revocation)}"
    if holder.newer is not None:
        return f"received {holder.newer[0]} at {format_position(holder.newer[1])}"
    return "it is the newest version" if holder.newest else "nothing newer"


def _holder_json(holder: Holder) -> dict[str, Any]:
    newer = holder.newer
    return {
        "partner": holder.partner,
        "version": holder.version.version,
        "date_added": format_position(holder.version.position),
        "deleted": holder.version.deleted and format_position(holder.version.deleted),
        "as": holder.form,
        "first": format_position(holder.first),
        "last": format_position(holder.last),
        "times": holder.times,
        "newest": holder.newest,
        "received_newer": newer and {"version": newer[0], "time": format_position(newer[1])},
        "received_revocation": holder.revocation and format_position(holder.revocation),
    }
