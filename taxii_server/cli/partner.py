"""partner: who takes part, listed and added in the files of the configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

import click
from rich.markup import escape

from taxii_server.catalog import Catalog, parse_catalog, read_files
from taxii_server.catalog.parse import CONFIG
from taxii_server.catalog.starter import CLEARANCES, Newcomer, audience_text, drop_box_text
from taxii_server.cli.context import Command, Session, out, pass_session
from taxii_server.cli.editing import changing, finish
from taxii_server.cli.naming import COLLECTION, NEW_NAME, can_ask, require_known
from taxii_server.cli.tables import json_option, print_found
from taxii_server.errors import ConfigError, Problem
from taxii_server.policy import Audience
from taxii_server.settings import Settings

_TITLES = ("name", "kind", "country", "clearance", "groups", "reads", "posts to", "state")


@click.group()
def partner() -> None:
    """List the partners of the configuration, and add one."""


@partner.command("list", cls=Command)
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the partners that the files of the configuration declare, with the collections they read and post to.

    \b
    Example:
      taxii-server partner list
    """
    catalog = parse_catalog(read_files(session.settings()))
    found = [_described(catalog, each) for _, each in sorted(catalog.policy.audiences.items())]
    print_found(as_json, "partners", _TITLES, map(_row, found), found)


@partner.command("add", cls=Command)
@click.argument("name", type=NEW_NAME)
@click.option("--title", default="", help="Its full name, for people.")
@click.option("--kind", help="What sort of organisation it is, such as cert or vendor; rules speak of kinds.")
@click.option("--clearance", type=click.Choice(CLEARANCES), help="The highest TLP level it may read.")
@click.option("--country", default="", help="ISO 3166 code of its country. An international organisation has none.")
@click.option("--sector", default="", help="Its branch, such as finance.")
@click.option("--group", "groups", multiple=True, help="A group it is in; may be repeated.")
@click.option("--identity", "identities", multiple=True, help="A STIX identity that is its own; may be repeated.")
@click.option("--certificate", "certificates", multiple=True, help="A name of its client certificate; may be repeated.")
@click.option("--address", "addresses", multiple=True, help="A network it comes from; may be repeated. Default: any.")
@click.option(
    "--reads",
    multiple=True,
    type=COLLECTION,
    help="A collection it may read; may be repeated.",
)
@click.option(
    "--posts-to",
    multiple=True,
    type=COLLECTION,
    help="One that it may post to; may be repeated.",
)
@click.option("--drop-box", is_flag=True, help="Also make collections/drop-NAME.toml, for it alone.")
@click.option(
    "--shown-in",
    multiple=True,
    type=COLLECTION,
    help="A collection that shows its drop box.",
)
@click.option("--dry-run", is_flag=True, help="Only check; write nothing.")
@pass_session
def add(
    session: Session,
    /,
    name: str,
    title: str,
    kind: str | None,
    clearance: str | None,
    country: str,
    reads: Sequence[str],
    posts_to: Sequence[str],
    drop_box: bool,
    shown_in: Sequence[str],
    dry_run: bool,
    **further: Any,
) -> None:
    """Add the partner NAME to the configuration, and open collections to it.

    The files keep their comments and their order. The result is checked as `taxii-server check` does it, with every
    example and claim of the policy; what does not hold is refused and nothing is written. Which objects the partner
    reads is up to the policy.

    \b
    Examples:
      taxii-server partner add acme --kind vendor --clearance amber --reads vendor-feed
      taxii-server partner add cert-it --kind cert --country IT --clearance amber --group csirts-eu \\
        --title "CSIRT Italia" --drop-box --shown-in interpol
    """
    settings = session.settings()
    kinds = sorted({each.kind for each in parse_catalog(read_files(settings)).policy.audiences.values()})
    newcomer = Newcomer(
        name,
        kind or _asked("--kind", f"Its kind (in use: {', '.join(kinds)})"),
        clearance or _asked("--clearance", "The highest TLP level it may read", click.Choice(CLEARANCES)),
        title,
        country.upper(),
        further,
    )
    if shown_in and not drop_box:
        raise click.UsageError("--shown-in is about the drop box of the partner; give --drop-box as well")
    with changing(settings) as change:
        before = parse_catalog(change.files)
        for each in (*reads, *posts_to, *shown_in):
            require_known("collection", each, before.collections)
        new_group = f"declare a new one in [groups] of {_file(settings)}"
        for each in further["groups"]:
            require_known("group", each, before.policy.groups, lambda: new_group)
        if name in before.policy.audiences:
            raise ConfigError([Problem(_file(settings), f"audience.{name}", "is there already; edit it there")])
        change.add_table(settings.folder / _file(settings), "audience", name, audience_text(newcomer))
        for key, collections in (("readers", reads), ("writers", posts_to)):
            for each in collections:
                change.add_to_list(change.collection_path(each), key, name)
        if drop_box:
            box = drop_box_text(name, title, next(iter(before.api_roots)))
            change.add_file(change.collection_path(newcomer.drop_box), box)
            for each in shown_in:
                change.add_to_list(change.collection_path(each), "sources", newcomer.drop_box)
        catalog = finish(change, before, dry_run, f"partner '{name}' is")
    if not catalog.reachable(name):
        out.print(f"It reads no collection yet: give --reads, or put '{name}' among the readers of one.")
    policy = catalog.policy
    if not any(rule.kind == "permit" and policy.concerns(rule, name) for rule in policy.rules):
        what = f"no [[permit]] of the policy concerns {name} (kind '{newcomer.kind}'): it reads what it posts, no more"
        out.print(f"[yellow]warning[/yellow] {escape(what)}")
    if not dry_run:
        session.suggest(
            ("reload", "in force at once; a running server also sees it by itself"),
            (f"token new {name}", "its secret, shown once"),
            (f"get /{next(iter(catalog.api_roots))}/collections/ --as {name}", "what it sees"),
        )


def _asked(option: str, question: str, kind: click.Choice[str] | None = None) -> str:
    """The answer of whoever sits at the terminal; without one, an error that says what to give."""
    if not can_ask():
        of = f": one of {', '.join(kind.choices)}" if isinstance(kind, click.Choice) else ""
        raise click.UsageError(f"Missing option '{option}'{of}. {question}.")
    return str(click.prompt(question, type=kind))


def _file(settings: Settings) -> str:
    """The configuration file that declares partners: the last one that has some, else the one called so."""
    files = read_files(settings)
    having = [name for name in settings.config_files if "audience" in tomllib.loads(files[CONFIG + name])]
    if having:
        return having[-1]
    return "partners.toml" if "partners.toml" in settings.config_files else settings.config_files[0]


def _described(catalog: Catalog, each: Audience) -> dict[str, Any]:
    rights = {name: catalog.rights(collection, each.name) for name, collection in sorted(catalog.collections.items())}
    return {
        "name": each.name,
        "title": each.title,
        "kind": each.kind,
        "countries": each.countries,
        "sector": each.sector,
        "clearance": each.clearance,
        "groups": sorted(each.groups),
        "identities": each.identities,
        "certificates": each.certificates,
        "addresses": each.addresses,
        "admin": each.admin,
        "suspended": each.suspended,
        "reads": [name for name, right in rights.items() if right.read],
        "posts_to": [name for name, right in rights.items() if right.write],
    }


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    state = " ".join(word for word in ("admin", "suspended") if each[word])
    lists = (", ".join(each[key]) for key in ("groups", "reads", "posts_to"))
    return (each["name"], each["kind"], " ".join(each["countries"]), each["clearance"], *lists, state)
