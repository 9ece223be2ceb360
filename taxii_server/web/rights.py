"""My rights: what the hub knows of the partner who asks. Not part of TAXII; nothing in it is about others."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from taxii_server.catalog import Collection, Rights
from taxii_server.errors import NotFound
from taxii_server.policy import Audience
from taxii_server.service.standing import MarkingRight, markings_of
from taxii_server.web.context import credential, require_accept, visit
from taxii_server.web.response import resource

blueprint = Blueprint("rights", __name__)


@blueprint.get("/taxii2/rights/")
def get_rights() -> Response:
    """The partner itself, how it logged in, its collections, and the markings that it can read."""
    policy = visit().catalog.policy
    partner = policy.audiences.get(visit().actor.partner)
    if partner is None:
        raise NotFound
    require_accept()
    if partner.suspended:
        return resource(_filled({"name": partner.name, "title": partner.title, "suspended": True}))
    body = _about(partner) | {
        "credential": _credential(),
        "api_roots": [_api_root(root.name, root.title) for root in visit().api_roots()],
        "markings": [_marking(each) for each in markings_of(policy, partner.name)],
    }
    return resource(_filled(body))


def _about(partner: Audience) -> dict[str, Any]:
    return {
        "name": partner.name,
        "title": partner.title,
        "kind": partner.kind,
        "clearance": partner.clearance,
        "countries": sorted(partner.countries),
        "sector": partner.sector,
        "groups": sorted(partner.groups),
        "attributes": {key: sorted(values) for key, values in sorted((partner.attributes or {}).items())},
        "identities": sorted(partner.identities),
        "suspended": False,
        "admin": partner.admin or None,
    }


def _credential() -> dict[str, Any]:
    found, actor = credential(), visit().actor
    more = {} if found is None else {"kind": found.kind, "created": found.created, "comment": found.comment}
    return _filled({"id": actor.credential, "scheme": actor.scheme, **more})


def _api_root(name: str, title: str) -> dict[str, Any]:
    base = f"{visit().settings.public_url.rstrip('/')}/{name}/"
    return {
        "url": base,
        "title": title,
        "releases": f"{base}releases/",
        "collections": [_collection(*each) for each in visit().collections(name)],
    }


def _collection(collection: Collection, rights: Rights) -> dict[str, Any]:
    body = {"id": collection.id, "title": collection.title, "alias": collection.alias}
    return _filled(body | {"can_read": rights.read, "can_write": rights.write})


def _marking(right: MarkingRight) -> dict[str, Any]:
    return _filled({"id": right.id, "name": right.name, "readable": right.readable, "reason": right.reason})


def _filled(body: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, as in every TAXII resource; False is not."""
    return {key: value for key, value in body.items() if value is False or value}
