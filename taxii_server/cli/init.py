"""init: the configuration of a new hub, commented, checked, and never in the place of another."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from taxii_server import settings as settings_module
from taxii_server.catalog import check_catalog, read_files
from taxii_server.catalog.starter import CLEARANCES, SHARED, TEAM, Newcomer, hub_files
from taxii_server.cli.context import Command, Session, out, pass_session, print_steps
from taxii_server.cli.naming import NEW_NAME, can_ask
from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import Settings, is_mongodb, why_unreadable
from taxii_server.settings.rows import is_name
from taxii_server.storage import open_store

_TITLE = "Cyber threat intelligence hub"
_FOLDERS = ("config", "collections")
_EXAMPLE = Newcomer("example", "cert", "amber", "An example partner")


class _NewPartner(click.ParamType[tuple[str, str]]):
    """NAME or NAME:KIND; an empty kind where none is given."""

    name = "name[:kind]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, kind = str(value).partition(":")
        if colon and not is_name(kind):
            self.fail(f"'{kind}' is no kind of partner: one word such as cert, vendor, soc or le", param, ctx)
        return str(NEW_NAME.convert(name, param, ctx)), kind


@click.command(cls=Command)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--title", help="What the hub is called; clients show it.")
@click.option("--contact", help="Whom partners ask: an e-mail address, a telephone number.")
@click.option(
    "--partner",
    "named",
    multiple=True,
    type=_NewPartner(),
    help="A first partner, as NAME, or as NAME:KIND where it is of another kind than --kind; may be repeated.",
)
@click.option("--kind", default="cert", show_default=True, help="What sort of organisation these partners are.")
@click.option(
    "--clearance",
    type=click.Choice(CLEARANCES),
    default="amber",
    show_default=True,
    help="The highest TLP level that these partners may read.",
)
@click.option("--store", help="SQLite file, relative to DIR/config, or mongodb:// URL without a password in it.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: 6100.")
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given gets its default, as without a terminal.")
@pass_session
def init(
    session: Session,
    /,
    folder: Path,
    title: str | None,
    contact: str | None,
    named: Sequence[tuple[str, str]],
    kind: str,
    clearance: str,
    store: str | None,
    port: int | None,
    yes: bool,
) -> None:
    """Write a commented configuration for a new hub into DIR (here, when left out).

    DIR/config/ gets server.toml, partners.toml and policy.toml, DIR/collections/ a collection that the hub shares and a
    drop box for each partner. Nothing is overwritten: a DIR that has them already is refused. What is written has been
    checked, and can be served at once.

    \b
    Examples:
      taxii-server init my-hub
      taxii-server init /etc/taxii-server --yes --title "CTI of the energy sector" \\
          --partner acme:vendor --partner cert-xx
    """
    if session.config is not None:
        raise click.UsageError("init writes DIR/config/server.toml: name DIR, and leave out --config")
    _require_room(folder)
    store = store or session.flags.get("store")
    partners = [Newcomer(name, own or kind, clearance) for name, own in named]
    if yes or not can_ask():
        title, contact, partners = title or _TITLE, contact or "", partners or [_EXAMPLE]
    else:
        out.print(f"A new hub in {escape(str(folder.resolve()))}. Nothing is written before the last answer.")
        title = title or click.prompt("Title of the hub", default=_TITLE)
        contact = contact if contact is not None else click.prompt("Contact for partners", default="")
        partners = partners or _ask_partner(kind, clearance)
        store = store or _ask_store()
    _require_fit(title or "", partners, store)
    more = {} if port is None else {"port": port}
    _write(folder, hub_files(title or _TITLE, contact or "", store, partners, more))
    counted = f"{len(partners) + 1} partners" if partners else "its team"
    out.print(f"[green]ok[/green] a hub with {counted} is in {escape(str(folder))}, checked.")
    into = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    reader = partners[0].name if partners else TEAM
    print_steps(
        (f"{into}taxii-server token new {reader}", f"a secret for {reader}, shown once"),
        ("taxii-server serve &", f"answers at {_url(folder)}"),
        (f"taxii-server import FILE.json --into {SHARED} --as {TEAM}", "shares STIX with every partner"),
    )


def _url(folder: Path) -> str:
    """Where the new hub will listen, which the environment can change."""
    file = folder / "config/server.toml"
    try:
        settings = settings_module.load(file)
    except ConfigError:  # something in the environment, which `serve` will say
        settings = settings_module.load(file, environment={})
    return f"http://127.0.0.1:{settings.port}/taxii2/"


def _ask_partner(kind: str, clearance: str) -> list[Newcomer]:
    name = click.prompt("First partner, a short name (- for none)", default=_EXAMPLE.name, value_proc=_name_or_none)
    if not name:
        return []
    title = click.prompt("Its full name", default=name)
    kind = click.prompt("What it is (cert, vendor, soc, le, ...)", default=kind)
    country = click.prompt("Its country, two letters (- for none)", default="-").strip("- ").upper()
    clearance = click.prompt("The highest TLP level it may read", type=click.Choice(CLEARANCES), default=clearance)
    return [Newcomer(name, kind, clearance, title, country)]


def _name_or_none(text: str) -> str:
    return "" if text.strip() in ("", "-") else NEW_NAME.convert(text.strip(), None, None)


def _ask_store() -> str | None:
    default = "../var/taxii.db"
    store = click.prompt("Store: an SQLite file, or mongodb://HOST/DATABASE?replicaSet=NAME", default=default)
    return None if store == default else str(store)


def _require_room(folder: Path) -> None:
    """Raise ConfigError when something is there that must not be overwritten."""
    there = [folder / name for name in _FOLDERS if _has_something(folder / name)]
    if there:
        message = "is there already, and init overwrites nothing: name another folder"
        raise ConfigError([Problem(str(path), "", message) for path in there])


def _has_something(path: Path) -> bool:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        return True
    return path.is_dir() and any(path.iterdir())


def _require_fit(title: str, partners: Sequence[Newcomer], store: str | None) -> None:
    """Raise ConfigError for what the questions and options allow and a configuration does not."""
    problems = []
    taken = [TEAM]
    for each in partners:
        if each.name in taken:
            why = "the team that runs the hub has this name" if each.name == TEAM else "it is named twice"
            problems.append(Problem("", "--partner", f"'{each.name}' cannot be added: {why}"))
        taken.append(each.name)
    if store is not None and is_mongodb(store):
        login = store.partition("://")[2].rpartition("@")[0]
        if ":" in login:
            message = "no password in a file: leave it out here, and set TAXII_SERVER_STORE to the whole URL"
            problems.append(Problem("", "--store", message))
    if problems:
        raise ConfigError(problems)
    if store is not None:
        open_store(store).close()  # raises for what is no store


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write the files beside their place, check them there as a start would, then move the folders to their place."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".taxii-server-init-", dir=folder) as name:
            new = Path(name)
            for path, text in files.items():
                (new / path).parent.mkdir(exist_ok=True)
                (new / path).write_text(text, encoding="utf-8")
            _check(new)
            _require_room(folder)
            for each in _FOLDERS:
                (new / each).rename(folder / each)  # an empty folder there is replaced, any other refused
    except ConfigError:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        raise ConfigError([Problem(str(folder), "", f"cannot be written: {why_unreadable(error)}")]) from error


def _check(new: Path) -> Settings:
    settings = settings_module.load(new / "config/server.toml", environment={})
    try:
        check_catalog(read_files(settings), settings)
    except ConfigError as error:
        raise ConfigError([replace(each, file=each.file or "init") for each in error.problems]) from error
    return settings
