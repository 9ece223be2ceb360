"""Health for machines; outside the TAXII URLs and without credentials, so it tells nothing but yes or no."""

from __future__ import annotations

from flask import Blueprint, Response

from taxii_server.errors import StorageError
from taxii_server.web.context import hub

blueprint = Blueprint("ops", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """200 while the process answers."""
    return Response("ok\n", content_type="text/plain")


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 while the store answers and a catalog is in force, else 503."""
    try:
        ready = hub().store.state().catalog_epoch > 0
    except StorageError:
        ready = False
    return Response("ready\n" if ready else "not ready\n", 200 if ready else 503, content_type="text/plain")
