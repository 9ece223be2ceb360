"""In and out: the page for strangers, the login form, logging out, and the one style sheet."""

from __future__ import annotations

import re
import secrets
from importlib import resources
from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, request

from taxii_server import audit
from taxii_server.auth.base import Presented, Unauthenticated
from taxii_server.auth.form import form_header
from taxii_server.errors import Forbidden, NotFound
from taxii_server.model import Actor
from taxii_server.web.console.forms import read_any_form, read_form, require_token
from taxii_server.web.console.mount import PREFIX
from taxii_server.web.console.pages import render
from taxii_server.web.console.session import Session
from taxii_server.web.console.site import base_url, cookie_name, page, parts, path_of, session, set_cookie
from taxii_server.web.forwarded import CERTIFICATE

blueprint = Blueprint("door", __name__)
#: Where a login may lead: to a page of the console, and nowhere else.
_OURS = re.compile(r"/console/(?!login|logout)[A-Za-z0-9._~/%?=&\[\]:+,-]*")
_DOOR = re.compile(r"[0-9a-f]{32}")
#: One answer, whatever was wrong.
_WRONG = "This name and this secret do not belong together, or they are not taken from where you are."


@page(blueprint, "/")
def landing() -> Any:
    """What this is, for somebody who opens it in a browser. Nothing about anybody."""
    return render("landing.html", api=f"{base_url()}/taxii2/")


@page(blueprint, f"{PREFIX}/login")
def get_login() -> Any:
    """The form."""
    return _form(200)


@page(blueprint, f"{PREFIX}/login", "POST")
def post_login() -> Any:
    """Log in, and go where one wanted to go."""
    parts().require_fresh()
    parts().hub.follow()
    form = read_any_form()
    require_token(form, parts().sessions.door_token(request.cookies.get(cookie_name("door"), "")))
    name, secret = form.text("name").strip(), form.text("secret").strip()
    presented = Presented(form_header(name, secret), request.remote_addr or "", request.environ.get(CERTIFICATE))
    try:
        actor = parts().authenticator.authenticate(presented)
        begun = _begin(actor)
    except Unauthenticated:
        audit.record("denied", address=request.remote_addr, status=403, method="POST", path=f"{PREFIX}/login")
        return _form(403, _WRONG)
    audit.record("console-login", partner=actor.partner, credential=actor.credential, address=request.remote_addr)
    target = form.text("next")
    response = make_response(redirect(path_of(target if _OURS.fullmatch(target) else f"{PREFIX}/"), 303))
    set_cookie(response, "session", parts().sessions.cookie(begun))
    set_cookie(response, "door", "")
    return response


def _begin(actor: Actor) -> Session:
    """A session for who was let in. Raises Unauthenticated for who is no partner any more."""
    audience = parts().hub.snapshot.catalog.policy.audiences.get(actor.partner)
    begun = parts().sessions.begin(actor.credential)
    if begun is None or audience is None or audience.suspended:
        raise parts().authenticator.refusal()
    return begun


@page(blueprint, f"{PREFIX}/logout", "POST")
def post_logout() -> Any:
    """Log out: no copy of the cookie opens anything any more."""
    read_form()
    who = session()
    if who is None:
        raise Forbidden
    parts().sessions.end(who)
    g.session_ended = True
    response = make_response(redirect(path_of(f"{PREFIX}/login"), 303))
    set_cookie(response, "session", "")
    return response


def _form(status: int, words: str = "") -> Response:
    door = request.cookies.get(cookie_name("door"), "")
    is_new = _DOOR.fullmatch(door) is None
    if is_new:
        door = secrets.token_hex(16)
    target = request.args.get("next", "")
    response = make_response(
        render(
            "login.html",
            status,
            door_token=parts().sessions.door_token(door),
            words=words,
            next=target if _OURS.fullmatch(target) else "",
        )
    )
    if is_new:
        set_cookie(response, "door", door)
    return response


@page(blueprint, f"{PREFIX}/console.css")
def style() -> Any:
    """The one style sheet."""
    return Response(_file("console.css"), content_type="text/css; charset=utf-8")


@page(blueprint, f"{PREFIX}/icon.svg")
def icon() -> Any:
    """The icon in the tab."""
    return Response(_file("icon.svg"), content_type="image/svg+xml")


def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath("static", name).read_bytes()


@page(blueprint, f"{PREFIX}/<path:rest>", "GET", "POST")
def unknown(rest: str) -> Any:
    """Any other page, for whoever is logged in."""
    raise NotFound
