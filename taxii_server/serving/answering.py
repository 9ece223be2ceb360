"""What a thread does: parse the head of a request, call the application, write its answer into the connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

from gunicorn.http import errors, wsgi
from gunicorn.http.message import Request

from taxii_server.metering import MALFORMED, WAIT_SECONDS, Meter
from taxii_server.serving import answers
from taxii_server.serving.body import BodyAwaited, Framing, RequestBody
from taxii_server.serving.connection import Connection
from taxii_server.web.body import RESUMED
from taxii_server.web.forwarded import PEER_CERTIFICATE
from taxii_server.web.places import FOR_MACHINES, STOPPING

_log = logging.getLogger(__name__)
#: What nobody read of a body is skipped up to this; else the connection ends.
_MAX_SKIPPED_BYTES = 64 * 1024


class Worker(Protocol):
    """What is needed of gunicorn's worker."""

    cfg: Any
    log: Any
    alive: bool
    nr: int
    meter: Meter
    is_stopping: Callable[[], bool]
    wsgi: Callable[..., Iterable[bytes]]


def answer(worker: Worker, conn: Connection) -> bool | None:
    """Answer one request; whether the connection can be kept. None: its body has to be gathered first."""
    before = conn.outgoing.total
    if not conn.is_health:
        worker.meter.observe(WAIT_SECONDS, time.monotonic() - conn.since)
    try:
        if conn.request is None:
            conn.require_head()
            conn.requests += 1
            conn.request = Request(worker.cfg, conn.incoming, conn.client, conn.requests)
            conn.framing = Framing(conn.request, conn.incoming)
            return _respond(worker, conn, {})
        return _respond(worker, conn, {RESUMED: True})
    except BodyAwaited:
        if conn.request._expected_100_continue and not conn.incoming:
            with suppress(OSError):
                conn.outgoing.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None
    except (errors.NoMoreData, StopIteration, OSError) as error:
        _log.debug("the client is gone: %s", error)
    except Exception as error:  # noqa: BLE001 - the connection has to be answered and ended whatever it was
        if conn.outgoing.total == before:
            worker.meter.count(MALFORMED)
            with suppress(OSError):
                conn.outgoing.sendall(answers.for_error(error))
        else:
            _log.exception("an answer broke off")
    return False


def _respond(worker: Worker, conn: Connection, more: dict[str, Any]) -> bool:
    """The application's answer to a request whose head has been read; whether the connection can be kept."""
    began = datetime.now()
    request = conn.request
    assert conn.framing is not None
    # gunicorn would say "100 Continue" before anybody has looked at the head.
    expects, request._expected_100_continue = request._expected_100_continue, False
    response, environ = wsgi.create(request, conn.outgoing, conn.client, conn.server, worker.cfg)
    request._expected_100_continue = expects
    body = RequestBody(request.body, conn.framing, environ)
    environ |= {"wsgi.multithread": True, "wsgi.input": body, **more}
    environ[FOR_MACHINES], environ[STOPPING] = conn.is_for_machines, worker.is_stopping()
    environ["wsgi.url_scheme"] = "https" if conn.is_tls else "http"
    if conn.certificate is not None:
        environ[PEER_CERTIFICATE] = conn.certificate
    worker.nr += 1
    parts: Iterable[bytes] = worker.wsgi(environ, response.start_response)
    try:
        if not worker.alive or not body.is_finished(_MAX_SKIPPED_BYTES):
            response.force_close()
        for part in parts:
            response.write(part)
        response.close()
    finally:
        worker.log.access(response, request, environ, datetime.now() - began)
        if hasattr(parts, "close"):
            parts.close()
    return not response.should_close()
