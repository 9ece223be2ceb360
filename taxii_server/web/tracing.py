"""A span around each request, and what it says of it (telemetry/tracing.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, g
from flask.globals import request_ctx

from taxii_server.telemetry.tracing import Tracing
from taxii_server.web.places import FROM_PROXY, REQUEST_ID

_SPAN = "taxii_server.span"


def register_tracing(app: Flask, tracing: Tracing) -> None:
    """Trace each request. To be called before `Forwarded` is put in front of the application."""
    inner = app.wsgi_app

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # A stranger hangs nothing into a trace.
        said = environ if environ[FROM_PROXY] else {}
        parent = {name: said.get(f"HTTP_{name.upper()}", "") for name in ("traceparent", "tracestate")}
        with tracing.request(environ["REQUEST_METHOD"], environ[REQUEST_ID], parent) as environ[_SPAN]:
            return inner(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]

    @app.after_request
    def name_span(response: Response) -> Response:
        asked = request_ctx.request
        span = asked.environ[_SPAN]
        route = "none" if asked.url_rule is None else asked.url_rule.rule
        span.update_name(f"{asked.method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", response.status_code)
        visit = g.get("visit")
        if visit is not None:
            span.set_attribute("taxii.partner", visit.actor.partner)
        return response
