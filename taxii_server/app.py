"""create_app: the only place where the parts are wired together."""

from __future__ import annotations

import logging

from flask import Flask, Response, request

from taxii_server.auth.base import Authenticator, Scheme
from taxii_server.auth.basic import BasicScheme
from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import PasswordChecker
from taxii_server.auth.token import BearerScheme
from taxii_server.service.hub import Hub
from taxii_server.service.refresh import Refresher
from taxii_server.settings import Settings
from taxii_server.storage import open_store
from taxii_server.storage.base import Store
from taxii_server.web import collection, discovery, objects, ops, quarantine, releases, rights
from taxii_server.web.context import register_context
from taxii_server.web.errors import register_errors
from taxii_server.web.response import compress

_log = logging.getLogger(__name__)


def create_app(settings: Settings, store: Store | None = None, *, background: bool = True) -> Flask:
    """The WSGI application of one worker process.

    The catalog comes from the store, where `serve` or `reload` put it after checking it: a worker never
    starts with a configuration that does not hold. Without `background` there is no thread that follows the
    store: every request looks for changes itself.
    """
    store = store or open_store(settings.store, writes_together=settings.posts_per_commit)
    hub = Hub(settings, store)
    directory = Directory()
    refresher = Refresher(hub, directory, settings.refresh_s if background else 0)
    app = Flask("taxii_server", static_folder=None)
    app.config["HIDE_UNAUTHENTICATED"] = settings.hide_unauthenticated
    app.url_map.strict_slashes = settings.trailing_slash == "refuse"
    app.url_map.merge_slashes = False
    app.extensions["taxii_server"] = hub
    app.extensions["taxii_server.directory"] = directory
    app.extensions["taxii_server.refresher"] = refresher
    register_errors(app)
    register_context(app, make_authenticator(settings, directory), refresher.require_fresh)
    for module in (discovery, rights, collection, objects, quarantine, releases, ops):
        app.register_blueprint(module.blueprint)

    @app.after_request
    def process_headers(response: Response) -> Response:
        response.headers["Vary"] = "Accept, Accept-Encoding, Authorization"
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return compress(request, response)

    refresher.start()
    return app


def make_authenticator(settings: Settings, directory: Directory) -> Authenticator:
    """The authenticator with the schemes that are switched on."""
    # A header is Latin-1 at most: a title in Greek would break every 401.
    realm = "".join(char for char in settings.title if char.isascii() and char.isprintable() and char not in '"\\')
    schemes: list[Scheme] = []
    if settings.auth_basic:
        schemes.append(BasicScheme(directory, PasswordChecker(settings.password_cache_s), realm))
    if settings.auth_bearer:
        schemes.append(BearerScheme(directory, realm))
    return Authenticator(schemes, settings.anonymous_partner)
