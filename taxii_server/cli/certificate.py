"""certificate: by which names partners.toml can know a client certificate."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509

from taxii_server.certificates import names_of
from taxii_server.cli.context import Command
from taxii_server.cli.tables import json_option, print_json
from taxii_server.errors import ConfigError, Problem


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def certificate(file: Path, as_json: bool) -> None:
    """Print the names of the first certificate in a PEM FILE, one a line, for `certificates` in partners.toml.

    The fingerprint names this one certificate and needs no CA. The others go on when it is renewed, and need a CA
    that gives them to nobody else (tls_client_ca).

    \b
    Example:
      taxii-server certificate partner.pem
    """
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except ValueError as error:
        raise ConfigError([Problem(str(file), "", "holds no certificate in PEM form")]) from error
    names = list(names_of(found))
    if as_json:
        print_json({"names": names, "not_after": found.not_valid_after_utc.isoformat()})
        return
    for name in names:
        click.echo(name)
