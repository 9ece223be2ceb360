"""backup and restore: a whole database into one file, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from taxii_server.cli.context import Command, Session, err, pass_session, progress_bar, require_database
from taxii_server.cli.tables import print_json
from taxii_server.service.backup import Backup, Manifest, Progress, make_backup
from taxii_server.service.backup import restore as restore_backup
from taxii_server.storage import store_of
from taxii_server.times import format_position, parse_instant

json_option = click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON, for scripts.")
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=Command)
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Replace FILE when it is there already.")
@json_option
@pass_session
def backup(session: Session, file: Path, force: bool, as_json: bool) -> None:
    """Write the whole database, ledger and secret included, to FILE, while the server goes on.

    FILE is one point in time, readable by its owner only: it holds every object, whatever its marking, and the
    secret of the hub. It appears when it is complete.

    \b
    Example:
      taxii-server backup /mnt/elsewhere/hub-2026-01-31.zip
    """
    settings = session.settings()
    store = store_of(settings)
    try:
        require_database(settings, store)
        store.state()  # says so when it is not whole
        with _bars() as progress:
            kind = "mongodb" if settings.uses_mongodb else "sqlite"
            manifest, digest = make_backup(store, kind, file, force=force, progress=progress)
    except OSError as error:
        error.filename = error.filename or str(file)  # a full disk names no file
        raise
    finally:
        store.close()
    if as_json:
        print_json({"file": str(file), "size": file.stat().st_size, "manifest_sha256": digest, **_told(manifest)})
        return
    err.print(f"[green]ok[/green] {escape(str(file))}: {_counted(manifest)}, {file.stat().st_size:,} bytes")
    err.print(f"manifest SHA-256 {digest}")


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace the database that is there. SQLite keeps the old files aside.")
@click.option("--check", "only_check", is_flag=True, help="Only check FILE against its manifest; change nothing.")
@click.option(
    "--clock-at-least",
    metavar="TIME",
    help="What is added from now on comes after this instant (RFC 3339): where the clock of this machine is behind.",
)
@json_option
@pass_session
def restore(
    session: Session, file: Path, force: bool, only_check: bool, clock_at_least: str | None, as_json: bool
) -> None:
    """Make the store what FILE, written by `backup`, holds. Stop the server first.

    The store may be of the other kind: a hub moves from SQLite to MongoDB, or back, this way, and its partners go on
    polling where they were. FILE is checked before anything is written. Then run `taxii-server verify`.

    \b
    Examples:
      taxii-server restore /mnt/elsewhere/hub-2026-01-31.zip
      taxii-server --store 'mongodb://db1,db2,db3/taxii?replicaSet=rs0' restore hub-2026-01-31.zip
    """
    try:
        clock = parse_instant(clock_at_least) if clock_at_least else 0
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--clock-at-least") from None
    with Backup(file) as found:
        if only_check:
            with _bars() as progress:
                found.check(progress)
            if as_json:
                print_json({"file": str(file), **_told(found.manifest)})
            else:
                err.print(f"[green]ok[/green] {escape(str(file))}: {_counted(found.manifest)}")
            return
        store = store_of(session.settings())
        try:
            with _bars() as progress:
                done = restore_backup(found, store, force=force, clock=clock, progress=progress)
        finally:
            store.close()
    if as_json:
        clock_text = format_position(done.clock)
        print_json({"file": str(file), "clock_set_to": clock_text, "before": done.before, **_told(done.manifest)})
        return
    err.print(f"[green]ok[/green] restored: {_counted(done.manifest)}")
    err.print(f"What is added now comes after {format_position(done.clock)}.")
    if done.before:
        err.print(escape(done.before))
    session.suggest(
        ("verify", "is all of it whole"), ("serve", "partners then post again what they posted since the backup")
    )


@contextmanager
def _bars() -> Iterator[Progress]:
    with progress_bar("", rate=True) as advance:
        yield lambda part, done, of: advance(done, of or None, part)


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "made": format_position(manifest.made),
        "source": manifest.source,
        "clock": format_position(manifest.clock),
        "rows": {part: each.rows for part, each in manifest.parts.items() if part != "secret"},
    }


def _counted(manifest: Manifest) -> str:
    """How much is in a backup, and of when: what was posted later is not in it."""
    parts = manifest.parts
    counted = f"{parts['records'].rows:,} records, {parts['ledger'].rows:,} entries of the ledger"
    return f"{counted}, as they were at {format_position(manifest.made)}"
