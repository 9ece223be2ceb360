"""What a view gets to know about its request: the hub, the actor, and the checks in their order.

Order of checks: head (414, 431), requests of the address (429), credentials (401), requests of the partner (429),
URL and visibility (404), method (405), Accept (406), right (403), Content-Type (415), size (413), query (400),
body (422). The earliest fault answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

from flask import Flask, Request, Response, current_app, g, request
from flask.globals import request_ctx
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
from taxii_server.web.operators import gets_metrics
from taxii_server.web.places import FOR_MACHINES

T = TypeVar("T")
#: A page tells by itself that another configuration came into force: these need not ask before.
PAGED_ENDPOINTS = frozenset(
    {"objects.get_manifest", "objects.get_objects", "objects.get_object", "objects.get_versions"}
)
#: A transaction tells as well; what is said to the client without one has to be `judged_in_force`.
POST_ENDPOINT = "objects.add_objects"
#: Set in the WSGI environment, where no client can, for a request that an operator makes as a partner.
COMMAND_LINE = "taxii_server.command_line"
#: Endpoints that answer without credentials.
PUBLIC_ENDPOINTS = frozenset({"ops.healthz", "ops.readyz"})
#: Without credentials for whom it is meant, as unknown as any other URL for everybody else.
METRICS_ENDPOINT = "metrics.get_metrics"


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
    the_hub: Hub = app.extensions["taxii_server"]

    @app.before_request
    def admit() -> Response | None:
        # One function with the request at hand: each use of Flask's `request` or `g` costs a look-up of its own.
        asked = request_ctx.request
        endpoint = asked.endpoint
        is_public = endpoint in PUBLIC_ENDPOINTS or (endpoint == METRICS_ENDPOINT and gets_metrics())
        if asked.environ.get(FOR_MACHINES) and not is_public:
            raise NotFound
        check_head(asked.environ, the_hub.settings)
        if not is_public:
            is_counted = _is_counted(asked)
            if is_counted:
                limits.require_address(asked.remote_addr or "")
            if asked.environ.get(IN_THE_CLEAR):
                return error_response(403, "This port is for the proxy in front of it: use its https address.")
            require_fresh()
            if endpoint == POST_ENDPOINT and asked.method == "POST":
                judged_in_force(lambda: enter(asked, is_counted))
            else:
                if endpoint not in PAGED_ENDPOINTS:
                    the_hub.follow()
                enter(asked, is_counted)
            # Also for a path without its final slash: a redirect makes some clients drop the method or the credentials.
            if isinstance(asked.routing_exception, MethodNotAllowed):
                _require_visible(asked.routing_exception)
            elif asked.routing_exception is not None:
                raise NotFound
        return _options(asked) if asked.method == "OPTIONS" else None

    def enter(asked: Request, is_counted: bool) -> None:
        g.visit = made = _new_visit(asked)
        audience = made.catalog.policy.audiences.get(made.actor.partner)
        if audience is not None and is_counted:
            limits.require_partner(audience)
            seen.note(audience.name)

    def _options(asked: Request) -> Response | None:
        if asked.routing_exception is not None:
            return None
        # Flask's own answer is an empty text/html of status 200.
        response = app.make_default_options_response()
        response.status_code = 204
        del response.headers["Content-Type"]
        return response


def _authenticator() -> Authenticator:
    return cast(Authenticator, current_app.extensions["taxii_server.authenticator"])


def _admitted(asked: Request) -> Actor:
    """Who asks, by what the request presents. Raises Unauthenticated and TooManyRequests."""
    environ = asked.environ
    header, certificate = environ.get("HTTP_AUTHORIZATION"), environ.get(CERTIFICATE)
    if header is None and environ.get(COMMAND_LINE):
        # An operator who looks through a partner's eyes needs no door.
        return Actor(hub().settings.anonymous_partner, "anonymous", "none")
    return _authenticator().authenticate(Presented(header, asked.remote_addr or "", certificate))


def _is_counted(asked: Request) -> bool:
    """Whether limits of requests are for this one: not for an operator's, nor twice when its body came late."""
    return not (asked.environ.get(COMMAND_LINE) or asked.environ.get(RESUMED))


def _new_visit(asked: Request) -> Visit:
    """The operations for who is admitted under the catalog in force."""
    the_hub = hub()
    while True:
        # Who comes in by one catalog must not find what another one shows, which may have closed that door.
        known = the_hub.snapshot
        made = _visit_of(_admitted(asked), asked)
        if made.snapshot is known:
            return made


def _visit_of(actor: Actor, asked: Request) -> Visit:
    """The operations for this actor, who is looked at again when another catalog comes into force meanwhile."""
    the_hub = hub()

    def renew() -> Snapshot:
        """Another catalog came into force meanwhile: it may have closed the door that the actor came through."""
        snapshot = the_hub.renew()
        if _admitted(asked).partner != actor.partner:
            raise _authenticator().refusal()
        # A refusal is recorded under the catalog that it follows from.
        g.visit = replace(visit(), snapshot=snapshot)
        return snapshot

    return the_hub.visit(_with_origin(actor, asked), renew)


def _with_origin(actor: Actor, asked: Request) -> Actor:
    """The actor, and where its request comes from."""
    query = asked.query_string.decode("latin-1")
    origin = Origin(asked.remote_addr or "", asked.method, asked.path, query)
    if asked.environ.get(COMMAND_LINE):
        return Actor(actor.partner, "command line", "cli", origin)
    return Actor(actor.partner, actor.credential, actor.scheme, origin)


def judged_in_force(attempt: Callable[[], T]) -> T:
    """What `attempt` gives under the catalog that this worker knows; what it raises only if that one is in force.

    Otherwise the request gets a new visit, and the attempt is made again.
    """
    made: Visit | None = g.get("visit")
    known = hub().in_force if made is None else made.snapshot
    try:
        return attempt()
    except Exception:
        if not has_moved(known):
            raise
    return attempt()


def has_moved(known: Snapshot | None) -> bool:
    """Ask the store whether another catalog is in force than this one; the request has a new visit then."""
    hub().follow()
    if hub().in_force is known:
        return False
    if "visit" in g:
        g.visit = _new_visit(request_ctx.request)
    return True


def _require_visible(fault: MethodNotAllowed) -> None:
    """404 before 405: the API root and the collection in the URL have to be ones that the actor may know of."""
    adapter = request_ctx.url_adapter
    assert adapter is not None
    assert fault.valid_methods
    _, parts = adapter.match(method=next(iter(fault.valid_methods)))
    if "name" in parts:
        visit().collection(parts["api_root"], parts["name"])
    elif "api_root" in parts:
        visit().api_root(parts["api_root"])


def require_accept() -> None:
    """406 unless the client takes what we send."""
    _require_accept(visit())


def _require_accept(made: Visit) -> None:
    if not accepts_taxii(request_ctx.request.environ.get("HTTP_ACCEPT"), strict=made.settings.strict_accept):
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
        g.visit = _new_visit(request_ctx.request)
        return _open_collection(api_root, name, read=read, write=write)


def _open_collection(api_root: str, name: str, *, read: bool, write: bool) -> tuple[Collection, Rights]:
    made = visit()
    collection, rights = made.collection(api_root, name)
    _require_accept(made)
    if (read and not rights.read) or (write and not rights.write):
        raise Forbidden
    return collection, rights
