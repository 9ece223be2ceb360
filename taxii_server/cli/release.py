"""release: what partners release of their own objects, filed and withdrawn by an operator in their name."""

from __future__ import annotations

import getpass

import click
from rich.markup import escape

from taxii_server.catalog import ReleaseEntry, read_releases
from taxii_server.cli.context import Command, Session, err, out, pass_session, require_partner
from taxii_server.cli.naming import PARTNER
from taxii_server.cli.tables import json_option, print_found
from taxii_server.errors import ConfigError, NotFound
from taxii_server.service.explaining import explain
from taxii_server.service.hub import Hub
from taxii_server.service.releasing import ReleaseRefused, Request, file_release, withdraw_release
from taxii_server.times import format_position, parse_instant

_TITLES = ("id", "by", "to", "objects", "not before", "until", "why", "where")


def _moment(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """A time, as µs since 1970."""
    if text is None:
        return None
    try:
        us = parse_instant(text)
        format_position(us)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a time such as 2026-01-31T12:00:00Z") from None
    return us


@click.group()
def release() -> None:
    """List, file and withdraw what partners release of their own objects."""


@release.command("list", cls=Command)
@click.option("--by", "partner", type=PARTNER, help="Only the releases of this partner.")
@json_option
@pass_session
def list_(session: Session, partner: str | None, as_json: bool) -> None:
    """List the releases in force: those that were filed, and those in the files of the configuration.

    \b
    Example:
      taxii-server release list --by cisco-talos
    """
    with session.hub() as hub:
        if partner is not None:
            require_partner(hub, partner)
        in_force = hub.store.catalog()
    found = () if in_force is None else read_releases(in_force.files)
    found = tuple(sorted((each for each in found if partner in (None, each.by)), key=lambda each: (each.by, each.id)))
    print_found(as_json, "releases", _TITLES, map(_row, found), map(_as_json, found))


@release.command("file", cls=Command)
@click.option(
    "--as",
    "partner",
    required=True,
    metavar="PARTNER",
    type=PARTNER,
    help="The originator: who posted the objects.",
)
@click.option("--object", "objects", required=True, multiple=True, metavar="ID", help="An object; may be repeated.")
@click.option(
    "--to-audience",
    "audiences",
    multiple=True,
    metavar="PARTNER",
    type=PARTNER,
    help="Who may read; may be repeated.",
)
@click.option("--to-group", "groups", multiple=True, metavar="GROUP", help="A group that may read; may be repeated.")
@click.option("--not-before", callback=_moment, metavar="TIME", help="First moment it holds. Default: at once.")
@click.option("--until", callback=_moment, metavar="TIME", help="Moment it ends. Default: when it is withdrawn.")
@click.option("--why", default="", metavar="TEXT", help="The reason, in one line.")
@click.option("--id", "local_id", metavar="ID", help="Its id below the partner's name. Default: the year and a number.")
@pass_session
def file(
    session: Session,
    partner: str,
    objects: tuple[str, ...],
    audiences: tuple[str, ...],
    groups: tuple[str, ...],
    not_before: int | None,
    until: int | None,
    why: str,
    local_id: str | None,
) -> None:
    """File a release in the name of PARTNER, of objects that it posted.

    Anybody can be addressed here; over the API a partner reaches only those that it may know. The partner sees
    the release, those it is for included, and can withdraw it.

    \b
    Example:
      taxii-server release file --as cisco-talos --to-audience cert-fr --until 2027-01-01T00:00:00Z \\
        --object indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f
    """
    request = Request(objects, audiences, groups, not_before, until, why, local_id)
    with session.hub() as hub:
        require_partner(hub, partner)
        try:
            filed = file_release(hub, partner, request, getpass.getuser(), anybody=True)
        except ReleaseRefused as error:
            raise ConfigError(error.problems) from error
        out.print(f"[green]ok[/green] release {escape(filed.id)} is in force")
        if not_before is None:
            _warn(hub, filed)


def _warn(hub: Hub, filed: ReleaseEntry) -> None:
    """Say who is named and still does not read it: a release lifts TLP:RED and ORCON, and nothing else."""
    audiences = hub.snapshot.catalog.policy.audiences
    for name in sorted(audiences):
        if name not in filed.audiences and audiences[name].groups.isdisjoint(filed.groups):
            continue
        for object_id in filed.objects:
            versions = explain(hub, name, object_id)
            if not any(version.served for version in versions):
                text = f"{name} still does not get {object_id}: {versions[-1].outcome.text}"
                err.print(f"[yellow]warning[/yellow] {escape(text)}")


@release.command("withdraw", cls=Command)
@click.argument("release_id", metavar="ID")
@click.option(
    "--as",
    "partner",
    metavar="PARTNER",
    type=PARTNER,
    help="Whose it is. Not needed when ID is written PARTNER/ID.",
)
@pass_session
def withdraw(session: Session, release_id: str, partner: str | None) -> None:
    """Withdraw a release that was filed. Those in the files of the configuration are taken out there.

    Works also while the configuration on disk is refused because of the release.

    \b
    Example:
      taxii-server release withdraw cisco-talos/2026-001
    """
    owner, _, local = release_id.rpartition("/")
    if not (partner or owner):
        raise click.UsageError("whose release is it? Write PARTNER/ID, as 'release list' does, or name it with --as")
    if owner and partner not in (None, owner):
        raise click.UsageError(f"'{release_id}' is a release of '{owner}', not of '{partner}'")
    with session.hub() as hub:
        try:
            withdraw_release(hub, partner or owner, local, getpass.getuser())
        except NotFound:
            raise NotFound(f"no release '{release_id}'; 'taxii-server release list' shows them") from None
    out.print(f"[green]ok[/green] release {escape(release_id)} is withdrawn")


def _row(each: ReleaseEntry) -> tuple[str, ...]:
    to = (*each.audiences, *(f"group:{name}" for name in each.groups))
    objects = ", ".join(each.objects[:3]) + (f" and {len(each.objects) - 3} more" if len(each.objects) > 3 else "")
    return (each.id, each.by, ", ".join(to), objects, _time(each.not_before), _time(each.until), each.why, each.file)


def _as_json(each: ReleaseEntry) -> dict[str, object]:
    return {
        "id": each.id,
        "by": each.by,
        "objects": each.objects,
        "to": {"audience": each.audiences, "group": each.groups},
        "not_before": _time(each.not_before) or None,
        "until": _time(each.until) or None,
        "why": each.why,
        "file": each.file,
    }


def _time(us: int | None) -> str:
    return "" if us is None else format_position(us)
