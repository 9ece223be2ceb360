"""demo: start a hub, let the vendors post, let every partner poll, and show who sees what."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from taxii_server.auth.secrets import new_token
from taxii_server.cli.context import Command, Session, err, out, pass_session
from taxii_server.cli.tables import print_rows
from taxii_server.demo.scene import POSTS, Login, bundle, poll, post
from taxii_server.errors import TaxiiServerError
from taxii_server.service.explaining import census
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings, default_file

_START_S = 30.0
#: Whose login the snippet at the end shows.
_GUEST = "cert-fr"


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="End after the table instead of leaving the server running.")
@click.option("--port", type=int, help="Port to listen on. Default: the one of server.toml, or a free one.")
@click.option("--store", "store_url", help="Use this store instead of a temporary SQLite file.")
@pass_session
def demo(session: Session, once: bool, port: int | None, store_url: str | None) -> None:
    """Run the hub with the shipped configuration and example data, and show who sees what.

    Starts a server on 127.0.0.1, posts the demo bundles through its API as the vendors, INTERPOL and two CERTs,
    polls every partner's collections with taxii2-client, and prints what each saw, what was hidden from it, and why.

    \b
    Examples:
      taxii-server demo --once
      taxii-server demo --store "mongodb://127.0.0.1:27017/demo?replicaSet=rs0"
    """
    _require_scene(session)
    with tempfile.TemporaryDirectory(prefix="taxii-server-demo-") as folder:
        store = store_url or session.flags.get("store") or str(Path(folder) / "demo.db")
        settings = session.settings(
            store=store, host="127.0.0.1", port=port or _free_port(session.settings().port), log_level="warning"
        )
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, _end)  # so that the server ends with us
        with session.hub(settings, apply=True) as hub, _serving(session, settings) as server:
            url = f"http://{settings.host}:{settings.port}"
            logins = _make_logins(hub)
            with _progress() as progress:
                held = _post_all(hub, url, logins, progress)
                polled = _poll_all(url, logins, progress)
            agreed = _print_table(hub, polled)
            _print_held(held)
            if not agreed:
                sys.exit(1)
            if not once:
                _leave_running(hub, url, logins[_GUEST], server)


def _require_scene(session: Session) -> None:
    """Raise TaxiiServerError where the partners and collections of the demo are not in the configuration."""
    where = "run it in the folder of the checkout, or with --config CHECKOUT/config/server.toml"
    if session.config is None and not default_file().exists():
        raise TaxiiServerError(f"the demo needs the configuration that is shipped, and there is none here; {where}")
    settings = session.settings()
    catalog = session.catalog(settings)
    missing = sorted(
        {name for name, _ in POSTS if name not in catalog.policy.audiences}
        | {name for _, name in POSTS if name not in catalog.collections}
    )
    if missing:
        raise TaxiiServerError(
            f"the demo is played by the partners and collections that are shipped, and this configuration lacks "
            f"{', '.join(missing)}; {where}"
        )


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _post_all(hub: Hub, url: str, logins: dict[str, Login], progress: Progress) -> dict[str, int]:
    """Collection -> how many objects its guards held back."""
    bundles = {partner: bundle(partner) for partner, _ in POSTS}
    task = progress.add_task("vendors and partners post", total=sum(map(len, bundles.values())))
    held_back: dict[str, int] = {}
    for partner, collection_name in POSTS:
        collection = hub.snapshot.catalog.collections[collection_name]
        for stored, held, refused in post(url, logins[partner], collection.id, bundles[partner]):
            progress.advance(task, stored + held + refused)
            if refused:
                raise TaxiiServerError(f"{refused} demo objects of {partner} were refused")
            if held:
                held_back[collection_name] = held_back.get(collection_name, 0) + held
    return held_back


def _poll_all(url: str, logins: dict[str, Login], progress: Progress) -> dict[str, dict[str, int]]:
    """Partner -> collection id -> objects that its client got."""
    task = progress.add_task("partners poll", total=len(logins))
    polled: dict[str, dict[str, int]] = {}
    for partner, login in logins.items():
        polled[partner] = poll(url, login, lambda pages: None)
        progress.advance(task)
    return polled


def _print_table(hub: Hub, polled: dict[str, dict[str, int]]) -> bool:
    """Print what each partner saw; False when a client got another number than the policy says it may read."""
    names = {collection.id: collection.name for collection in hub.snapshot.catalog.collections.values()}
    rows = []
    agreed = True
    for partner, counts in polled.items():
        for collection_id, count in counts.items():
            counted = census(hub, partner, names[collection_id])
            top = f"{counted.reasons[0][0]} ({counted.reasons[0][1]})" if counted.reasons else ""
            rows.append((partner, names[collection_id], str(count), str(counted.hidden), top))
            if counted.visible != count:
                agreed = False
                err.print(
                    f"[red]error[/red] {partner} got {count} objects of {names[collection_id]}, not {counted.visible}"
                )
    out.print("Who sees what", style="bold")
    print_rows(("partner", "collection", "visible", "hidden", "reason most often met"), rows, numbers=(2, 3))
    return agreed


def _print_held(held: dict[str, int]) -> None:
    for name, count in held.items():
        out.print(
            f"{count} objects that name customers are held in the quarantine of {name}: only its owner sees them."
        )


def _leave_running(hub: Hub, url: str, login: Login, server: subprocess.Popen[bytes]) -> None:
    collection = hub.snapshot.catalog.collections[_GUEST]
    out.print(
        f"\nThe server runs at [bold]{url}/taxii2/[/bold]. Poll as {login.partner} (pip install taxii2-client):\n"
    )
    click.echo(
        f"""from taxii2client.v21 import Collection, as_pages

collection = Collection(
    "{url}/hub/collections/{collection.id}/",
    user="{login.partner}",
    password="{login.secret}",
)
for page in as_pages(collection.get_objects, per_request=100):
    for stix in page.get("objects", []):
        print(stix["type"], stix.get("name", stix["id"]))
"""
    )
    out.print("or with curl:\n")
    click.echo(
        f"curl -s -u '{login.partner}:{login.secret}' -H 'Accept: application/taxii+json;version=2.1' \\\n"
        f"  '{url}/hub/collections/{collection.id}/objects/?limit=5'\n"
    )
    if hub.settings.has_console:
        out.print(f"or in a browser, with the same name and secret: {url}/console/\n")
    out.print("Ctrl-C ends it.")
    try:
        server.wait()
    except KeyboardInterrupt:
        err.print("stopping")


def _make_logins(hub: Hub) -> dict[str, Login]:
    logins: dict[str, Login] = {}
    for partner in hub.snapshot.catalog.policy.audiences:
        credential, secret = new_token(partner, "demo")
        hub.store.save_credential(credential)
        logins[partner] = Login(partner, secret)
    time.sleep(hub.settings.refresh_s * 2)  # the server looks for new credentials this often
    return logins


@contextmanager
def _serving(session: Session, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A server process with these settings, ready to answer; ended by its process id."""
    command = [sys.executable, "-m", "taxii_server"]
    if session.config is not None:
        command += ["--config", str(session.config)]
    command += ["--store", settings.store, "serve", "--host", settings.host, "--port", str(settings.port)]
    environment = {**os.environ, "TAXII_SERVER_LOG_LEVEL": settings.log_level}
    with (
        tempfile.TemporaryFile() as log,
        # Its own session: Ctrl-C reaches this process, which then ends the server in good order.
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as server,  # noqa: S603
    ):
        try:
            _wait_until_ready(server, settings, log)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(settings.shutdown_grace_s + 5)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_until_ready(server: subprocess.Popen[bytes], settings: Settings, log: IO[bytes]) -> None:
    url = f"http://{settings.host}:{settings.port}/readyz"
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            log.seek(0)
            raise TaxiiServerError(f"the server ended at once:\n{log.read().decode(errors='replace')}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TaxiiServerError(f"the server did not answer within {_START_S:.0f} s at {url}")


@contextmanager
def _progress() -> Iterator[Progress]:
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        yield progress


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise TaxiiServerError("no free port on 127.0.0.1")
