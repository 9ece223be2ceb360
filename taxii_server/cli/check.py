"""check and reload: is the configuration right, and put it in force."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path

import click
from rich.markup import escape

from taxii_server import settings as settings_module
from taxii_server.auth.provider import require_keys
from taxii_server.catalog import read_files
from taxii_server.cli.context import Command, Session, out, pass_session, progress_bar, require_private
from taxii_server.cli.tables import json_option, print_json, print_rows
from taxii_server.errors import ConfigError
from taxii_server.mirror.run import require_fitting
from taxii_server.mirror.schema import read_mirrors
from taxii_server.serving.tls import make_context, warnings_of
from taxii_server.storage import open_store

_SETTINGS = ("setting", "value", "from")


@click.command(cls=Command)
@click.option("--show", is_flag=True, help="Also print every setting with its value and where it comes from.")
@json_option
@pass_session
def check(session: Session, show: bool, as_json: bool) -> None:
    """Check settings, partners, collections and policy, exactly as a start would, and mirrors.toml if there is one.

    Runs every [[test]] of the policy and proves every [[never]]. Exit status 2 when anything does not hold; with --json
    the problems are in the JSON, too.

    \b
    Examples:
      taxii-server check --show
      taxii-server check --json
    """
    with _as_json_too(as_json):
        settings = session.settings()
        shown = list(settings_module.show(settings)) if show else []
        if show and not as_json:
            print_rows(_SETTINGS, [(row.name, row.value, row.source) for row in shown])
        open_store(settings.store).close()  # raises for what is no store; nothing is opened
        require_private(settings)
        require_keys(settings)
        catalog = session.catalog(settings)
        make_context(settings)
        mirrors = Path(settings.mirrors_file)
        if mirrors.exists():
            require_fitting(catalog, read_mirrors(mirrors))
    warnings = [*map(str, catalog.warnings), *warnings_of(settings)]
    policy = catalog.policy
    if as_json:
        more = {"settings": [dict(zip(_SETTINGS, astuple(row), strict=True)) for row in shown]} if show else {}
        print_json(
            {
                "holds": True,
                "api_roots": len(catalog.api_roots),
                "collections": len(catalog.collections),
                "partners": len(policy.audiences),
                "policy": {"name": policy.name, "digest": policy.digest},
                "configuration": catalog.digest,
                "warnings": warnings,
                "problems": [],
                **more,
            }
        )
        return
    for warning in warnings:
        out.print(f"[yellow]warning[/yellow] {escape(warning)}")
    out.print(
        f"[green]ok[/green] {len(catalog.api_roots)} API root(s), {len(catalog.collections)} collections, "
        f"{len(policy.audiences)} partners; policy '{escape(policy.name)}': "
        f"all examples hold, all never-claims are proved; configuration {catalog.digest[:12]}"
    )


@contextmanager
def _as_json_too(as_json: bool) -> Iterator[None]:
    """With --json, problems are also printed as such on stdout before they are told."""
    try:
        yield
    except ConfigError as error:
        if as_json:
            print_json({"holds": False, "warnings": [], "problems": [asdict(each) for each in error.problems]})
        raise


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Check the configuration on disk and put it in force for every running server of this store.

    Running servers follow within a second. A configuration that does not hold changes nothing.

    \b
    Example:
      taxii-server reload
    """
    settings = session.settings()
    with session.hub(settings, new=True) as hub:
        before = hub.snapshot.epoch
        with progress_bar("labelling records for the new policy") as advance:
            applied = hub.apply(lambda: read_files(session.settings()), getpass.getuser(), advance)
    changed = "is in force" if applied.epoch != before else "was in force already"
    out.print(f"[green]ok[/green] configuration {applied.digest[:12]} {changed} (epoch {applied.epoch})")
