"""The server process: gunicorn with worker processes of several threads, around create_app.

Why gunicorn with threads: it replaces a killed worker, reloads and stops without dropping requests, refuses
ambiguous request framing, and its own errors can be given our form. Threads rather than greenlets because
SQLite and argon2 are C code that would stop every greenlet of a worker; the README has the comparison.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import orjson
from gunicorn.app.base import BaseApplication
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

from taxii_server.app import create_app
from taxii_server.settings import Settings
from taxii_server.web.media import TAXII

_log = logging.getLogger(__name__)


class TaxiiWorker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker whose own errors (what never reaches the application) are TAXII error resources."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what gunicorn could not parse; the connection ends."""
        if isinstance(exc, LimitRequestLine):
            status, title = 414, "URI Too Long"
        elif isinstance(exc, LimitRequestHeaders):
            status, title = 431, "Request Header Fields Too Large"
        elif isinstance(exc, ParseException):
            status, title = 400, "Bad Request"
        else:
            status, title = 500, "Internal Server Error"
            _log.error("a request failed outside the application", exc_info=exc)
        body = orjson.dumps({"title": title, "http_status": str(status)})
        head = (
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {TAXII}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body)
        except OSError:
            _log.debug("the client of a bad request is gone")


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
            "limit_request_line": 8190,
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
        return create_app(self._settings)
