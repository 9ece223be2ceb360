"""For machines that watch over the server: health and readiness, outside the TAXII URLs and without credentials.

Strangers are told yes or no. Why not is for `operator_addresses`.
"""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, current_app, request

from taxii_server.service.readiness import Readiness
from taxii_server.web.operators import is_operator
from taxii_server.web.places import STOPPING

blueprint = Blueprint("ops", __name__)


@blueprint.get("/healthz")
@blueprint.get("/livez")
def healthz() -> Response:
    """200 while the process answers."""
    return _text("ok\n")


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 while the store can be read and written and a configuration is in force, else 503."""
    if request.environ.get(STOPPING):
        problem = "the server stops"
    else:
        problem = cast(Readiness, current_app.extensions["taxii_server.readiness"]).problem()
    if not problem:
        return _text("ready\n")
    return _text(f"not ready\n{problem}\n" if is_operator() else "not ready\n", 503)


def _text(text: str, status: int = 200) -> Response:
    return Response(text, status, content_type="text/plain")
