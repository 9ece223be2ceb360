"""Collections and the collection (TAXII 2.1, 5.1 and 5.2)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from taxii_server.catalog import Collection, Rights
from taxii_server.web.context import open_collection, require_accept, visit
from taxii_server.web.response import resource

blueprint = Blueprint("collections", __name__)


@blueprint.get("/<api_root>/collections/")
def get_collections(api_root: str) -> Response:
    """The collections that the actor may know of, ascending by id."""
    found = visit().collections(api_root)
    require_accept()
    return resource({"collections": [_describe(*each) for each in found]} if found else {})


@blueprint.get("/<api_root>/collections/<name>/")
def get_collection(api_root: str, name: str) -> Response:
    """One collection, by id or alias."""
    return resource(_describe(*open_collection(api_root, name)))


def _describe(collection: Collection, rights: Rights) -> dict[str, Any]:
    body: dict[str, Any] = {"id": collection.id, "title": collection.title}
    for name, text in (("description", collection.description), ("alias", collection.alias)):
        if text:
            body[name] = text
    media_types = visit().catalog.media_types(collection)
    return body | {"can_read": rights.read, "can_write": rights.write, "media_types": list(media_types)}
