"""What a view gets to know about its request: the hub, the actor, and the checks in their order.

Order of checks: head (414, 431), requests of the address (429), credentials (401), requests of the partner (429),
URL and visibility (404), method (405), Accept (406), right (403), Content-Type (415), size (413), query (400),
body (422). The earliest fault answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import MethodNotAllowed

from taxii_server.auth.base import Authenticator, Presented
from taxii_server.auth.directory import Directory
from taxii_server.auth.rates import RateLimits
from taxii_server.auth.seen import Seen
from taxii_server.catalog import Collection, Rights
from taxii_server.errors import Forbidden, NotFound
from taxii_server.model import Actor, Credential, Origin
from taxii_server.service.hub import Hub
from taxii_server.service.visit import Snapshot, Visit
from taxii_server.web.bodies import Bodies
from taxii_server.web.body import RESUMED
from taxii_server.web.errors import NotAcceptable, UnsupportedMedia, error_response
from taxii_server.web.forwarded import CERTIFICATE, IN_THE_CLEAR
from taxii_server.web.head import check_head
from taxii_server.web.media import accepts_taxii, is_taxii_content

#: A page tells by itself that another configuration came into force: these need not ask before.
PAGED_ENDPOINTS = frozenset(
    {"objects.get_manifest", "objects.get_objects", "objects.get_object", "objects.get_versions"}
)
#: Set in the WSGI environment, where no client can, for a request that an operator makes as a partner.
COMMAND_LINE = "taxii_server.command_line"
#: Endpoints that answer without credentials.
PUBLIC_ENDPOINTS = frozenset({"ops.healthz", "ops.readyz"})


def hub() -> Hub:
    """The hub of this application."""
    return cast(Hub, current_app.extensions["taxii_server"])


def bodies() -> Bodies:
    """The bodies that this worker holds."""
    return cast(Bodies, current_app.extensions["taxii_server.bodies"])


def credential() -> Credential | None:
    """The credential that the actor logged in with; None for an anonymous one, or if it was revoked just now."""
    directory = cast(Directory, current_app.extensions["taxii_server.directory"])
    return directory.find(visit().actor.credential)


def visit() -> Visit:
    """The operations for whoever is asking; known before any view runs."""
    return cast(Visit, g.visit)


def register_context(
    app: Flask,
    authenticator: Authenticator,
    require_fresh: Callable[[], None],
    limits: RateLimits,
    seen: Seen,
) -> None:
    """Authenticate before anything else is looked at, then the URL.

    `require_fresh` raises StorageUnavailable when the credentials in memory may be out of date.
    """

    app.extensions["taxii_server.authenticator"] = authenticator

    @app.before_request
    def limit() -> None:
        check_head(request, hub().settings)
        if _is_counted() and request.endpoint not in PUBLIC_ENDPOINTS:
            limits.require_address(request.remote_addr or "")

    @app.before_request
    def refuse_in_the_clear() -> Response | None:
        if request.endpoint in PUBLIC_ENDPOINTS or not request.environ.get(IN_THE_CLEAR):
            return None
        return error_response(403, "This port is for the proxy in front of it: use its https address.")

    @app.before_request
    def authenticate() -> None:
        if request.endpoint in PUBLIC_ENDPOINTS:
            return
        require_fresh()
        if request.endpoint not in PAGED_ENDPOINTS:
            hub().follow()
        g.visit = _new_visit()
        audience = g.visit.catalog.policy.audiences.get(g.visit.actor.partner)
        if audience is not None and _is_counted():
            limits.require_partner(audience)
            seen.note(audience.name)
        # Also for a path without its final slash: a redirect makes some clients drop the method or the credentials.
        if request.routing_exception is not None and not isinstance(request.routing_exception, MethodNotAllowed):
            raise NotFound

    @app.before_request
    def answer_options() -> Response | None:
        if request.method != "OPTIONS" or request.routing_exception is not None:
            return None
        # Flask's own answer is an empty text/html of status 200.
        response = app.make_default_options_response()
        response.status_code = 204
        del response.headers["Content-Type"]
        return response


def _authenticator() -> Authenticator:
    return cast(Authenticator, current_app.extensions["taxii_server.authenticator"])


def _admitted() -> Actor:
    """Who asks, by what the request presents. Raises Unauthenticated and TooManyRequests."""
    if request.environ.get(COMMAND_LINE) and "Authorization" not in request.headers:
        # An operator who looks through a partner's eyes needs no door.
        return Actor(hub().settings.anonymous_partner, "anonymous", "none")
    header, certificate = request.headers.get("Authorization"), request.environ.get(CERTIFICATE)
    return _authenticator().authenticate(Presented(header, request.remote_addr or "", certificate))


def _is_counted() -> bool:
    """Whether limits of requests are for this one: not for an operator's, nor twice when its body came late."""
    return not request.environ.get(COMMAND_LINE) and not request.environ.get(RESUMED)


def _new_visit() -> Visit:
    """The operations for who is admitted under the catalog in force."""
    made = hub().visit(_with_origin(_admitted()))

    def renew() -> Snapshot:
        """Another catalog came into force meanwhile: it may have closed the door that the actor came through."""
        snapshot = made.renew()
        if _admitted().partner != made.actor.partner:
            raise _authenticator().refusal()
        return snapshot

    return replace(made, renew=renew)


def _with_origin(actor: Actor) -> Actor:
    """The actor, and where its request comes from."""
    query = request.query_string.decode("latin-1")
    actor = replace(actor, origin=Origin(request.remote_addr or "", request.method, request.path, query))
    if request.environ.get(COMMAND_LINE):
        return replace(actor, scheme="cli", credential="command line")
    return actor


def require_accept() -> None:
    """406 unless the client takes what we send."""
    if not accepts_taxii(request.headers.get("Accept"), strict=hub().settings.strict_accept):
        raise NotAcceptable


def require_content_type() -> None:
    """415 unless the body is of a type that we take."""
    if not is_taxii_content(request.headers.get("Content-Type")):
        raise UnsupportedMedia


def open_collection(api_root: str, name: str, *, read: bool = False, write: bool = False) -> tuple[Collection, Rights]:
    """The collection of the URL, after visibility (404), Accept (406) and right (403), in this order."""
    try:
        return _open_collection(api_root, name, read=read, write=write)
    except (NotFound, Forbidden):
        if request.endpoint not in PAGED_ENDPOINTS:
            raise
        # It may be open since a moment that this worker has not heard of.
        hub().follow()
        g.visit = _new_visit()
        return _open_collection(api_root, name, read=read, write=write)


def _open_collection(api_root: str, name: str, *, read: bool, write: bool) -> tuple[Collection, Rights]:
    collection, rights = visit().collection(api_root, name)
    require_accept()
    if (read and not rights.read) or (write and not rights.write):
        raise Forbidden
    return collection, rights
