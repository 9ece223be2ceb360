"""The metrics for Prometheus. To whoever they are not meant for, this is a URL that does not exist.

Not part of the description of the interface (openapi.json): it is no part of what partners have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flask import Blueprint, Response, current_app, request

from taxii_server.errors import NotFound
from taxii_server.web.operators import gets_metrics

blueprint = Blueprint("metrics", __name__)

#: Makes the metrics in the form that an Accept header asks for: the text, and its media type.
Exposition = Callable[[str], tuple[bytes, str]]


@blueprint.get("/metrics")
def get_metrics() -> Response:
    """The metrics of all workers. Raises NotFound for whoever is no operator, or asks at the wrong port."""
    if not gets_metrics():
        raise NotFound
    expose = cast(Exposition, current_app.extensions["taxii_server.exposition"])
    body, content_type = expose(request.headers.get("Accept", ""))
    return Response(body, content_type=content_type)
