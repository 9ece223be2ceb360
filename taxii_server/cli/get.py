"""get: what a partner's client would be answered, without a server and without its secret."""

from __future__ import annotations

import dataclasses
import sys

import click
import orjson

from taxii_server.app import create_app
from taxii_server.cli.context import Command, Session, err, pass_session, require_partner
from taxii_server.cli.naming import PARTNER
from taxii_server.web.context import COMMAND_LINE
from taxii_server.web.media import TAXII


@click.command(cls=Command)
@click.argument("path")
@click.option("--as", "partner", required=True, type=PARTNER, help="Whose request it is.")
@pass_session
def get(session: Session, path: str, partner: str) -> None:
    """Print the answer to GET PATH as PARTNER would get it: body on stdout, status and headers on stderr.

    The same code as the server's, under the configuration in force. Exit status 1 when it is an error.

    \b
    Example:
      taxii-server get /hub/collections/ --as cert-fr
    """
    settings = session.settings()
    with session.hub(settings) as hub:
        require_partner(hub, partner)
        app = create_app(
            dataclasses.replace(settings, anonymous_partner=partner, auth_certificate="off"),
            hub.store,
            background=False,
        )
        answer = app.test_client().get(path, headers={"Accept": TAXII}, environ_overrides={COMMAND_LINE: True})
        err.print(f"{answer.status}", markup=False)
        for name, value in answer.headers.items():
            err.print(f"{name}: {value}", markup=False)
        body = answer.get_data()
        click.echo(orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) if body[:1] == b"{" else body)
    sys.exit(0 if answer.status_code < 400 else 1)
