"""Who may see how the server is, and get the metrics."""

from __future__ import annotations

from typing import cast

from flask import current_app, request

from taxii_server.auth.networks import is_within
from taxii_server.service.hub import Hub
from taxii_server.web.forwarded import HANDED_ON
from taxii_server.web.places import FOR_MACHINES


def is_operator() -> bool:
    """Whether the request comes from one of `operator_addresses`.

    Not when somebody who is no trusted proxy handed it on: its address is that of many others.
    """
    hub = cast(Hub, current_app.extensions["taxii_server"])
    handed_on = request.environ.get(HANDED_ON, False)
    return not handed_on and is_within(request.remote_addr or "", hub.settings.operator_addresses)


def gets_metrics() -> bool:
    """Whether the request, if it asks for the metrics, gets them."""
    hub = cast(Hub, current_app.extensions["taxii_server"])
    has_own_port, came_there = bool(hub.settings.metrics_port), bool(request.environ.get(FOR_MACHINES))
    return has_own_port == came_there and is_operator()
