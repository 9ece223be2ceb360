"""import and export: data in and out without HTTP, under the same validation and policy."""

from __future__ import annotations

import gzip
import sys
import zlib
from dataclasses import asdict, dataclass
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
from taxii_server.cli.naming import COLLECTION, PARTNER
from taxii_server.cli.tables import json_option, on_one_line, print_json
from taxii_server.errors import BadContent, Forbidden
from taxii_server.model import Actor, Origin
from taxii_server.service.hub import Hub
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.service.unread import unread
from taxii_server.service.visit import Visit

_SHOWN_FAILURES = 20


@click.command("import", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--into",
    "collection_name",
    required=True,
    type=COLLECTION,
    help="Name of the collection.",
)
@click.option("--as", "partner", required=True, type=PARTNER, help="The partner who submits.")
@json_option
@pass_session
def import_(session: Session, files: tuple[Path, ...], collection_name: str, partner: str, as_json: bool) -> None:
    """Store STIX bundles, envelopes, lists or single objects from FILES (.json or .json.gz).

    The same checks and the same policy as a POST. What is already there is left alone, so that an import
    may be run again. Exit status 1 when an object, or a whole file, was refused; the others are stored.

    \b
    Example:
      taxii-server import enterprise-attack.json.gz --into drop-bt --as bt
    """
    done: list[_Imported] = []
    with session.hub(new=True) as hub:
        collection = require_collection(hub, collection_name)
        require_partner(hub, partner)
        if not hub.snapshot.catalog.rights(collection, partner).write:
            raise Forbidden(f"{partner} may not write to {collection_name} (see writers in its file)")
        for file in files:
            done.append(_import_file(hub, collection, partner, file))
            if not as_json:
                _tell(done[-1])
    if as_json:
        print_json({"files": [asdict(each) for each in done]})
    sys.exit(1 if any(each.error or each.failures for each in done) else 0)


@dataclass(frozen=True, slots=True)
class _Imported:
    """What became of one file. `failures` are (id, message) of those not stored; `held` of them are in quarantine.

    `unread` of what is stored only its submitter can read; why, and the id of one of them.
    """

    file: str
    stored: int = 0
    present: int = 0
    held: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    error: str = ""
    unread: int = 0
    unread_reason: str = ""
    unread_example: str = ""


def _import_file(hub: Hub, collection: Collection, partner: str, file: Path) -> _Imported:
    try:
        raw = file.read_bytes()
        body = _as_envelope(gzip.decompress(raw) if file.suffix == ".gz" else raw)
        with progress_bar(file.name, rate=True) as advance:
            results = hub.writer.add(partner, collection, body, advance)
    except (BadContent, EOFError, OSError, zlib.error) as error:
        return _Imported(str(file), error=str(error))
    failures = tuple((str(added.id), str(added.message)) for added in results if not added.ok)
    present = sum(added.ok and added.message is not None for added in results)
    held = sum(added.stopped == "quarantined" for added in results)
    new = [(added.id, added.version) for added in results if added.ok and added.message is None]
    hidden = unread(hub, partner, collection.id, new)
    return _Imported(
        str(file),
        len(new),
        present,
        held,
        failures,
        unread=hidden.count,
        unread_reason=hidden.reason,
        unread_example=hidden.example,
    )


def _tell(done: _Imported) -> None:
    if done.error:
        err.print(f"{done.file}: nothing of it is stored: {on_one_line(done.error)}", markup=False)
        return
    refused = len(done.failures) - done.held
    counts = f"{done.stored} stored, {done.present} already present, {refused} refused"
    out.print(f"{done.file}: {counts}{f', {done.held} held in quarantine' if done.held else ''}", markup=False)
    if done.unread:
        err.print(
            f"  {done.unread} of them nobody else can read; the most frequent reason: {done.unread_reason}. "
            f"'taxii-server who-can {done.unread_example}' tells for each partner, 'taxii-server explain' in full",
            markup=False,
        )
    for id_, message in done.failures[:_SHOWN_FAILURES]:
        err.print(f"  {on_one_line(id_)}: {on_one_line(message)}", markup=False)
    if len(done.failures) > _SHOWN_FAILURES:
        err.print(f"  ... and {len(done.failures) - _SHOWN_FAILURES} more (--json lists all)")


def _as_envelope(body: bytes) -> bytes:
    """A list or a single object in an envelope; another JSON object as it is. Raises BadContent for anything else."""
    text = body.strip()
    if text.startswith(b"["):
        return b'{"objects":' + text + b"}"
    if not text.startswith((b"{", b"\xef\xbb\xbf")):
        raise BadContent("this is no file with STIX: JSON with a bundle, an envelope, a list or an object is expected")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return body  # whoever reads it says what is wrong, and where
    if isinstance(value, dict) and "objects" not in value and "id" in value:
        return b'{"objects":[' + text + b"]}"
    return body


@click.command(cls=Command)
@click.argument("collection_name", metavar="COLLECTION", type=COLLECTION)
@click.option("--as", "partner", required=True, type=PARTNER, help="Whose view to export.")
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
        most = _at_most(hub, partner, collection) if err.is_terminal else 0
        count = _export(hub.visit(actor), collection, filters, output, most)
    err.print(f"[green]ok[/green] {count} objects")


def _at_most(hub: Hub, partner: str, collection: Collection) -> int:
    """How many versions the policy lets the partner read there: what is exported is that or less."""
    counts = hub.store.count_by_label()
    labels = hub.snapshot.sights.of(partner).labels_in(hub.snapshot.catalog.feeds(collection))
    return sum(counts.get(number, 0) for number in labels)


def _export(visit: Visit, collection: Collection, filters: Filters | None, output: Path | None, most: int) -> int:
    count = 0
    token: str | None = None
    with click.open_file(str(output) if output else "-", "wb") as stream, progress_bar("exporting", most) as advance:
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
                advance(count, count)
                return count
