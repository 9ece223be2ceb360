"""Objects, manifests and versions (TAXII 2.1, 5.3 to 5.8)."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from taxii_server.catalog import Collection
from taxii_server.errors import Forbidden, NotFound
from taxii_server.service.query import ReadRequest
from taxii_server.service.reading import Found
from taxii_server.service.visit import Visit
from taxii_server.web import response as answers
from taxii_server.web.body import check_encoding, check_size, read_body, says_its_size
from taxii_server.web.context import (
    bodies,
    has_moved,
    judged_in_force,
    open_collection,
    require_accept,
    require_content_type,
    visit,
)
from taxii_server.web.media import TAXII
from taxii_server.web.parameters import (
    DELETE_FIELDS,
    EVERY_FIELD,
    OBJECT_FIELDS,
    VERSIONS_FIELDS,
    Limits,
    ReadParameters,
    read_parameters,
)

blueprint = Blueprint("objects", __name__, url_prefix="/<api_root>/collections/<name>")


@blueprint.get("/manifest/")
def get_manifest(api_root: str, name: str) -> Response:
    """What the collection holds, without the objects (5.3)."""
    collection, _ = open_collection(api_root, name, read=True)
    return _read(answers.manifest, collection, "manifest", EVERY_FIELD, content=False)


@blueprint.get("/objects/")
def get_objects(api_root: str, name: str) -> Response:
    """The objects of the collection (5.4)."""
    collection, _ = open_collection(api_root, name, read=True)
    return _read(answers.envelope, collection, "objects", EVERY_FIELD)


@blueprint.post("/objects/")
def add_objects(api_root: str, name: str) -> Response:
    """Add objects; the answer is their status (5.5)."""
    if not says_its_size(request):
        # That it is too large would show only when it has been read, and it cannot be read again.
        has_moved(visit().snapshot)
    collection = judged_in_force(lambda: _opened(api_root, name))
    with bodies().hold() as grow:
        try:
            body = read_body(request, _most_bytes(api_root), grow)
        except Exception:
            # Whoever may not post here any more does not hear what is wrong with its body.
            if has_moved(visit().snapshot):
                _opened(api_root, name)
            raise
        return answers.resource(visit().add(collection, body), 202)


def _opened(api_root: str, name: str) -> Collection:
    """The collection, when the head of a POST to it is as it has to be."""
    collection, _ = open_collection(api_root, name, write=True)
    require_content_type()
    check_encoding(request)
    check_size(request, _most_bytes(api_root))
    return collection


def _most_bytes(api_root: str) -> int:
    return visit().api_root(api_root).max_content_length


@blueprint.get("/objects/<object_id>/")
def get_object(api_root: str, name: str, object_id: str) -> Response:
    """One object (5.6)."""
    collection, _ = open_collection(api_root, name, read=True)
    return _read(answers.envelope, collection, "object", OBJECT_FIELDS, object_id)


@blueprint.delete("/objects/<object_id>/")
def delete_object(api_root: str, name: str, object_id: str) -> Response:
    """Delete an object or versions of it (5.7)."""
    made = visit()
    collection, rights = made.collection(api_root, name)
    require_accept()
    if not rights.read and not rights.write:
        raise NotFound
    if not (rights.read and rights.write):
        raise Forbidden
    filters = _parameters(made, DELETE_FIELDS, paging=False).filters
    made.delete(collection, rights, object_id, filters)
    return Response(b"", 200, content_type=TAXII)


@blueprint.get("/objects/<object_id>/versions/")
def get_versions(api_root: str, name: str, object_id: str) -> Response:
    """The versions of one object (5.8)."""
    collection, _ = open_collection(api_root, name, read=True)
    return _read(answers.versions, collection, "versions", VERSIONS_FIELDS, object_id, content=False)


def _read(
    build: Callable[[Found], Response],
    collection: Collection,
    resource: str,
    fields: frozenset[str],
    object_id: str | None = None,
    *,
    content: bool = True,
) -> Response:
    made = visit()
    parameters = _parameters(made, fields)
    response = made.answer(
        collection,
        ReadRequest(
            resource=resource,
            object_id=object_id,
            filters=parameters.filters,
            added_after=parameters.added_after,
            limit=parameters.limit,
            next=parameters.next,
            content=content,
            only_texts=content,
        ),
        build,
    )
    return answers.tagged(request, response, made.tag)


def _parameters(made: Visit, fields: frozenset[str], *, paging: bool = True) -> ReadParameters:
    settings = made.settings
    limits = Limits(settings.max_ids_per_match, settings.unknown_match == "reject", settings.max_query_parameters)
    return read_parameters(request.query_string, fields, limits, paging=paging)
