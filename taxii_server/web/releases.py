"""The releases of the partner who asks: list, file, read, withdraw. Not part of TAXII; beside the collections."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from taxii_server.catalog import ReleaseEntry
from taxii_server.errors import BadContent, ContentTooLarge
from taxii_server.service.releasing import (
    Request,
    file_release,
    release_of,
    releases_of,
    require_may_file,
    withdraw_release,
)
from taxii_server.stix.parse import read_object
from taxii_server.times import format_position, parse_instant
from taxii_server.web.body import check_encoding, read_body
from taxii_server.web.context import hub, require_accept, require_content_type, visit
from taxii_server.web.media import TAXII
from taxii_server.web.response import resource

blueprint = Blueprint("releases", __name__, url_prefix="/<api_root>/releases")

#: A release with as many objects and names as may be has a third of it.
MAX_BODY_BYTES = 500_000
_KEYS = ("id", "objects", "to", "not_before", "until", "why")
_TO_KEYS = ("audience", "group")


@blueprint.get("/")
def get_releases(api_root: str) -> Response:
    """The partner's releases, by id. The same under every API root."""
    visit().api_root(api_root)
    require_accept()
    found = releases_of(visit().catalog, visit().actor.partner)
    return resource({"releases": [_describe(each) for each in found]} if found else {})


@blueprint.post("/")
def post_release(api_root: str) -> Response:
    """File a release; the answer is the release, in force."""
    root = visit().api_root(api_root)
    require_accept()
    require_may_file(visit().actor.scheme)
    require_content_type()
    check_encoding(request)
    try:
        body = read_body(request, min(MAX_BODY_BYTES, root.max_content_length))
    except ContentTooLarge as error:
        raise ContentTooLarge(error.limit_bytes, "of a release") from None
    filed = file_release(hub(), visit().actor.partner, _request(read_object(body)), _by())
    answer = resource(_describe(filed), 201)
    answer.headers["Location"] = f"/{api_root}/releases/{filed.local_id}/"
    return answer


@blueprint.get("/<release_id>/")
def get_release(api_root: str, release_id: str) -> Response:
    """One release of the partner."""
    visit().api_root(api_root)
    found = release_of(visit().catalog, visit().actor.partner, release_id)
    require_accept()
    return resource(_describe(found))


@blueprint.delete("/<release_id>/")
def delete_release(api_root: str, release_id: str) -> Response:
    """Withdraw a release that the partner filed."""
    visit().api_root(api_root)
    require_accept()
    require_may_file(visit().actor.scheme)
    withdraw_release(hub(), visit().actor.partner, release_id, _by())
    return Response(b"", 200, content_type=TAXII)


def _by() -> str:
    actor = visit().actor
    return f"{actor.partner} ({actor.credential})"


def _describe(release: ReleaseEntry) -> dict[str, Any]:
    to = {"audience": list(release.audiences), "group": list(release.groups)}
    body: dict[str, Any] = {
        "id": release.local_id,
        "objects": list(release.objects),
        "to": {key: names for key, names in to.items() if names},
    }
    for key, us in (("not_before", release.not_before), ("until", release.until)):
        if us is not None:
            body[key] = format_position(us)
    if release.why:
        body["why"] = release.why
    # One that the operator wrote can only be taken back by the operator.
    return body | {"can_withdraw": release.is_filed}


# ---- reading what was posted


def _request(body: dict[str, Any]) -> Request:
    """The release that a body asks for. Raises BadContent, which names the property."""
    _require_keys("", body, _KEYS)
    for key in ("objects", "to"):
        if key not in body:
            raise BadContent(f"{key}: missing")
    to = body["to"]
    if not isinstance(to, dict):
        raise BadContent("to: an object with audience, group or both is expected")
    _require_keys("to.", to, _TO_KEYS)
    return Request(
        objects=_texts("objects", body["objects"]),
        audiences=_texts("to.audience", to.get("audience", [])),
        groups=_texts("to.group", to.get("group", [])),
        not_before=_instant("not_before", body),
        until=_instant("until", body),
        why=_text("why", body) or "",
        id=_text("id", body),
    )


def _require_keys(where: str, body: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in body:
        if key not in known:
            raise BadContent(f"{where}{key[:80]}: unknown key (known: {', '.join(known)})")


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadContent(f"{key}: a list of texts is expected")
    return tuple(value)


def _text(key: str, body: dict[str, Any]) -> str | None:
    value = body.get(key)
    if key in body and (not isinstance(value, str) or not value):
        raise BadContent(f"{key}: a text is expected")
    return value


def _instant(key: str, body: dict[str, Any]) -> int | None:
    text = _text(key, body)
    if text is None:
        return None
    try:
        us = parse_instant(text)
        format_position(us)  # an offset must not push it out of the calendar
    except ValueError:
        raise BadContent(f"{key}: a timestamp such as 2026-01-31T12:00:00Z is expected") from None
    return us
