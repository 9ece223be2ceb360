"""A store whose operations are watched: how long each takes, and a span in the trace of its request."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from taxii_server.metering import STORE_SECONDS, Meter
from taxii_server.storage.base import Store

#: What requests wait for. `state` is asked twice a second by every worker, and would be most of what is seen.
OPERATIONS = (
    "page", "lookup", "records_at", "referrers", "band", "places", "tick", "write", "append_log", "save_status",
    "status", "save_aliases", "aliases", "apply_catalog", "catalog", "credentials",
)  # fmt: skip
LEDGER_OPERATIONS = ("append",)

Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]


def watch(store: Store, wrap: Wrap) -> None:
    """Put `wrap(name, method)` in the place of each of these methods of this one store and its ledger."""
    for name in OPERATIONS:
        setattr(store, name, wrap(name, getattr(store, name)))
    ledger = store.ledger
    for name in LEDGER_OPERATIONS:
        setattr(ledger, name, wrap(f"ledger_{name}", getattr(ledger, name)))


def timed(meter: Meter) -> Wrap:
    """Tells the meter how long a method took, also when it raised."""

    def wrap(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*arguments, **more)
            finally:
                meter.observe(STORE_SECONDS, time.perf_counter() - began, name)

        return call

    return wrap
