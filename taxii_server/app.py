"""create_app: the only place where the parts are wired together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from flask import Flask, Response, request

from taxii_server.auth.base import Authenticator, Scheme
from taxii_server.auth.basic import BasicScheme
from taxii_server.auth.certificate import CertificateScheme, read_authorities
from taxii_server.auth.directory import Directory
from taxii_server.auth.form import FormScheme
from taxii_server.auth.lockout import Lockout
from taxii_server.auth.provider import make_oidc_scheme
from taxii_server.auth.rates import RateLimits
from taxii_server.auth.secrets import PasswordChecker
from taxii_server.auth.seen import Seen
from taxii_server.auth.shared import Table
from taxii_server.auth.token import BearerScheme
from taxii_server.metering import GROUP_SIZE, NO_METER, Meter
from taxii_server.policy import Audience
from taxii_server.service.arrivals import Arrivals
from taxii_server.service.hub import Hub
from taxii_server.service.readiness import KEPT_S, Readiness
from taxii_server.service.refresh import Refresher
from taxii_server.service.upkeep import Upkeep
from taxii_server.settings import Settings
from taxii_server.storage import store_of
from taxii_server.storage.base import Store
from taxii_server.telemetry.counts import Counter
from taxii_server.telemetry.facts import Facts
from taxii_server.telemetry.prometheus import PrometheusMeter
from taxii_server.telemetry.stores import timed, watch
from taxii_server.telemetry.tracing import Tracing
from taxii_server.web import collection, discovery, metrics, objects, openapi, ops, quarantine, releases, rights
from taxii_server.web.bodies import Bodies
from taxii_server.web.console import door, feed, operator, review
from taxii_server.web.console.mount import Mounted
from taxii_server.web.console.session import Sessions
from taxii_server.web.console.site import Parts, create_site
from taxii_server.web.context import register_context
from taxii_server.web.errors import register_errors
from taxii_server.web.forwarded import Forwarded
from taxii_server.web.measuring import register_measuring
from taxii_server.web.paths import Paths
from taxii_server.web.response import compress
from taxii_server.web.tracing import register_tracing

_log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    store: Store | None = None,
    *,
    background: bool = True,
    table: Table | None = None,
    meter: Meter = NO_METER,
    tracing: Tracing | None = None,
) -> Flask:
    """The WSGI application of one worker process.

    `table` is what its workers have in common to count requests and wrong secrets; None: one of its own. `meter`
    takes what the metrics tell, `tracing` the spans of requests.

    The catalog comes from the store, where `serve` or `reload` put it after checking it: a worker never
    starts with a configuration that does not hold. Without `background` there is no thread that follows the
    store: every request looks for changes itself.
    """
    store = store or store_of(settings)
    if meter.counts:
        watch(store, timed(meter))
        store.wrote_together = lambda count: meter.observe(GROUP_SIZE, count)
    if tracing is not None:
        watch(store, tracing.wrap())
    hub = Hub(settings, store, meter)
    directory = Directory()
    refresher = Refresher(hub, directory, settings.refresh_s if background else 0)
    app = Flask("taxii_server", static_folder=None)
    app.config["HIDE_UNAUTHENTICATED"] = settings.hide_unauthenticated
    app.url_map.strict_slashes = settings.trailing_slash == "refuse"
    app.url_map.merge_slashes = False
    app.extensions["taxii_server"] = hub
    app.extensions["taxii_server.directory"] = directory
    app.extensions["taxii_server.refresher"] = refresher
    app.extensions["taxii_server.bodies"] = Bodies(settings.max_bodies_bytes)
    register_measuring(app, meter)
    register_errors(app, meter)
    table = table or Table()
    seen = Seen(table)
    authenticator = make_authenticator(settings, directory, hub, table)
    limits = RateLimits(
        table,
        address_per_minute=settings.address_requests_per_minute,
        partner_per_minute=settings.partner_requests_per_minute,
    )
    register_context(app, authenticator, refresher.require_fresh, limits, seen)
    for module in (discovery, rights, openapi, collection, objects, quarantine, releases, ops):
        app.register_blueprint(module.blueprint)

    @app.after_request
    def process_headers(response: Response) -> Response:
        response.headers["Vary"] = "Accept, Accept-Encoding, Authorization"
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if settings.tls_certificate:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return compress(request, response)

    if settings.has_console:
        console = create_site(
            Parts(
                hub=hub,
                sessions=Sessions(store.secret, directory, table, 60 * settings.console_session_minutes),
                authenticator=make_form_authenticator(settings, directory, hub, table),
                limits=limits,
                seen=seen,
                require_fresh=refresher.require_fresh,
            ),
            (door.blueprint, feed.blueprint, review.blueprint, operator.blueprint),
        )
        app.extensions["taxii_server.console"] = console
        app.wsgi_app = Mounted(app.wsgi_app, console)  # type: ignore[method-assign]
    if tracing is not None:
        tracing.watch_ledger(hub.ledger)
        register_tracing(app, tracing)
    app.wsgi_app = Forwarded(Paths(app.wsgi_app, settings.api_roots), settings)  # type: ignore[method-assign]
    refresher.start()
    readiness = app.extensions["taxii_server.readiness"] = Readiness(hub, refresher, KEPT_S if background else 0)
    if isinstance(meter, PrometheusMeter):
        counter = app.extensions["taxii_server.counter"] = Counter(hub, meter.folder)
        facts = Facts(hub, lambda: not readiness.problem(), counter.latest)
        app.extensions["taxii_server.exposition"] = lambda accept: meter.exposition(accept, [facts])
        app.register_blueprint(metrics.blueprint)
        if background:
            counter.start()
    upkeep = app.extensions["taxii_server.upkeep"] = Upkeep(hub)
    arrivals = app.extensions["taxii_server.arrivals"] = Arrivals(hub)
    refresher.noticed = arrivals.notice
    if background:
        upkeep.start()
        arrivals.start()
    return app


def make_authenticator(settings: Settings, directory: Directory, hub: Hub, table: Table) -> Authenticator:
    """The authenticator with the schemes that are switched on."""
    # A header is Latin-1 at most: a title in Greek would break every 401.
    realm = "".join(char for char in settings.title if char.isascii() and char.isprintable() and char not in '"\\')
    schemes: list[Scheme] = []
    if settings.auth_basic:
        # Some threads of a worker stay free for who needs no password checked.
        passwords = PasswordChecker(settings.password_cache_s, at_most=max(2, settings.threads - 2))
        schemes.append(BasicScheme(directory, passwords, realm))
    if settings.auth_bearer:
        schemes.append(BearerScheme(directory, realm))
    if settings.auth_oidc:
        schemes.append(make_oidc_scheme(settings, partial(_partners, hub), realm))
    return _authenticator(schemes, settings, hub, table, settings.anonymous_partner)


def make_form_authenticator(settings: Settings, directory: Directory, hub: Hub, table: Table) -> Authenticator:
    """The authenticator of the console's login form. Counts wrong secrets together with that of the API."""
    form = FormScheme(
        directory,
        PasswordChecker(settings.password_cache_s, at_most=2),
        takes_tokens=settings.auth_basic or settings.auth_bearer,
        takes_passwords=settings.auth_basic,
    )
    return _authenticator([form], settings, hub, table)


def _partners(hub: Hub) -> Mapping[str, Audience]:
    return hub.snapshot.catalog.policy.audiences


def _authenticator(
    schemes: list[Scheme], settings: Settings, hub: Hub, table: Table, anonymous_partner: str = ""
) -> Authenticator:
    certificates = None
    if settings.auth_certificate != "off":
        certificates = CertificateScheme(
            lambda: hub.snapshot.catalog.certificates,
            read_authorities(settings.tls_client_ca),
            is_required=settings.auth_certificate == "required",
        )
    lockout = Lockout(
        table, after=settings.lockout_after, first_s=settings.lockout_s, longest_s=settings.lockout_longest_s
    )
    return Authenticator(schemes, anonymous_partner, certificates, partial(_partners, hub), lockout)
