"""Settings: watching over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.groups.tls import NETWORKS
from taxii_server.settings.rows import row, seconds, text, whole, yes_no


@dataclass(frozen=True, kw_only=True)
class Watching:
    GROUP: ClassVar = "Watching over it"

    metrics: bool = row(
        yes_no(), True, "Count what happens, and tell it under /metrics in the form of Prometheus (docs/operations.md)."
    )
    operator_addresses: tuple[str, ...] = row(
        NETWORKS,
        ("127.0.0.0/8", "::1"),
        "Addresses or networks that get /metrics and the reason why /readyz says no. For others /metrics does not "
        "exist. Metrics name partners and say how much is hidden from each: behind a proxy on this machine that is not "
        "in trusted_proxies, everybody has the address of the proxy; take it out, or set metrics_port.",
    )
    metrics_port: int = row(
        whole(0, 65535),
        0,
        "A port of its own for /metrics, /healthz, /livez and /readyz, in plain HTTP; /metrics then does not exist on "
        "the other one. 0: none.",
    )
    metrics_host: str = row(text(may_be_empty=False), "127.0.0.1", "The address that metrics_port listens on.")
    count_minutes: int = row(
        whole(0, 10_080),
        15,
        "How often one of the workers counts, for the metrics, what each partner may read and what is hidden from it. "
        "0: never.",
    )
    tracing: bool = row(
        yes_no(),
        False,
        "Send a trace of each request and of its commands to the store by OpenTelemetry (pip install "
        "'taxii-server[otel]'). Where to, and how many, OTEL_EXPORTER_OTLP_ENDPOINT and other variables of it say.",
    )
    shutdown_delay_s: float = row(
        seconds(0),
        0.0,
        "How long the server goes on as before after the order to stop, while /readyz says 503: time for a load "
        "balancer to send no more. It comes before shutdown_grace_s.",
    )
