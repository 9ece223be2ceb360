"""Status codes live here and nowhere else: what went wrong, as a TAXII error resource (TAXII 2.1, 3.6.1).

error_code            status  when
unauthorized          401     no acceptable credentials
forbidden             403     visible, but this right is missing
not-found             404     unknown, hidden, or not this actor's: one answer for all three
method-not-allowed    405     the URL exists without this method
not-acceptable        406     the Accept header leaves out application/taxii+json;version=2.1
bad-query             400     a malformed query parameter, or a `next` that is not ours
bad-request           400     not understood at HTTP level, or a body that ends too early; also 417 (an Expect) and
                              501 (a Transfer-Encoding) that nobody knows
timeout               408     the body did not come in time
conflict              409     it contradicts what is there already; the description says what
too-large             413     the body is larger than max_content_length
url-too-long          414     the URL is longer than max_url_bytes
unsupported-media     415     Content-Type or Content-Encoding of the body
bad-content           422     the body as a whole cannot be processed
too-many-requests     429     a limit of requests, or of wrong credentials; try again after Retry-After seconds
headers-too-large     431     more header fields than max_headers, or more bytes of them than max_header_bytes
unavailable           503     the store cannot answer now; try again after Retry-After seconds
internal              500     a fault of the server; the log has the error_id

FAULTS says the same for each class of errors; the pages of the console are made of it too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from taxii_server import audit
from taxii_server.auth.base import Unauthenticated
from taxii_server.errors import (
    BadContent,
    BadQuery,
    ConfigError,
    Conflict,
    ContentTooLarge,
    Forbidden,
    LockedOut,
    NoRoom,
    NotFound,
    StorageUnavailable,
    TooManyRequests,
)
from taxii_server.metering import REFUSED, Meter
from taxii_server.web.body import IncompleteBody, UnsupportedEncoding
from taxii_server.web.head import HeadersTooLarge, UrlTooLong
from taxii_server.web.media import TAXII
from taxii_server.web.places import REQUEST_ID

_log = logging.getLogger(__name__)
_RETRY_AFTER_S = 2
R = TypeVar("R")

_TITLES = {
    400: ("bad-request", "Bad request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    406: ("not-acceptable", "Not acceptable"),
    408: ("timeout", "Request timeout"),
    409: ("conflict", "Conflict"),
    413: ("too-large", "Content too large"),
    414: ("url-too-long", "URI too long"),
    415: ("unsupported-media", "Unsupported media type"),
    422: ("bad-content", "Unprocessable content"),
    429: ("too-many-requests", "Too many requests"),
    431: ("headers-too-large", "Request header fields too large"),
    500: ("internal", "Internal server error"),
    503: ("unavailable", "Service unavailable"),
}


class NotAcceptable(Exception):
    """The Accept header leaves out what we send."""


class UnsupportedMedia(Exception):
    """The Content-Type of the body is none that we take."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error is to whoever asked. `words`: what they are told; None: what the error itself says.

    `code` and `page`: the error_code, and the status of a page of the console, where they are not those of the status.
    """

    status: int
    words: str | None = None
    code: str | None = None
    page: int | None = None


_UNAVAILABLE = Fault(503, "The server cannot answer now; try again.")
#: Of each class of errors; of one that is not named, the nearest that it is one of.
FAULTS: Mapping[type[BaseException], Fault] = {
    BadQuery: Fault(400, code="bad-query"),
    IncompleteBody: Fault(400, "The body is shorter than announced; nothing of it was stored."),
    Unauthenticated: Fault(401, "Send the credentials that the operator of this server gave you.", page=403),
    Forbidden: Fault(403, "You may not do this here; GET /taxii2/rights/ says what you may."),
    NotFound: Fault(404, ""),
    NotAcceptable: Fault(406, f"Send 'Accept: {TAXII}'."),
    Conflict: Fault(409),
    ContentTooLarge: Fault(413),
    UrlTooLong: Fault(414),
    UnsupportedMedia: Fault(415, f"Send 'Content-Type: {TAXII}'."),
    UnsupportedEncoding: Fault(415, page=400),
    BadContent: Fault(422, page=400),
    TooManyRequests: Fault(429),
    HeadersTooLarge: Fault(431),
    StorageUnavailable: _UNAVAILABLE,
    ConfigError: _UNAVAILABLE,
    Exception: Fault(500, "A fault of the server; its operator finds it in the log under the error_id."),
}


def fault_of(error: Exception) -> Fault:
    """What this error is to whoever asked."""
    return next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)


def retry_after_s(error: Exception) -> int | None:
    """After how many seconds the same may be asked again; None where that would not help."""
    if isinstance(error, TooManyRequests):
        return error.retry_after_s
    return _RETRY_AFTER_S if fault_of(error).status == 503 else None


def log_fault(error: Exception, where: str = "") -> None:
    """A line in the log about what is for the operator to mend."""
    status = fault_of(error).status
    if status == 503:
        _log.error("the store or the configuration cannot be used: %s", error)
    elif status == 500:
        _log.error("unexpected %s%s", type(error).__name__, where, exc_info=error)


def refused(error: NotFound | Forbidden, answer: Callable[[Exception], R]) -> R:
    """The answer, after the ledger tells of the refusal when a collection or an object was looked up."""
    visit = g.get("visit")
    asked = request.view_args or {}
    if visit is not None and "name" in asked:
        try:
            visit.refused(fault_of(error).status, asked["api_root"], asked["name"], asked.get("object_id", ""))
        except StorageUnavailable as unavailable:
            return answer(unavailable)
    return answer(error)


def code_and_title(status: int) -> tuple[str, str]:
    """The error_code and the title of a status; of one that has none of its own, those of 400."""
    return _TITLES.get(status, _TITLES[400])


def error_response(status: int, description: str | None = None, code: str | None = None) -> Response:
    """An error resource. Its error_id is the id of the request, which stands in every line that the log has of it."""
    default_code, title = code_and_title(status)
    error_id = request.environ[REQUEST_ID]
    body: dict[str, Any] = {
        "title": title,
        "error_id": error_id,
        "error_code": code or default_code,
        "http_status": str(status),
    }
    if description:
        body["description"] = description
    _log.log(
        logging.ERROR if status == 500 else logging.INFO,
        "%s %s answers %d %s, error_id %s",
        request.method,
        _shown_path(),
        status,
        body["error_code"],
        error_id,
    )
    return Response(orjson.dumps(body), status, content_type=TAXII)


def _shown_path() -> str:
    """The path as it may stand in a log: a stranger wrote it, so it is short and cannot begin a line."""
    return request.path[:200].encode("unicode_escape").decode()


def _audit_denial(status: int) -> None:
    visit = g.get("visit")
    actor = visit and visit.actor
    audit.record(
        "denied",
        partner=actor and actor.partner,
        credential=actor and actor.credential,
        address=None if actor else request.remote_addr,
        status=status,
        method=request.method,
        path=_shown_path(),
    )


def _answer(error: Exception) -> Response:
    fault = fault_of(error)
    log_fault(error)
    words = str(error) if fault.words is None else fault.words
    if isinstance(error, TooManyRequests):
        words += "; wait for as many seconds as Retry-After says."
    response = error_response(fault.status, words, fault.code)
    if (seconds := retry_after_s(error)) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def register_errors(app: Flask, meter: Meter) -> None:
    """Handlers on the app: those of a blueprint never see an unknown URL."""

    @app.errorhandler(Unauthenticated)
    def handle_unauthenticated(error: Unauthenticated) -> Response:
        _audit_denial(fault_of(error).status)
        if app.config["HIDE_UNAUTHENTICATED"]:
            return error_response(404)
        response = _answer(error)
        for challenge in error.challenges:
            response.headers.add("WWW-Authenticate", challenge)
        return response

    @app.errorhandler(TooManyRequests)
    def handle_too_many(error: TooManyRequests) -> Response:
        kinds = {LockedOut: "locked-out", NoRoom: "no-room"}
        meter.count(REFUSED, 1.0, kinds.get(type(error), "rate-limited"))
        if isinstance(error, LockedOut) and app.config["HIDE_UNAUTHENTICATED"]:
            return error_response(404)
        return _answer(error)

    @app.errorhandler(NotFound)
    def handle_not_found(error: NotFound) -> Response:
        return refused(error, _answer)

    @app.errorhandler(Forbidden)
    def handle_forbidden(error: Forbidden) -> Response:
        _audit_denial(fault_of(error).status)
        return refused(error, _answer)

    @app.errorhandler(HTTPException)
    def handle_http(error: HTTPException) -> Response:
        response = error_response(error.code or 500)
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def handle_any_other(error: Exception) -> Response:
        return _answer(error)
