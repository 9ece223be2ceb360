"""Discovery, API roots and status resources (TAXII 2.1, section 4)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from taxii_server.web.context import require_accept, visit
from taxii_server.web.media import TAXII
from taxii_server.web.response import resource

blueprint = Blueprint("discovery", __name__)


@blueprint.get("/taxii2/")
def get_discovery() -> Response:
    """The discovery resource with the API roots that the actor may know of (4.1)."""
    require_accept()
    settings = visit().settings
    base = settings.public_url.rstrip("/")
    roots = [f"{base}/{root.path or root.name}/" for root in visit().api_roots()]
    body: dict[str, Any] = {"title": settings.title}
    for name, text in (("description", settings.description), ("contact", settings.contact)):
        if text:
            body[name] = text
    if roots:
        body |= {"default": roots[0], "api_roots": roots}
    return resource(body)


@blueprint.get("/<api_root>/")
def get_api_root(api_root: str) -> Response:
    """The API root resource (4.2)."""
    root = visit().api_root(api_root)
    require_accept()
    body: dict[str, Any] = {"title": root.title}
    if root.description:
        body["description"] = root.description
    body |= {"versions": [TAXII], "max_content_length": root.max_content_length}
    return resource(body)


@blueprint.get("/<api_root>/status/<status_id>/")
def get_status(api_root: str, status_id: str) -> Response:
    """The status of an earlier POST of the same partner under the same API root (4.3)."""
    visit().api_root(api_root)
    body = visit().status(api_root, status_id)
    require_accept()
    return resource(body)
