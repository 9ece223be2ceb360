"""token and password: the credentials of partners."""

from __future__ import annotations

import sys

import click
from rich.markup import escape
from rich.table import Table

from taxii_server.auth.secrets import OPERATOR, TOKEN, new_password, new_token
from taxii_server.cli.context import Command, Session, err, out, pass_session, require_partner


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of partners."""


@token.command("new", cls=Command)
@click.argument("partner")
@click.option(
    "--comment", default="", help="What it is for; 'token list' shows it, and the partner sees it among its rights."
)
@click.option("--operator", is_flag=True, help="For a person who runs the hub: opens the console's pages for operators.")
@click.option("--quiet", is_flag=True, help="Print the secret and nothing else, for scripts.")
@pass_session
def new(session: Session, partner: str, comment: str, operator: bool, quiet: bool) -> None:
    """Make a token for PARTNER and print its secret once.

    The secret is stored nowhere. The partner sends it as Bearer token, or as password of HTTP Basic with
    its own name as user. Running servers know it within a second.

    With --operator it is for a person, who logs in to the console with PARTNER's name and sees what PARTNER sees and,
    besides, the pages for operators: partners, policy, ledger, all that is hidden. The API does not take such a token.

    \b
    Examples:
      taxii-server token new cert-fr --comment "MISP in Paris"
      taxii-server token new interpol --operator --comment "Anna, operations"
    """
    with session.hub() as hub:
        require_partner(hub, partner)
        credential, secret = new_token(partner, comment, OPERATOR if operator else TOKEN)
        hub.store.save_credential(credential)
    if quiet:
        click.echo(secret)
        return
    out.print(f"Token {credential.id} for {partner}. It is shown this once:\n")
    click.echo(f"  {secret}\n")
    if operator:
        out.print(f"Log in to the console at /console/ with the name {partner} and this token. It opens nothing else.")
        return
    out.print(f"Bearer: Authorization: Bearer <token>     Basic: user {partner}, password <token>")


@token.command("list", cls=Command)
@click.option("--all", "everything", is_flag=True, help="Revoked ones too.")
@pass_session
def list_(session: Session, everything: bool) -> None:
    """List credentials; never their secrets.

    \b
    Example:
      taxii-server token list --all
    """
    with session.hub() as hub:
        table = Table()
        for title in ("id", "partner", "kind", "created", "revoked", "comment"):
            table.add_column(title, overflow="fold")
        for each in hub.store.credentials():
            if everything or not each.revoked:
                revoked = "yes" if each.revoked else ""
                row = (each.id, each.partner, each.kind, each.created, revoked, each.comment)
                table.add_row(*map(escape, row))
    out.print(table)


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
    if not found:
        err.print(f"[red]error[/red] no credential '{escape(credential_id)}'; 'taxii-server token list' shows them")
        sys.exit(1)
    out.print(f"[green]ok[/green] {escape(credential_id)} is revoked")


@click.group()
def password() -> None:
    """Set passwords for clients that cannot use tokens."""


@password.command("set", cls=Command)
@click.argument("partner")
@click.option("--user", help="User name of HTTP Basic. Default: the partner's name.")
@click.password_option(help="Asked for when not given; prefer that, the command line is visible to others.")
@pass_session
def set_(session: Session, partner: str, user: str | None, password: str) -> None:
    """Set the password of a user of PARTNER (HTTP Basic). Revoke it with 'token revoke USER'.

    \b
    Example:
      taxii-server password set cert-fr --user analyst
    """
    with session.hub() as hub:
        require_partner(hub, partner)
        hub.store.save_credential(new_password(partner, user or partner, password))
    out.print(f"[green]ok[/green] user {escape(user or partner)} of {partner} has a new password")
