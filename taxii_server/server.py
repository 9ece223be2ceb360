"""The server process: gunicorn with worker processes of several threads, around create_app.

Why gunicorn with threads: it replaces a killed worker, reloads and stops without dropping requests, refuses
ambiguous request framing, and its own errors can be given our form. Threads rather than greenlets because
SQLite and argon2 are C code that would stop every greenlet of a worker; docs/server.md has the comparison.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from taxii_server.app import create_app
from taxii_server.settings import Settings
from taxii_server.worker import MAX_LINE_BYTES, GuardedBody, TaxiiWorker


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, set up from our settings. `on_reload` runs in the parent on SIGHUP, before new workers start."""

    def __init__(self, settings: Settings, on_reload: Callable[[], None]) -> None:
        self._settings = settings
        self._on_reload = on_reload
        super().__init__()

    def load_config(self) -> None:
        """Our settings in gunicorn's words."""
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"{settings.host}:{settings.port}",
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": TaxiiWorker,
            "proc_name": "taxii-server",
            "timeout": 120,
            "graceful_timeout": math.ceil(settings.shutdown_grace_s),
            "keepalive": 15,
            "limit_request_line": MAX_LINE_BYTES,
            "limit_request_fields": 64,
            "limit_request_field_size": 16384,
            "control_socket_disable": True,
            "loglevel": settings.log_level,
            "on_reload": lambda server: self._on_reload(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, made in each worker after the fork: threads and connections do not survive one."""
        application = GuardedBody(create_app(self._settings))
        spare_the_collector()
        return application


def spare_the_collector() -> None:
    """Keep Python's collector of cycles from looking at what stays for the life of the process, and call it less often.

    A page makes thousands of tuples that die without it; with the default it runs several times for each (a sixth of
    the CPU time of a page of 1,000, measured). Cycles are still found, after 20,000 allocations instead of 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
