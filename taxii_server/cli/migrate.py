"""migrate: move in from another TAXII server."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import orjson
from rich.markup import escape

from taxii_server import settings as settings_module
from taxii_server.cli.context import Command, Session, err, out, pass_session, progress_bar
from taxii_server.cli.tables import number_of, print_json, print_rows
from taxii_server.migrate.configuration import LEVELS, SUBMITTER, Wishes, write_configuration
from taxii_server.migrate.credentials import carry_out, plan_logins
from taxii_server.migrate.hubs import find_partners, find_targets, not_in_force, rehearsal, strangers
from taxii_server.migrate.losses import find_losses
from taxii_server.migrate.moving import MigrateError, Mover
from taxii_server.migrate.names import choose_names
from taxii_server.migrate.old import OldServer, Source
from taxii_server.migrate.report import Report
from taxii_server.migrate.sources import open_medallion, open_opentaxii
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings
from taxii_server.storage.base import Store

_SHOWN = 20
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@dataclass(frozen=True, slots=True)
class _Options:
    """What both commands have in common."""

    new_hub: Path | None
    config_only: bool
    fragments: Path | None
    submitter: str
    clearance: str
    strictness: str
    passwords: bool
    tokens: Path | None
    dry_run: bool
    append: bool
    report: Path | None
    as_json: bool


def _common(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed((
        click.option(
            "--new-hub", type=_FOLDER, metavar="DIR",
            help="Write the configuration of a new hub to DIR/config and DIR/collections, and move into its store.",
        ),
        click.option(
            "--config-only", is_flag=True,
            help="With --new-hub: write the configuration, to be edited first, and move nothing yet.",
        ),
        click.option(
            "--fragments", type=_FOLDER, metavar="DIR",
            help="Only write the configuration for a hub that exists to DIR, to be reviewed and copied.",
        ),
        click.option(
            "--as", "submitter", default=SUBMITTER, show_default=True, metavar="PARTNER",
            help="The partner in whose name the objects are stored; the old server did not keep who posted them.",
        ),
        click.option(
            "--clearance", type=click.Choice(LEVELS), default="amber+strict", show_default=True,
            help="What the configuration that is written gives every user.",
        ),
        click.option(
            "--strictness", type=click.Choice(["schema", "structure"]), default="schema", show_default=True,
            help="How the collections that are written check objects, those that are moved in as well.",
        ),
        click.option(
            "--passwords/--no-passwords", default=True, show_default=True,
            help="Keep passwords that the old server has in the clear, as argon2 hashes.",
        ),
        click.option(
            "--tokens", type=_FILE, metavar="FILE",
            help="Make a token for every user without a password, and write the secrets to this new file.",
        ),
        click.option(
            "--dry-run", is_flag=True,
            help="Do everything on a store that is thrown away, and report what would be; changes nothing.",
        ),
        click.option(
            "--append", is_flag=True,
            help="Move in though the hub has later objects already: clients get everything again.",
        ),
        click.option(
            "--report", type=_FILE, metavar="FILE", help="Write the whole report there, as JSON if it ends in .json."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON, for scripts."),
    )):  # fmt: skip
        command = option(command)
    return command


@click.group()
def migrate() -> None:
    """Move in from another TAXII server: its collections, users and objects, in their order."""


@migrate.command(cls=Command)
@click.argument("source", metavar="SOURCE")
@click.option(
    "--users", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="medallion's configuration file, for its users, when SOURCE is a data file or a URL.",
)  # fmt: skip
@_common
@pass_session
def medallion(session: Session, /, source: str, users: Path | None, **given: Any) -> None:
    """Move in from medallion 3. SOURCE: its configuration file, its data file, or the URL of its MongoDB.

    Nothing is written to SOURCE. A run that broke off is continued by running it again; what is there is left alone.
    Exit status 1 when an object was not taken. docs/migrating.md goes through it step by step.

    \b
    Examples:
      taxii-server migrate medallion medallion-config.json --new-hub /srv/hub --dry-run --report report.txt
      taxii-server migrate medallion medallion-config.json --new-hub /srv/hub
      taxii-server migrate medallion data.json --users config.json --fragments review/
      taxii-server migrate medallion mongodb://10.0.0.5:27017/ --users config.json
    """
    with closing(open_medallion(source, users)) as opened:
        _run(session, opened, _Options(**given))


@migrate.command(cls=Command)
@click.argument("source", metavar="SOURCE")
@click.option("--accounts", metavar="URL", help="The database of its accounts, where that is another one.")
@_common
@pass_session
def opentaxii(session: Session, /, source: str, accounts: str | None, **given: Any) -> None:
    """Move in from OpenTAXII. SOURCE: the URL of the database of its TAXII 2.1 persistence.

    SQLite needs nothing; other databases need: pip install 'taxii-server[migrate]'. Nothing is written to SOURCE. A run
    that broke off is continued by running it again. Exit status 1 when an object was not taken.

    \b
    Examples:
      taxii-server migrate opentaxii sqlite:////var/lib/opentaxii/data.db --new-hub /srv/hub --dry-run
      taxii-server migrate opentaxii postgresql://reader@db/opentaxii --accounts postgresql://reader@db/auth \\
          --new-hub /srv/hub --tokens new-tokens.txt
    """
    with closing(open_opentaxii(source, accounts)) as opened:
        _run(session, opened, _Options(**given))


def _run(session: Session, source: Source, options: _Options) -> None:
    if options.new_hub and options.fragments:
        raise click.UsageError("--new-hub and --fragments exclude each other")
    if options.config_only and not options.new_hub:
        raise click.UsageError("--config-only needs --new-hub DIR")
    if options.report and not options.report.absolute().parent.is_dir():
        raise click.BadParameter(f"{options.report.parent} is not a folder", param_hint="--report")
    report = Report(source.server, options.dry_run)
    if options.fragments is not None:
        _write_fragments(session, source.server, options, report)
    elif options.new_hub is not None:
        with _new_hub(session, source.server, options, report) as settings:
            if not options.config_only:
                _move(settings, source, options, report)
    else:
        _move(session.settings(), source, options, report)
    _tell(report, options)
    sys.exit(0 if report.is_whole else 1)


# ---- configuration


def _write_fragments(session: Session, server: OldServer, options: _Options, report: Report) -> None:
    assert options.fragments is not None
    catalog = session.catalog(session.settings())
    taken = {*catalog.policy.audiences, *catalog.collections, *catalog.api_roots, *catalog.policy.groups}
    names = choose_names(server, taken - {options.submitter}, options.submitter)
    known = options.submitter in catalog.policy.audiences
    wishes = Wishes(options.submitter, options.clearance, options.strictness, fragments=True, has_submitter=known)
    written = write_configuration(server, names, wishes)
    if not options.dry_run and not _write_files(options.fragments, written.files):
        raise MigrateError(f"{options.fragments} has such files already; name an empty folder")
    report.written = [str(options.fragments / name) for name in written.files]
    report.notes = [*server.notes, *written.notes]


@contextmanager
def _new_hub(session: Session, server: OldServer, options: _Options, report: Report) -> Iterator[Settings]:
    """The settings of the new hub, whose files are written; for a rehearsal in a folder that is thrown away."""
    assert options.new_hub is not None
    names = choose_names(server, submitter=options.submitter)
    wishes = Wishes(options.submitter, options.clearance, options.strictness)
    written = write_configuration(server, names, wishes)
    report.written = [str(options.new_hub / name) for name in written.files]
    report.notes = [*server.notes, *written.notes]
    if (options.new_hub / "config" / "server.toml").exists():
        report.written = []
        report.notes = [*server.notes, f"{options.new_hub} is there already: its configuration is used as it is"]
        yield settings_module.load(options.new_hub / "config" / "server.toml", flags=session.flags)
        return
    with tempfile.TemporaryDirectory(prefix="taxii-server-migrate-") as folder:
        # First where nobody looks: a hub whose configuration does not hold is not begun.
        _write_files(Path(folder), written.files)
        tried = settings_module.load(Path(folder) / "config" / "server.toml", flags=session.flags)
        session.catalog(tried)
        if options.dry_run:
            store = session.flags.get("store") or str(options.new_hub / "var" / "taxii.db")
            yield replace(tried, store=store)
            return
    _write_files(options.new_hub, written.files)
    yield settings_module.load(options.new_hub / "config" / "server.toml", flags=session.flags)


def _write_files(folder: Path, files: Mapping[str, str]) -> bool:
    """Write them, server.toml last; False when one is there: then the hub is used as it is.

    Raises MigrateError, with nothing written, for another file that is there and says something else.
    """
    *others, last = files
    if (folder / last).exists():
        return False
    for name in others:
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") != files[name]:
            raise MigrateError(f"{path} is there already, and is another one; name an empty folder")
    (folder / "collections").mkdir(parents=True, exist_ok=True)  # also when the old server has none
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(files[name], encoding="utf-8")
    return True


# ---- objects


def _move(settings: Settings, source: Source, options: _Options, report: Report) -> None:
    server = source.server
    with rehearsal(settings) if options.dry_run else _hub(settings) as (hub, store):
        catalog = hub.snapshot.catalog
        targets = find_targets(catalog, server, options.submitter)
        partners = find_partners(catalog, server)
        logins = plan_logins(server, partners, store, passwords=options.passwords, tokens=options.tokens is not None)
        if options.tokens and options.tokens.exists() and any(login.what == "token" for login in logins):
            raise MigrateError(f"{options.tokens} is there already: name another file for the new tokens")
        report.logins = logins
        stale = [] if options.dry_run else not_in_force(hub.store, settings)
        report.notes = [*(report.notes or server.notes), *strangers(server, partners), *stale]
        started = time.monotonic()
        beside = store if options.dry_run else None
        with progress_bar("moving in", source.count(), rate=True) as advance:
            mover = Mover(hub, targets, options.submitter, beside)
            report.moved = mover.move(source, advance, append=options.append)
        report.took_s = time.monotonic() - started
        if not options.dry_run:
            carry_out(logins, server, hub.store, options.tokens)
        known = partners | ({"": hub.settings.anonymous_partner} if hub.settings.anonymous_partner else {})
        readers = {
            targets[each.root, each.id].name: [known[user] for user in each.readers if user in known]
            for each in server.collections
        }
        with progress_bar("comparing", sum(map(len, readers.values()))) as advance:
            report.lost = list(find_losses(hub, readers, options.submitter, advance))


@contextmanager
def _hub(settings: Settings) -> Iterator[tuple[Hub, Store | None]]:
    """The hub itself, with the configuration on disk in force if none ever was."""
    session = Session(settings.file, {})
    with session.hub(settings, new=True) as hub:
        yield hub, hub.store


# ---- what is told


def _tell(report: Report, options: _Options) -> None:
    if options.report is not None:
        whole = orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2)
        # It names objects, whatever their marking, and who may not read them.
        descriptor = os.open(options.report, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(whole if options.report.suffix == ".json" else report.to_text().encode())
    if options.as_json:
        print_json(report.to_json())
        return
    if report.moved.tallies:
        _tell_objects(report)
    for note in report.notes:
        out.print(f"[yellow]note[/yellow] {escape(note)}")
    for login in report.logins:
        color = "yellow" if login.what == "none" else "green"
        out.print(
            f"[{color}]user[/{color}] {escape(login.user)} ({escape(login.partner or '-')}): {escape(login.words)}"
        )
    verb = "would write" if options.dry_run else "written"
    for name in report.written:
        out.print(f"{verb} {escape(name)}")
    if options.config_only:
        out.print("Next: edit them, 'taxii-server check', then the same without --config-only")
    if options.fragments is not None:
        out.print(
            "Next: read them, copy them, 'taxii-server check', 'taxii-server policy apply', then the same without "
            "--fragments"
        )


def _tell_objects(report: Report) -> None:
    total = report.moved.total()
    titles = ("collection", "stored", "present", "refused", "quarantined", "unreadable", "served again")
    rows = [
        (name, *map(str, (t.stored, t.present, t.refused, t.quarantined, t.unreadable, t.again)))
        for name, t in report.moved.tallies.items()
    ]
    print_rows(titles, rows, range(1, 7))
    mark = "[yellow]dry run[/yellow] would be" if report.is_rehearsal else "[green]ok[/green]"
    out.print(
        f"{mark} stored: {total.stored:,}; present: {total.present:,}; in quarantine: {total.quarantined:,}; "
        f"not taken: {total.refused + total.unreadable:,}; {report.took_s:.1f} s"
    )
    for left in report.moved.left[:_SHOWN]:
        err.print(f"  {left.what} {left.collection}: {left.id} {left.version}: {left.why}", markup=False)
    if len(report.moved.left) > _SHOWN:
        err.print(f"  ... and {len(report.moved.left) - _SHOWN} more; --report FILE has all of them")
    for partner, collection, why, count in report.sums_of_losses()[:_SHOWN]:
        words = f"{partner} does not read {number_of(count, 'version')} in {collection}: {why}"
        out.print(f"[yellow]lost[/yellow] {escape(words)}")
