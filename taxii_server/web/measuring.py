"""What every request is counted as: route, method, status, and how long its thread worked."""

from __future__ import annotations

import time

from flask import Flask, Response
from flask.globals import request_ctx

from taxii_server.metering import REQUEST_SECONDS, REQUESTS, Meter
from taxii_server.web.forwarded import BEGAN

#: Methods that have a name of their own in the metrics: others are what strangers make up.
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})


def register_measuring(app: Flask, meter: Meter) -> None:
    """Count every answer. To be called before other handlers are registered: it then comes after all of them."""
    if not meter.counts:
        return

    @app.after_request
    def count(response: Response) -> Response:
        here = request_ctx.request
        route = here.endpoint or "none"
        method = here.method if here.method in _METHODS else "other"
        meter.count(REQUESTS, 1.0, route, method, str(response.status_code))
        meter.observe(REQUEST_SECONDS, time.perf_counter() - here.environ[BEGAN], route)
        return response
