"""import and export: data in and out without HTTP, under the same validation and policy."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path

import click
import orjson

from taxii_server.catalog import Collection
from taxii_server.cli.context import (
    Command,
    Session,
    err,
    out,
    pass_session,
    progress_bar,
    require_collection,
    require_partner,
)
from taxii_server.errors import BadContent, Forbidden
from taxii_server.model import Actor, Origin
from taxii_server.service.hub import Hub
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.service.visit import Visit

_SHOWN_FAILURES = 20


@click.command("import", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--into", "collection_name", required=True, metavar="COLLECTION", help="Name of the collection.")
@click.option("--as", "partner", required=True, metavar="PARTNER", help="The partner who submits.")
@pass_session
def import_(session: Session, files: tuple[Path, ...], collection_name: str, partner: str) -> None:
    """Store STIX bundles, envelopes, lists or single objects from FILES (.json or .json.gz).

    The same checks and the same policy as a POST. What is already there is left alone, so that an import
    may be run again. Exit status 1 when an object, or a whole file, was refused; the others are stored.

    \b
    Example:
      taxii-server import enterprise-attack.json.gz --into drop-bt --as bt
    """
    refused = 0
    with session.hub() as hub:
        collection = require_collection(hub, collection_name)
        require_partner(hub, partner)
        if not hub.snapshot.catalog.rights(collection, partner).write:
            raise Forbidden(f"{partner} may not write to {collection_name} (see writers in its file)")
        for file in files:
            refused += _import_file(hub, collection, partner, file)
    sys.exit(1 if refused else 0)


def _import_file(hub: Hub, collection: Collection, partner: str, file: Path) -> int:
    try:
        raw = file.read_bytes()
        body = _as_envelope(gzip.decompress(raw) if file.suffix == ".gz" else raw)
        with progress_bar(file.name) as advance:
            results = hub.writer.add(partner, collection, body, advance)
    except (BadContent, EOFError, OSError, zlib.error) as error:
        err.print(f"{file}: nothing of it is stored: {error}", markup=False)
        return 1
    failures = [added for added in results if not added.ok]
    present = sum(added.ok and added.message is not None for added in results)
    stored = len(results) - len(failures) - present
    held = sum(added.stopped == "quarantined" for added in results)
    counts = f"{stored} stored, {present} already present, {len(failures) - held} refused"
    out.print(f"{file}: {counts}{f', {held} held in quarantine' if held else ''}", markup=False)
    for added in failures[:_SHOWN_FAILURES]:
        err.print(f"  {added.id}: {added.message}", markup=False)
    if len(failures) > _SHOWN_FAILURES:
        err.print(f"  ... and {len(failures) - _SHOWN_FAILURES} more")
    return len(failures)


def _as_envelope(body: bytes) -> bytes:
    """A list or a single object in an envelope; everything else as it is."""
    text = body.strip()
    if text.startswith(b"["):
        return b'{"objects":' + text + b"}"
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return body
    if isinstance(value, dict) and "objects" not in value and "id" in value:
        return b'{"objects":[' + text + b"]}"
    return body


@click.command(cls=Command)
@click.argument("collection_name", metavar="COLLECTION")
@click.option("--as", "partner", required=True, metavar="PARTNER", help="Whose view to export.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Default: standard output.")
@click.option(
    "--versions",
    type=click.Choice(["last", "all"]),
    default="last",
    show_default=True,
    help="Which versions of an object.",
)
@pass_session
def export(session: Session, collection_name: str, partner: str, output: Path | None, versions: str) -> None:
    """Write what PARTNER may read of COLLECTION as one STIX bundle.

    \b
    Example:
      taxii-server export interpol --as interpol -o interpol.json
    """
    with session.hub() as hub:
        collection = require_collection(hub, collection_name)
        require_partner(hub, partner)
        if not hub.snapshot.catalog.rights(collection, partner).read:
            raise Forbidden(f"{partner} may not read {collection_name} (see readers in its file)")
        filters = Filters(spec_versions=("2.0", "2.1"), versions=EVERY) if versions == "all" else None
        actor = Actor(partner, "command line", "cli", Origin(method="export", path=collection_name))
        count = _export(hub.visit(actor), collection, filters, output)
    err.print(f"[green]ok[/green] {count} objects")


def _export(visit: Visit, collection: Collection, filters: Filters | None, output: Path | None) -> int:
    count = 0
    token: str | None = None
    with click.open_file(str(output) if output else "-", "wb") as stream, progress_bar("exporting") as advance:
        stream.write(b'{"type":"bundle","id":"bundle--' + collection.id.encode() + b'","objects":[')
        while True:
            found = visit.read(collection, ReadRequest("objects", filters=filters, next=token))
            for item in found.items:
                stream.write((b",\n" if count else b"\n") + item.content)
                count += 1
            advance(count)
            token = found.next
            if token is None:
                stream.write(b"\n]}\n")
                return count
