"""Traces: one for each request, with what it asked of the store, and nothing of what was sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from taxii_server.app import create_app
from taxii_server.errors import ConfigError
from taxii_server.storage import open_store
from taxii_server.telemetry.tracing import Tracing, require_tracing
from tests.world import MT, RW, World, indicator

OBJECTS = f"/api1/collections/{RW}/objects/"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


class Traced:
    """A hub whose spans are kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.spans = InMemorySpanExporter()
        self.world = World(folder, settings='trusted_proxies = ["10.0.0.1"]')
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        store = open_store(self.world.settings.store)
        app = create_app(self.world.settings, store, background=False, tracing=Tracing(provider))
        self._client: FlaskClient = app.test_client()

    def ask(self, path: str, method: str = "GET", **more: object) -> list[ReadableSpan]:
        """The spans of one request, the request itself last."""
        self.spans.clear()
        headers = {"Accept": MT, "Content-Type": MT, "Authorization": self.world.basic("rw")}
        headers |= more.pop("headers", {})  # type: ignore[arg-type]
        self._client.open(path, method=method, headers=headers, **more)  # type: ignore[arg-type]
        return list(self.spans.get_finished_spans())


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    made = Traced(tmp_path_factory.mktemp("traced"))
    yield made
    made.world.close()


def test_a_request_is_a_span_with_one_for_each_command_to_the_store(traced: Traced) -> None:
    sent = {"objects": [indicator()]}
    *inside, request = traced.ask(OBJECTS, "POST", json=sent)
    assert request.name == "POST /<api_root>/collections/<name>/objects/"
    assert request.kind is SpanKind.SERVER
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 202
    assert request.attributes["taxii.partner"] == "rw"
    names = [{span.name for span in inside}]
    *inside, request = traced.ask(OBJECTS, "POST", json=sent)
    names.append({span.name for span in inside})
    assert [name & {"store write", "store save_status"} for name in names] == [
        {"store write"},
        {"store write", "store save_status"},
    ], "only where nothing is stored the status is not part of the write"
    *inside, request = traced.ask(OBJECTS)
    assert {"store page", "store ledger_wait"} <= {span.name for span in inside}
    assert all(span.context.trace_id == request.context.trace_id for span in inside)
    assert all(span.parent is not None for span in inside)


def test_an_unknown_url_is_a_span_too(traced: Traced) -> None:
    request = traced.ask("/nowhere/at/all/")[-1]
    assert request.name == "GET none"
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 404


def test_the_id_of_the_request_leads_from_an_answer_to_its_trace(traced: Traced) -> None:
    given = {"X-Request-ID": "edge-0001-0002"}
    request = traced.ask("/taxii2/", headers=given, environ_base={"REMOTE_ADDR": "10.0.0.1"})[-1]
    assert request.attributes is not None
    assert request.attributes["taxii.request_id"] == "edge-0001-0002"


def test_a_trusted_proxy_begins_a_trace_and_a_stranger_does_not(traced: Traced) -> None:
    from_proxy = traced.ask("/taxii2/", headers=PARENT, environ_base={"REMOTE_ADDR": "10.0.0.1"})[-1]
    assert f"{from_proxy.context.trace_id:032x}" == TRACE
    stranger = traced.ask("/taxii2/", headers=PARENT)[-1]
    assert f"{stranger.context.trace_id:032x}" != TRACE
    assert stranger.parent is None


def test_nothing_that_was_sent_is_in_a_span(traced: Traced) -> None:
    sent = "indicator--00000000-0000-4000-8000-00000000abcd"
    spans = traced.ask(f"{OBJECTS}{sent}/?match[version]=nonsense-{sent}")
    text = "".join(span.to_json() for span in spans)
    for secret in (sent, "nonsense", traced.world.tokens["rw"], traced.world.basic("rw").split()[1], "127.0.0.1"):
        assert secret not in text


def test_without_the_libraries_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"tracing: needs OpenTelemetry.*pip install 'taxii-server\[otel\]'"):
        require_tracing()
