"""The server process: gunicorn with worker processes of several threads, around create_app.

Why gunicorn with threads: it replaces a killed worker, reloads and stops without dropping requests, refuses
ambiguous request framing, and its own errors can be given our form. Threads rather than greenlets because
SQLite and argon2 are C code that would stop every greenlet of a worker; docs/server.md has the comparison.
"""

from __future__ import annotations

import gc
import logging
import math
import mmap
import signal
import ssl
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from taxii_server.app import create_app
from taxii_server.auth.shared import Table
from taxii_server.errors import ConfigError
from taxii_server.logs import JsonFormatter
from taxii_server.metering import NO_METER, Meter
from taxii_server.serving.clients import KEPT_S
from taxii_server.serving.connection import MAX_LINE_BYTES
from taxii_server.serving.tls import make_context
from taxii_server.serving.worker import TaxiiWorker
from taxii_server.settings import Settings
from taxii_server.storage import is_spoilt_by_fork
from taxii_server.telemetry.prometheus import PrometheusMeter
from taxii_server.telemetry.tracing import Tracing, open_tracing

_log = logging.getLogger(__name__)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, set up from our settings. `on_reload` runs in the parent on SIGHUP, before new workers start.

    Raises ConfigError when the files of TLS do not hold.
    """

    def __init__(self, settings: Settings, on_reload: Callable[[], None], meter: Meter = NO_METER) -> None:
        self.settings = settings
        self.meter = meter
        #: what workers look at to know that the whole server stops, and not only they
        self._stopping = mmap.mmap(-1, 1)
        #: what workers speak TLS with; they take it over when they are forked
        self.context: ssl.SSLContext | None = make_context(settings)
        self._on_reload = on_reload
        # Before the fork: what every worker of this server counts in.
        self._table = Table()
        super().__init__()

    def load_config(self) -> None:
        """Our settings in gunicorn's words."""
        settings = self.settings
        options: dict[str, Any] = {
            "bind": [_bound(settings.host, settings.port), *self._for_machines()],
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": TaxiiWorker,
            "proc_name": "taxii-server",
            "timeout": 120,
            "graceful_timeout": math.ceil(settings.shutdown_delay_s + settings.shutdown_grace_s),
            "keepalive": int(KEPT_S),
            "worker_connections": settings.max_connections,
            # Whom to believe is decided in web/forwarded.py. gunicorn would trust every process on this machine.
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            # TLS itself is done by our worker; this makes gunicorn's log say https.
            "certfile": settings.tls_certificate or None,
            "limit_request_line": MAX_LINE_BYTES,
            "limit_request_fields": 64,
            "limit_request_field_size": 16384,
            "control_socket_disable": True,
            "loglevel": settings.log_level,
            "logger_class": _JsonLog if settings.log_format == "json" else Logger,
            "on_reload": lambda server: self._reload(),
            "child_exit": lambda server, worker: self._bury(worker.pid),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, made in each worker after the fork: threads and connections do not survive one."""
        if is_spoilt_by_fork():
            _log.warning("this worker was forked while the configuration was being applied; another one comes for it")
            sys.exit(1)
        application = create_app(self.settings, table=self._table, meter=self.meter, tracing=self._tracing())
        spare_the_collector()
        return application

    def run(self) -> None:
        """Serve until the order to stop."""
        try:
            _Arbiter(self).run()
        except RuntimeError as error:
            _log.error("%s", error)
            sys.exit(1)

    def stop(self) -> None:
        """Tell the workers that there will be no others after them."""
        self._stopping[0] = 1

    def is_stopping(self) -> bool:
        """Whether the whole server stops."""
        return self._stopping[0] != 0

    def _tracing(self) -> Tracing | None:
        return open_tracing() if self.settings.tracing else None

    def _for_machines(self) -> list[str]:
        settings = self.settings
        return [_bound(settings.metrics_host, settings.metrics_port)] if settings.metrics_port else []

    def _bury(self, pid: int) -> None:
        """What a dead worker counted stays."""
        if isinstance(self.meter, PrometheusMeter):
            self.meter.bury(pid)

    def _reload(self) -> None:
        """New certificates for new workers; what does not hold leaves the old ones in force."""
        try:
            self.context = make_context(self.settings)
        except ConfigError as error:
            _log.error("the old certificate stays in use; the new one does not hold:\n%s", error)
        else:
            if self.context is not None:
                _log.info("the certificate of %s is in use", self.settings.tls_certificate)
        self._on_reload()


class _JsonLog(Logger):  # type: ignore[misc]
    """gunicorn's own lines in the same form as ours."""

    def setup(self, cfg: Any) -> None:
        """See Logger.setup."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's parent process. A worker that is replaced is told to stop in the same way as when all of them stop."""

    def init_signals(self) -> None:
        """See Arbiter.init_signals. A SIGHUP that waited for this (__main__.py) is obeyed now."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def stop(self, graceful: bool = True) -> None:
        """See Arbiter.stop."""
        self.app.stop()
        super().stop(graceful)


def _bound(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def spare_the_collector() -> None:
    """Keep Python's collector of cycles from looking at what stays for the life of the process, and call it less often.

    A page makes thousands of tuples that die without it; with the default it runs several times for each (a sixth of
    the CPU time of a page of 1,000, measured). Cycles are still found, after 20,000 allocations instead of 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
