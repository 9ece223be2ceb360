"""token and password: the credentials of partners."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import orjson
from rich.markup import escape

from taxii_server.auth.secrets import OPERATOR, TOKEN, expiry_of, new_password, new_token
from taxii_server.cli.context import Command, Session, err, out, pass_session, progress_bar, require_partner
from taxii_server.cli.naming import PARTNER, can_ask
from taxii_server.cli.tables import json_option, print_found, print_json
from taxii_server.model import POSITION_MAX, Credential
from taxii_server.service.hub import Hub
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import LedgerQuery
from taxii_server.times import format_position, parse_instant

_TITLES = ("id", "partner", "kind", "created", "expires", "state", "last used", "comment")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
#: How far back the last use is looked for, in steps: who was here today need not be looked for last year.
_LOOK_BACK_DAYS = (1, 8, 64)
_DAY_US = 86_400_000_000
#: A password of fewer characters is worth a warning.
_SHORT = 12


def _end(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    """A moment to come, given as such or by how long it is until then."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})([hdw])", text)
    try:
        now = datetime.now(UTC)
        end = (
            now + int(found[1]) * _UNITS[found[2]] if found else datetime.fromtimestamp(parse_instant(text) / 1e6, UTC)
        )
    except (ValueError, OverflowError):
        raise click.BadParameter(f"'{text}' is neither a time such as 2027-01-31T12:00:00Z nor 12h, 90d, 26w") from None
    if end <= now:
        raise click.BadParameter(f"{text} has passed already")
    return end


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of partners."""


@token.command("new", cls=Command)
@click.argument("partner", type=PARTNER)
@click.option(
    "--comment", default="", help="What it is for; 'token list' shows it, and the partner sees it among its rights."
)
@click.option("--expires", callback=_end, metavar="WHEN", help="90d, 12h, 26w, or a time (RFC 3339). Default: never.")
@click.option(
    "--operator", is_flag=True, help="For a person who runs the hub: opens the console's pages for operators."
)
@click.option("--quiet", is_flag=True, help="Print the secret and nothing else, for scripts.")
@json_option
@pass_session
def new(
    session: Session, partner: str, comment: str, expires: datetime | None, operator: bool, quiet: bool, as_json: bool
) -> None:
    """Make a token for PARTNER and print its secret once.

    The secret is stored nowhere. The partner sends it as Bearer token, or as password of HTTP Basic with
    its own name as user. Running servers know it within a second.

    With --operator it is for a person, who logs in to the console with PARTNER's name and sees what PARTNER sees and,
    besides, the pages for operators: partners, policy, ledger, all that is hidden. The API does not take such a token.

    \b
    Examples:
      taxii-server token new cert-fr --comment "MISP in Paris" --expires 90d
      taxii-server token new interpol --operator --comment "Anna, operations"
    """
    with session.hub(new=True) as hub:
        require_partner(hub, partner)
        credential, secret = new_token(partner, comment, expires, OPERATOR if operator else TOKEN)
        hub.store.save_credential(credential)
    if as_json:
        print_json({**_described(credential, None), "secret": secret})
        return
    if quiet:
        click.echo(secret)
        return
    until = f", good until {_expires(credential)}" if expires else ""
    out.print(f"Token {credential.id} for {partner}{until}. It is shown this once:\n")
    click.echo(f"  {secret}\n")
    if operator:
        out.print(f"Log in to the console at /console/ with the name {partner} and this token. It opens nothing else.")
        return
    out.print(f"Bearer: Authorization: Bearer <token>     Basic: user {partner}, password <token>")


@token.command("list", cls=Command)
@click.option("--all", "everything", is_flag=True, help="Revoked and expired ones too.")
@click.option("--partner", "only", type=PARTNER, help="Only the credentials of this partner.")
@click.option("--last-used", is_flag=True, help="Also when each was used last, from the ledger; takes a while.")
@json_option
@pass_session
def list_(session: Session, everything: bool, only: str | None, last_used: bool, as_json: bool) -> None:
    """List credentials; never their secrets.

    \b
    Example:
      taxii-server token list --all
    """
    with session.hub() as hub:
        if only is not None:
            require_partner(hub, only)
        found = [
            each
            for each in hub.store.credentials()
            if only in (None, each.partner) and (everything or _state(each) == "good")
        ]
        used = _last_used(hub.store, found) if last_used else {}
    listed = [_described(each, used.get(each.id)) for each in found]
    print_found(as_json, "credentials", _TITLES, map(_row, listed), listed)


@token.command(cls=Command)
@click.argument("credential_id")
@pass_session
def revoke(session: Session, credential_id: str) -> None:
    """Revoke the token or password with this id; running servers refuse it within a second.

    \b
    Example:
      taxii-server token revoke 3f1c0a9b7d52
    """
    with session.hub() as hub:
        found = hub.store.revoke_credential(credential_id)
        known = [] if found else [each.id for each in hub.store.credentials() if not each.revoked]
    if not found:
        near = difflib.get_close_matches(credential_id, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        message = f"no credential '{credential_id}'{hint}; 'taxii-server token list' shows them"
        err.print(f"[red]error[/red] {escape(message)}")
        sys.exit(1)
    out.print(f"[green]ok[/green] {escape(credential_id)} is revoked")


def _state(credential: Credential) -> str:
    expiry = expiry_of(credential)
    if credential.revoked:
        return "revoked"
    return "expired" if expiry is not None and expiry <= datetime.now(UTC) else "good"


def _expires(credential: Credential) -> str:
    expiry = expiry_of(credential)
    return "" if expiry is None else expiry.isoformat(timespec="seconds")


def _described(credential: Credential, used: int | None) -> dict[str, Any]:
    return {
        "id": credential.id,
        "partner": credential.partner,
        "kind": credential.kind,
        "created": credential.created,
        "expires": _expires(credential) or None,
        "state": _state(credential),
        "last_used": None if used is None else format_position(used),
        "comment": credential.comment,
    }


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    return tuple(value or "" for value in each.values())


def _last_used(store: Store, credentials: Iterable[Credential]) -> dict[str, int]:
    """Credential id -> the time (µs) of its last request in the ledger, as far as the ledger has one.

    The newest days first; it ends when every credential was seen.
    """
    wanted: dict[str, set[str]] = {}
    for each in credentials:
        wanted.setdefault(each.partner, set()).add(each.id)
    now = store.present()
    starts = [*(now - days * _DAY_US for days in _LOOK_BACK_DAYS), 0]
    found: dict[str, int] = {}
    with progress_bar("looking at the ledger", len(wanted) * len(starts)) as advance:
        done = 0
        for partner, ids in wanted.items():
            until = POSITION_MAX
            for start in starts:
                done += 1
                if ids - found.keys():
                    for entry in store.ledger.find(LedgerQuery(partner=partner, since=start, until=until)):
                        id_ = orjson.loads(entry.facts).get("credential")
                        if id_ in ids:
                            found[id_] = max(entry.time, found.get(id_, 0))
                until = start - 1
                advance(done)
    return found


def _password(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """The password: as given, asked for twice at a terminal, or else the first line of standard input."""
    if value is not None:
        return value
    if can_ask():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    found = sys.stdin.readline().rstrip("\r\n")
    if not found:
        raise click.UsageError("there is no terminal to ask for the password at: pipe it in, or give --password")
    return found


@click.group()
def password() -> None:
    """Set passwords for clients that cannot use tokens."""


@password.command("set", cls=Command)
@click.argument("partner", type=PARTNER)
@click.option("--user", help="User name of HTTP Basic. Default: the partner's name.")
@click.option(
    "--password",
    callback=_password,
    help="Asked for when not given, or read from standard input; prefer that, the command line is visible to others.",
)
@pass_session
def set_(session: Session, partner: str, user: str | None, password: str) -> None:
    """Set the password of a user of PARTNER (HTTP Basic). Revoke it with 'token revoke USER'.

    \b
    Examples:
      taxii-server password set cert-fr --user analyst
      taxii-server password set cert-fr --user analyst < password.txt
    """
    name = user or partner
    with session.hub(new=True) as hub:
        require_partner(hub, partner)
        _require_own(hub, partner, name)
        hub.store.save_credential(new_password(partner, name, password))
    out.print(f"[green]ok[/green] user {escape(name)} of {partner} has a new password")
    if len(password) < _SHORT:
        few = "1 character is" if len(password) == 1 else f"{len(password)} characters are"
        err.print(f"[yellow]warning[/yellow] {few} soon guessed; a token cannot be guessed")


def _require_own(hub: Hub, partner: str, name: str) -> None:
    """Raise UsageError where the name of a user would let somebody else's clients in as this partner."""
    owner = name if name in hub.snapshot.catalog.policy.audiences else partner
    owner = next((each.partner for each in hub.store.credentials() if each.id == name), owner)
    if owner != partner:
        raise click.UsageError(f"the user name '{name}' is one of {owner}; choose another one with --user")
