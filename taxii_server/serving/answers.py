"""Answers to what the application never sees: TAXII error resources, as everything else that goes wrong."""

from __future__ import annotations

import logging
import uuid
from email.utils import formatdate
from http import HTTPStatus

import orjson
from gunicorn.http import errors

from taxii_server.web.errors import code_and_title
from taxii_server.web.media import TAXII

_log = logging.getLogger(__name__)
RETRY_AFTER_S = 2

_ERRORS: tuple[tuple[type[BaseException], int], ...] = (
    (errors.LimitRequestLine, 414),
    (errors.LimitRequestHeaders, 431),
    (errors.ExpectationFailed, 417),
    (errors.UnsupportedTransferCoding, 501),
    (errors.ParseException, 400),
)


def for_error(error: BaseException) -> bytes:
    """The answer to a request that is not understood, or that failed outside the application."""
    status = next((status for kind, status in _ERRORS if isinstance(error, kind)), 500)
    error_id = str(uuid.uuid4())
    if status == 500:
        _log.error("a request failed outside the application, error_id %s", error_id, exc_info=error)
    else:
        _log.info("not understood (%s), answers %d, error_id %s", type(error).__name__, status, error_id)
    return _answer(status, error_id)


def overloaded() -> bytes:
    """503: more requests wait already than may. Try again after Retry-After seconds."""
    description = f"The server is busy; try again after {RETRY_AFTER_S} seconds."
    return _answer(503, str(uuid.uuid4()), description)


def not_tls() -> bytes:
    """The answer to a client that speaks plain HTTP to a port for TLS."""
    description = "This port speaks TLS: use a URL that begins with https://."
    return _answer(400, str(uuid.uuid4()), description)


def _answer(status: int, error_id: str, description: str = "") -> bytes:
    code, title = code_and_title(status)
    resource = {"title": title, "error_id": error_id, "error_code": code, "http_status": str(status)}
    if description:
        resource["description"] = description
    body = orjson.dumps(resource)
    retry = f"Retry-After: {RETRY_AFTER_S}\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nDate: {formatdate(usegmt=True)}\r\nConnection: close\r\n"
        f"{retry}Content-Type: {TAXII}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
