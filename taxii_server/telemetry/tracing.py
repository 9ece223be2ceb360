"""Traces by OpenTelemetry: a span for each request, and in it one for each command to the store.

Off by default, and an extra: without it nothing of OpenTelemetry is imported. Spans have names of routes, methods,
statuses, partners and the id of the request; no path, no query, no address, nothing of what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

from taxii_server.errors import ConfigError, Problem
from taxii_server.service.ledger import Ledger
from taxii_server.telemetry.stores import Wrap

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

_INSTALL = "needs OpenTelemetry, which is not installed: pip install 'taxii-server[otel]'"


def require_tracing() -> None:
    """Raise ConfigError when the libraries are missing."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        raise ConfigError([Problem("", "tracing", _INSTALL)]) from error


def open_tracing() -> Tracing:
    """Tracing as the variables of OpenTelemetry (OTEL_...) say. After the fork: it has a thread."""
    require_tracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from taxii_server import __version__

    ours = Resource.create({SERVICE_NAME: "taxii-server", SERVICE_VERSION: __version__})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """Spans of one worker, for whoever the provider sends them to."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer: Tracer = provider.get_tracer("taxii_server")

    def wrap(self) -> Wrap:
        """A span around each call of a method of the store, where a request is being answered."""
        from opentelemetry import trace

        def wrap(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(method)
            def call(*arguments: Any, **more: Any) -> Any:
                # What goes on in the background belongs to no request.
                if not trace.get_current_span().get_span_context().is_valid:
                    return method(*arguments, **more)
                kind = trace.SpanKind.CLIENT
                with self._tracer.start_as_current_span(f"store {name}", kind=kind, attributes={"db.operation": name}):
                    return method(*arguments, **more)

            return call

        return wrap

    def watch_ledger(self, ledger: Ledger) -> None:
        """A span around each wait for an entry, which another thread may write, for several requests at once."""
        ledger.delivered = self.wrap()("ledger_wait", ledger.delivered)  # type: ignore[method-assign]

    @contextmanager
    def request(self, method: str, request_id: str, said: Mapping[str, str]) -> Iterator[Span]:
        """The span of a request, in the trace that these headers say, if any. Named when its route is known."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(said)
        attributes = {"http.request.method": method, "taxii.request_id": request_id}
        with self._tracer.start_as_current_span(
            "request", context=parent, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            yield span
