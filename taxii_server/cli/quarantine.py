"""quarantine: what publish guards held back, shown, released and dropped by an operator."""

from __future__ import annotations

from typing import Any

import click
import orjson
from rich.markup import escape

from taxii_server.cli.context import Command, Session, out, pass_session, require_collection
from taxii_server.cli.naming import COLLECTION
from taxii_server.cli.tables import json_option, print_found, print_json
from taxii_server.errors import NotFound
from taxii_server.service.hub import Hub
from taxii_server.service.review import WAITING, collection_of
from taxii_server.service.review import drop as drop_entry
from taxii_server.service.review import release as release_entry
from taxii_server.storage.quarantine import STATES, Entry, EntryQuery
from taxii_server.times import format_position

_TITLES = ("id", "collection", "submitter", "object", "version", "guard", "held", "state", "decided", "by")
_PAGE = 1000
#: Who decided, where it was somebody with access to the machine and not a partner.
OPERATOR = "the operator"


@click.group()
def quarantine() -> None:
    """List, show, release and drop what guards of the policy held back."""


@quarantine.command("list", cls=Command)
@click.option(
    "--collection",
    "collection_name",
    type=COLLECTION,
    help="Only what was posted to this one.",
)
@click.option("--all", "everything", is_flag=True, help="Also what was released or dropped.")
@json_option
@pass_session
def list_(session: Session, collection_name: str | None, everything: bool, as_json: bool) -> None:
    """List what is held, oldest first; never the objects themselves.

    \b
    Example:
      taxii-server quarantine list --collection drop-bt
    """
    with session.hub() as hub:
        collection = None if collection_name is None else require_collection(hub, collection_name).id
        found = _entries(hub, EntryQuery(_PAGE, collection, None, STATES if everything else WAITING))
        rows = [_row(hub, entry) for entry in found]
        described = [_as_json(hub, entry) for entry in found]
    print_found(as_json, "quarantine", _TITLES, rows, described)


@quarantine.command("show", cls=Command)
@click.argument("entry_id", metavar="ID")
@pass_session
def show(session: Session, entry_id: str) -> None:
    """Print one entry as JSON, with the object while it is held.

    \b
    Example:
      taxii-server quarantine show 0b8f9c5e-5a0f-4a38-8f0f-6c1f9b0f3a55
    """
    with session.hub() as hub:
        entry = _require(hub, entry_id)
        described = _as_json(hub, entry)
    if entry.content:
        described["object"] = orjson.loads(entry.content)
    print_json(described)


@quarantine.command("release", cls=Command)
@click.argument("entry_ids", metavar="ID...", nargs=-1, required=True)
@pass_session
def release(session: Session, entry_ids: tuple[str, ...]) -> None:
    """Store held objects as posts of those who posted them. The owner of the collection decides; ask before.

    Stops at the first that cannot be released. One that was released already is left alone.

    \b
    Example:
      taxii-server quarantine release 0b8f9c5e-5a0f-4a38-8f0f-6c1f9b0f3a55
    """
    with session.hub() as hub:
        for entry_id in entry_ids:
            entry = _require(hub, entry_id)
            release_entry(hub.store, hub.writer, hub.snapshot.catalog, entry, OPERATOR)
            out.print(f"[green]ok[/green] {escape(entry.object_id)} is stored")


@quarantine.command("drop", cls=Command)
@click.argument("entry_ids", metavar="ID...", nargs=-1, required=True)
@pass_session
def drop(session: Session, entry_ids: tuple[str, ...]) -> None:
    """Erase held objects. That they were there, their digest, who dropped them and when stays on record.

    \b
    Example:
      taxii-server quarantine drop 0b8f9c5e-5a0f-4a38-8f0f-6c1f9b0f3a55
    """
    with session.hub() as hub:
        for entry_id in entry_ids:
            entry = _require(hub, entry_id)
            drop_entry(hub.store, hub.snapshot.catalog, entry, OPERATOR)
            out.print(f"[green]ok[/green] {escape(entry.object_id)} is dropped")


def _require(hub: Hub, entry_id: str) -> Entry:
    entry = hub.store.quarantine.entry(entry_id)
    if entry is None:
        raise NotFound(f"no entry {entry_id} in quarantine; 'taxii-server quarantine list --all' shows them")
    return entry


def _entries(hub: Hub, query: EntryQuery) -> list[Entry]:
    found: list[Entry] = []
    while True:
        after = (found[-1].held, found[-1].id) if found else None
        page = hub.store.quarantine.page(EntryQuery(_PAGE, query.collection, query.submitter, query.states, after))
        found += page
        if len(page) < _PAGE:
            return found


def _named(hub: Hub, entry: Entry) -> str:
    collection = collection_of(hub.snapshot.catalog, entry)
    return entry.collection if collection is None else collection.name


def _row(hub: Hub, entry: Entry) -> tuple[str, ...]:
    decided = entry.state in ("released", "dropped")
    return (
        entry.id,
        _named(hub, entry),
        entry.submitter,
        entry.object_id,
        entry.version or "",
        entry.guard,
        format_position(entry.held),
        entry.state,
        format_position(entry.decided) if decided else "",
        entry.decided_by if decided else "",
    )


def _as_json(hub: Hub, entry: Entry) -> dict[str, Any]:
    keys = ("id", "collection", "submitter", "object_id", "version", "guard", "held", "state", "decided", "decided_by")
    values = {key: cell for key, cell in zip(keys, _row(hub, entry), strict=True) if cell}
    return values | {"spec_version": entry.spec_version, "digest": entry.digest.hex()}
