"""The application of the console: the checks before a page, in their order, and what stands in every answer.

Order of checks: head (414, 431), requests of the address (429), plain HTTP where it must not be (403), who is logged in
(to the login page), requests of the partner (429), the page itself: unknown, hidden or for operators only (404).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import quote, urlsplit

from flask import Blueprint, Flask, Response, current_app, g, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from taxii_server import audit
from taxii_server.auth.base import Authenticator, Presented
from taxii_server.auth.rates import RateLimits
from taxii_server.auth.seen import Seen
from taxii_server.errors import NotFound, StorageUnavailable, TooManyRequests
from taxii_server.model import Actor, Origin
from taxii_server.policy import Audience
from taxii_server.service.hub import Hub
from taxii_server.service.reading import Superseded
from taxii_server.service.visit import Snapshot, Visit
from taxii_server.settings import Settings
from taxii_server.web.body import RESUMED
from taxii_server.web.console.mount import PREFIX
from taxii_server.web.console.pages import add_filters, error_page
from taxii_server.web.console.session import Session, Sessions
from taxii_server.web.errors import fault_of, log_fault, refused, retry_after_s
from taxii_server.web.forwarded import CERTIFICATE, IN_THE_CLEAR
from taxii_server.web.head import check_head
from taxii_server.web.response import compress

#: No script anywhere, nothing from elsewhere, no frame around it.
CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Endpoints that answer to whoever asks.
PUBLIC = frozenset({"door.landing", "door.get_login", "door.post_login", "door.style", "door.icon"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What the console shares with the API of the same process."""

    hub: Hub
    sessions: Sessions
    authenticator: Authenticator
    limits: RateLimits
    seen: Seen
    require_fresh: Callable[[], None]

    @property
    def settings(self) -> Settings:
        return self.hub.settings


def parts() -> Parts:
    """The parts of this application."""
    return cast(Parts, current_app.extensions["console"])


def session() -> Session | None:
    """Who is logged in."""
    return cast("Session | None", g.get("session"))


def visit() -> Visit:
    """The operations for whoever is logged in."""
    return cast(Visit, g.visit)


def partner() -> Audience:
    """The partner of whoever is logged in."""
    return cast(Audience, g.partner)


def path_of(path: str) -> str:
    """The URL of a path of this server, also behind a proxy that serves it below another one."""
    return urlsplit(parts().settings.public_url).path.rstrip("/") + path


def base_url() -> str:
    """The URL of this server as partners write it, without a slash at its end."""
    return (parts().settings.public_url or request.host_url).rstrip("/")


def cookie_name(what: str) -> str:
    """The name of a cookie. Over https a browser takes one of this name from nobody but us."""
    return f"__Secure-taxii-{what}" if request.is_secure else f"taxii-{what}"


def set_cookie(response: Response, what: str, value: str) -> None:
    """A cookie for the console alone, until the browser is closed; an empty value takes it away."""
    name, path = cookie_name(what), path_of(PREFIX)
    more: dict[str, Any] = {"path": path, "secure": request.is_secure, "httponly": True, "samesite": "Strict"}
    if value:
        response.set_cookie(name, value, **more)
    else:
        response.delete_cookie(name, **more)


def require_operator() -> None:
    """NotFound for partners: they are not told that there is such a page."""
    found = session()
    if found is None or not found.is_operator:
        raise NotFound


def looked(name: str, about: str = "") -> None:
    """An audit line: an operator looked at this page, about this object or partner."""
    actor = visit().actor
    audit.record("console-looked", partner=actor.partner, credential=actor.credential, page=name, about=about or None)


def page(blueprint: Blueprint, rule: str, *methods: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a view that is called again, with a new visit, when another catalog came into force meanwhile."""

    def register(view: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: str) -> Any:
            for _ in range(5):
                try:
                    return view(**arguments)
                except Superseded:
                    parts().hub.load()
                    found = session()
                    if found is not None:
                        _admit(found)
            raise StorageUnavailable("the configuration is changed all the time; try again")

        blueprint.add_url_rule(rule, view.__name__, call, methods=methods or ("GET",), strict_slashes=True)
        return view

    return register


# ---- the application


def create_site(found: Parts, blueprints: tuple[Blueprint, ...]) -> Flask:
    """The application with these pages."""
    app = Flask(__name__, static_folder=None, template_folder="templates")
    app.url_map.merge_slashes = False
    app.extensions["console"] = found
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    add_filters(app)
    _register_checks(app)
    _register_errors(app)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    @app.context_processor
    def shared() -> dict[str, Any]:
        who = session()
        return {
            "settings": parts().settings,
            "session": who,
            "partner": g.get("partner"),
            "operator": who is not None and who.is_operator,
            "form_token": "" if who is None else parts().sessions.form_token(who),
            "path": path_of,
            "here": request.endpoint or "",
            "has_quarantine": who is not None and _posts_somewhere(),
        }

    @app.after_request
    def finish(response: Response) -> Response:
        who = session()
        renewed = None if who is None or g.get("session_ended") else parts().sessions.renewed(who)
        if renewed is not None:
            set_cookie(response, "session", parts().sessions.cookie(renewed))
        headers = {
            "Content-Security-Policy": CSP,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
            "Cache-Control": "no-store",
            "Vary": "Accept-Encoding, Cookie",
        }
        if parts().settings.tls_certificate:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        response.headers.update(headers)
        return compress(request, response)

    return app


def _posts_somewhere() -> bool:
    """Whether guards can hold back something of this partner, or for it."""
    me, catalog = visit().actor.partner, visit().catalog
    return any(each.owner == me or catalog.rights(each, me).write for each in catalog.collections.values())


def _register_checks(app: Flask) -> None:
    @app.before_request
    def limit() -> None:
        check_head(request.environ, parts().settings)
        if not request.environ.get(RESUMED):
            parts().limits.require_address(request.remote_addr or "")

    @app.before_request
    def refuse_in_the_clear() -> tuple[str, int] | None:
        if not request.environ.get(IN_THE_CLEAR):
            return None
        return error_page(403, "This port is for the proxy in front of it: use its https address.")

    @app.before_request
    def authenticate() -> Any:
        if request.endpoint in PUBLIC:
            return None
        parts().require_fresh()
        parts().hub.follow()
        found = _opened()
        if found is None or not _admit(found):
            target = request.full_path.rstrip("?") if request.method == "GET" else ""
            return redirect(path_of(f"{PREFIX}/login") + (f"?next={quote(target, safe='/')}" if target else ""), 303)
        if not request.environ.get(RESUMED):
            parts().limits.require_partner(partner())
        parts().seen.note(partner().name)
        return None


def _opened() -> Session | None:
    cookie = request.cookies.get(cookie_name("session"))
    return parts().sessions.open(cookie) if cookie else None


def _admit(found: Session) -> bool:
    """Make the visit of this session; False when its partner is not let in any more."""
    presented = Presented(None, request.remote_addr or "", request.environ.get(CERTIFICATE))
    query = request.query_string.decode("latin-1")
    origin = Origin(request.remote_addr or "", request.method, request.path, query)
    made = parts().hub.visit(Actor(found.partner, found.credential.id, "console", origin))
    audience = made.catalog.policy.audiences.get(found.partner)
    if audience is None or audience.suspended or not parts().authenticator.admits_again(found.partner, presented):
        return False

    def renew() -> Snapshot:
        snapshot = made.renew()
        if not parts().authenticator.admits_again(found.partner, presented):
            raise NotFound
        return snapshot

    g.session, g.partner, g.visit = found, audience, replace(made, renew=renew)
    return True


# ---- errors


def _register_errors(app: Flask) -> None:
    @app.errorhandler(NotFound)
    def handle_not_found(error: NotFound) -> Any:
        return refused(error, _answer)

    @app.errorhandler(HTTPException)
    def handle_http(error: HTTPException) -> Any:
        if isinstance(error, RequestRedirect):
            return error.get_response()
        return error_page(error.code or 500)

    @app.errorhandler(Exception)
    def handle_any_other(error: Exception) -> Any:
        return _answer(error)


def _answer(error: Exception) -> Response:
    fault, seconds = fault_of(error), retry_after_s(error)
    log_fault(error, " in the console")
    words = str(error) if fault.words is None else ""
    if isinstance(error, TooManyRequests):
        words = f"{error}. Try again in {error.retry_after_s} seconds."
    words = words[:1].upper() + words[1:]
    response = current_app.make_response(error_page(fault.page or fault.status, words))
    if seconds is not None:
        response.headers["Retry-After"] = str(seconds)
    return response
