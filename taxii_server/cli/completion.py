"""completion: what a shell needs to complete commands, options, partners and collections."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from taxii_server.cli.context import Command

_PROGRAM = "taxii-server"
_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, partners and collections in SHELL.

    Names come from the configuration that --config, TAXII_SERVER_CONFIG or the folder names.

    \b
    Examples:
      taxii-server completion bash > ~/.local/share/bash-completion/completions/taxii-server
      taxii-server completion zsh > "${fpath[1]}/_taxii-server"
      taxii-server completion fish > ~/.config/fish/completions/taxii-server.fish
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    variable = f"_{_PROGRAM}_COMPLETE".replace("-", "_").upper()
    click.echo(made(ctx.find_root().command, {}, _PROGRAM, variable).source())
