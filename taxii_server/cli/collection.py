"""collection: the doors of the hub, listed and added in the files of the configuration."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from taxii_server.catalog import Collection, collection_text, parse_catalog, read_files
from taxii_server.catalog.schema import STIX_VERSIONS
from taxii_server.cli.context import Command, Session, pass_session
from taxii_server.cli.editing import changing, finish
from taxii_server.cli.naming import COLLECTION, NEW_NAME, PARTNER, require_known
from taxii_server.cli.tables import json_option, print_found

_TITLES = ("name", "id", "API root", "title", "owner", "readers", "writers", "sources")


@click.group()
def collection() -> None:
    """List the collections of the configuration, and add one."""


@collection.command("list", cls=Command)
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the collections that the files of the configuration declare: who reads, who posts, what they show.

    \b
    Example:
      taxii-server collection list --json
    """
    catalog = parse_catalog(read_files(session.settings()))
    found = [each for _, each in sorted(catalog.collections.items())]
    print_found(as_json, "collections", _TITLES, map(_row, found), map(_described, found))


@collection.command("add", cls=Command)
@click.argument("name", metavar="ID", type=NEW_NAME)
@click.option("--title", help="What clients show. Default: made from ID.")
@click.option("--description", default="", help="What is in it, for the partner who reads the list of collections.")
@click.option("--owner", type=PARTNER, help="The partner it belongs to.")
@click.option(
    "--reader", "readers", multiple=True, type=PARTNER, help='Who may read; also group:NAME, kind:NAME or "*".'
)
@click.option("--writer", "writers", multiple=True, type=PARTNER, help="Who may post; as --reader.")
@click.option("--visible-to", multiple=True, type=PARTNER, help="Who else sees that it exists; as --reader.")
@click.option("--source", "sources", multiple=True, type=COLLECTION, help="A collection that it shows as well.")
@click.option("--shown-in", multiple=True, type=COLLECTION, help="A collection that shows this one as well.")
@click.option("--alias", help="A second name for the URL.")
@click.option(
    "--accepts", multiple=True, type=click.Choice(STIX_VERSIONS), help="A STIX version it stores. Default: 2.1."
)
@click.option("--api-root", help="The API root it is served under. Default: the first in server.toml.")
@click.option("--uuid", "id_", type=click.UUID, help="Its id in URLs, when it moves here from elsewhere. Default: new.")
@click.option("--dry-run", is_flag=True, help="Only check; write nothing.")
@pass_session
def add(
    session: Session,
    /,
    name: str,
    title: str | None,
    api_root: str | None,
    id_: uuid.UUID | None,
    shown_in: Sequence[str],
    dry_run: bool,
    **values: Any,
) -> None:
    """Add the collection ID: write collections/ID.toml, commented, with a fresh UUID for its URL.

    ID is the name that rules and other collections call it by. Lists that are left out stay empty, and then nobody
    comes through its door. The result is checked as `taxii-server check` does it; what does not hold is refused and
    nothing is written.

    \b
    Examples:
      taxii-server collection add energy --title "Energy sector" --reader group:energy --source drop-acme
      taxii-server collection add drop-acme --owner acme --reader acme --writer acme --shown-in shared
    """
    with changing(session.settings()) as change:
        before = parse_catalog(change.files)
        for each in (*values["sources"], *shown_in):
            require_known("collection", each, before.collections)
        if values["owner"]:
            require_known("partner", values["owner"], before.policy.audiences)
        root = require_known("API root", api_root or next(iter(before.api_roots)), before.api_roots)
        text = collection_text(
            id=str(id_ or uuid.uuid4()),
            api_root=root,
            title=title or name.replace("-", " ").replace("_", " ").capitalize(),
            **{key: value for key, value in values.items() if value},
        )
        change.add_file(change.collection_path(name), text)
        for each in shown_in:
            change.add_to_list(change.collection_path(each), "sources", name)
        finish(change, before, dry_run, f"collection '{name}' is")
    if not dry_run:
        reader = next((each for each in values["readers"] if each in before.policy.audiences), "PARTNER")
        session.suggest(
            ("reload", "in force at once; a running server also sees it by itself"),
            (f"get /{root}/collections/ --as {reader}", "what a partner sees"),
        )


def _row(each: Collection) -> tuple[str, ...]:
    lists = (", ".join(names) for names in (each.readers, each.writers, each.sources))
    return (each.name, each.id, each.api_root, each.title, each.owner or "", *lists)


def _described(each: Collection) -> dict[str, Any]:
    return {**asdict(each), "path": f"/{each.api_root}/collections/{each.id}/"}
