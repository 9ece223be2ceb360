"""serve: check everything, put it in force, then answer requests."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from taxii_server.auth.provider import require_keys
from taxii_server.catalog import read_files
from taxii_server.cli.context import Command, Session, err, pass_session
from taxii_server.cli.listening import require_address
from taxii_server.cli.watch import Watcher
from taxii_server.errors import ConfigError, StorageError
from taxii_server.logs import set_up_logs
from taxii_server.metering import NO_METER, RELOAD_OK, RELOADED_AT, Meter
from taxii_server.server import Server
from taxii_server.service.hub import Hub
from taxii_server.serving.tls import make_context, warnings_of
from taxii_server.settings import Settings, masked
from taxii_server.storage import store_of
from taxii_server.telemetry.prometheus import open_meter
from taxii_server.telemetry.tracing import require_tracing

_log = logging.getLogger(__name__)


@click.command(cls=Command)
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--workers", type=int, help="Worker processes.")
@pass_session
def serve(session: Session, /, **flags: Any) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    A configuration that does not hold stops the start. Later, files that are edited are put in force by themselves
    (unless watch_config is off), and SIGHUP reads them again; then a broken one leaves the old one in force.
    Finishes running requests before it stops.

    \b
    Example:
      taxii-server --store mongodb://db1,db2,db3/taxii?replicaSet=rs0 serve --port 6100
    """
    settings = session.settings(**flags)
    make_context(settings)
    set_up_logs(settings.log_format, settings.log_level)
    require_keys(settings)
    if settings.tracing:
        require_tracing()
    require_address(settings.host, settings.port)
    with session.hub(settings, apply=True) as hub:
        partners = len(hub.snapshot.catalog.policy.audiences)
        collections = len(hub.snapshot.catalog.collections)
    for line in (
        f"{partners} partners, {collections} collections; store {masked(settings.store)}",
        f"discovery at {server_url(settings)}/taxii2/",
    ):
        if settings.log_format == "json":
            _log.info("%s", line)
        else:
            err.print(f"taxii-server: {line}")
    for warning in warnings_of(settings):
        _log.warning("%s", warning)

    with served_metrics(settings) as meter:

        def again(applied_by: str) -> None:
            apply_again(settings, lambda: session.settings(**flags), applied_by, meter)

        if settings.watch_config:
            Watcher(settings, lambda: again("edited files")).start()
        Server(settings, lambda: again("SIGHUP"), meter).run()


@contextmanager
def served_metrics(settings: Settings) -> Iterator[Meter]:
    """What counts in all processes of the server, removed at the end. Without metrics, nothing counts."""
    if not settings.metrics:
        yield NO_METER
        return
    meter, parent = open_meter(), os.getpid()
    try:
        yield meter
    finally:
        if os.getpid() == parent:  # workers come by here as well
            meter.remove()


def server_url(settings: Settings) -> str:
    """Where the server listens."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_certificate else 'http'}://{host}:{settings.port}"


def apply_again(
    running: Settings, read_settings: Callable[[], Settings], applied_by: str = "SIGHUP", meter: Meter = NO_METER
) -> None:
    """Put the files on disk in force; when they do not hold, say why and leave the old configuration in force.

    Of server.toml this takes over the API roots and the names of the files; other settings wait for a start.
    """
    try:
        settings = read_settings()
        store = store_of(running)
        try:
            applied = Hub(settings, store, meter).apply(lambda: read_files(read_settings()), applied_by)
        finally:
            store.close()
    except (ConfigError, StorageError) as error:
        meter.set(RELOAD_OK, 0)
        _log.error("the old configuration stays in force; the new one does not hold:\n%s", error)
    else:
        meter.set(RELOAD_OK, 1)
        meter.set(RELOADED_AT, time.time())
        _log.info("configuration %s is in force (epoch %d)", applied.digest[:12], applied.epoch)
    meter.flush()
