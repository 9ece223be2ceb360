"""The command line. Each command is a short script over the hub; what it prints is for a person."""

from __future__ import annotations

from pathlib import Path

import click

from taxii_server import __version__
from taxii_server.cli.backup import backup, restore
from taxii_server.cli.certificate import certificate
from taxii_server.cli.check import check, reload
from taxii_server.cli.collection import collection
from taxii_server.cli.completion import completion
from taxii_server.cli.context import Session
from taxii_server.cli.data import export, import_
from taxii_server.cli.demo import demo
from taxii_server.cli.doctor import doctor
from taxii_server.cli.explain import explain
from taxii_server.cli.get import get
from taxii_server.cli.init import init
from taxii_server.cli.ledger import ledger
from taxii_server.cli.migrate import migrate
from taxii_server.cli.mirror import mirror
from taxii_server.cli.overview import Program
from taxii_server.cli.partner import partner
from taxii_server.cli.policy import policy, who_can
from taxii_server.cli.quarantine import quarantine
from taxii_server.cli.release import release
from taxii_server.cli.retention import retention
from taxii_server.cli.serve import serve
from taxii_server.cli.token import password, token
from taxii_server.cli.verify import verify


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="server.toml to use. Default: $TAXII_SERVER_CONFIG, else config/server.toml here.",
)
@click.option("--store", help="SQLite file or mongodb:// URL, instead of the one in server.toml.")
@click.version_option(__version__, prog_name="taxii-server")
@click.pass_context
def main(ctx: click.Context, config: Path | None, store: str | None) -> None:
    """A TAXII 2.1 hub whose policy decides, per object, what each partner may read."""
    ctx.obj = Session(config, {"store": store} if store else {})


for command in (
    init, serve, demo, check, doctor, reload, partner, collection,
    token, password, certificate, policy, quarantine, release, who_can, ledger, explain,
    get, import_, export, backup, restore, verify, retention, completion,
    mirror, migrate,
):  # fmt: skip
    main.add_command(command)
