"""What guards held back in a collection, for those who may decide about it. Not part of TAXII; see docs/guard.md."""

from __future__ import annotations

import re
from typing import Any

import orjson
from flask import Blueprint, Response, request

from taxii_server.errors import BadQuery
from taxii_server.service.review import Review, Reviewed
from taxii_server.storage.quarantine import STATES, State
from taxii_server.times import format_position
from taxii_server.web.context import require_accept, visit
from taxii_server.web.media import TAXII
from taxii_server.web.parameters import Limits, read_parameters
from taxii_server.web.response import resource

blueprint = Blueprint("quarantine", __name__, url_prefix="/<api_root>/collections/<name>/quarantine")

#: Words of `state` -> what they mean. What is just being released is still to be decided, if that fails.
_STATES: dict[str, tuple[State, ...]] = {
    "held": ("held", "releasing"),
    "released": ("released",),
    "dropped": ("dropped",),
    "all": STATES,
}
_NEXT = re.compile(r"([0-9]{1,18})-([0-9a-f-]{36})")


@blueprint.get("/")
def get_entries(api_root: str, name: str) -> Response:
    """What is held, oldest first; with `state`, what was decided."""
    review = _open(api_root, name)
    settings = visit().settings
    parameters = read_parameters(request.query_string, frozenset(), Limits(settings.max_ids_per_match, False))
    limit = min(parameters.limit or settings.default_page, settings.max_page)
    found = review.entries(_states(), limit + 1, entry_after(parameters.next))
    body: dict[str, Any] = {}
    if len(found) > limit:
        last = found[limit - 1].entry
        body |= {"more": True, "next": f"{last.held}-{last.id}"}
    if found:
        body["quarantine"] = [_describe(each) for each in found[:limit]]
    return resource(body)


@blueprint.get("/<entry_id>/")
def get_entry(api_root: str, name: str, entry_id: str) -> Response:
    """One entry, with the object."""
    review = _open(api_root, name)
    return resource(_describe(review.entry(entry_id)))


@blueprint.post("/<entry_id>/release/")
def release_entry(api_root: str, name: str, entry_id: str) -> Response:
    """Store the object; the answer is the entry."""
    review = _open(api_root, name)
    return resource(_describe(review.release(entry_id)))


@blueprint.delete("/<entry_id>/")
def drop_entry(api_root: str, name: str, entry_id: str) -> Response:
    """Erase what is held."""
    _open(api_root, name).drop(entry_id)
    return Response(b"", 200, content_type=TAXII)


def _open(api_root: str, name: str) -> Review:
    review = Review(visit(), api_root, name)
    require_accept()
    return review


def _states() -> tuple[State, ...]:
    given = request.args.getlist("state")
    if not given:
        return _STATES["held"]
    if len(given) > 1 or given[0] not in _STATES:
        raise BadQuery("state", f"one of {', '.join(_STATES)} is expected")
    return _STATES[given[0]]


def entry_after(token: str | None) -> tuple[int, str] | None:
    """The place behind which the next page of entries begins, from `next`. Raises BadQuery."""
    if token is None:
        return None
    match = _NEXT.fullmatch(token)
    if match is None:
        raise BadQuery("next", "not a value that this server gave")
    return int(match[1]), match[2]


def _describe(seen: Reviewed) -> dict[str, Any]:
    entry = seen.entry
    body: dict[str, Any] = {
        "id": entry.id,
        "state": "held" if entry.state == "releasing" else entry.state,
        "guard": entry.guard,
        "object_id": entry.object_id,
        "type": entry.type,
        "spec_version": entry.spec_version,
        "submitter": entry.submitter,
        "held": format_position(entry.held),
        "can_release": seen.can_release,
    }
    if entry.version is not None:
        body["version"] = entry.version
    if entry.state in ("released", "dropped"):
        body["decided"] = format_position(entry.decided)
        if seen.shows_decider:
            body["decided_by"] = entry.decided_by
    if seen.content:
        body["object"] = orjson.Fragment(seen.content)
    return body
