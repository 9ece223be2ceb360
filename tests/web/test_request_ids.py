"""The id of a request: what a partner quotes, an operator finds in the log."""

from __future__ import annotations

import logging

import pytest

from taxii_server.logs import JsonFormatter, TextFormatter, request_id
from tests.web.rooms import MakeHub
from tests.world import World

PROXY = {"REMOTE_ADDR": "10.0.0.1"}
GIVEN = "edge-7f3a:0001/abc=="


def test_every_request_has_an_id_of_its_own_which_is_the_error_id(hub: World, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    caplog.handler.addFilter(lambda record: seen.append(request_id.get()) or True)  # type: ignore[func-returns-value]
    caplog.set_level(logging.INFO, "taxii_server")
    ids = [hub.get("/nope/").json["error_id"] for _ in range(2)]
    assert len({*ids}) == 2
    assert {*ids} <= {*seen}
    assert not request_id.get(), "the thread goes on without it"


def test_an_id_is_taken_from_a_trusted_proxy_and_given_back(make_hub: MakeHub) -> None:
    hub = make_hub(settings='trusted_proxies = ["10.0.0.1"]')
    for path, status in (("/nope/", 404), ("/taxii2/", 200)):
        answer = hub.get(path, headers={"X-Request-ID": GIVEN}, environ_base=PROXY)
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (status, GIVEN)
    assert hub.get("/nope/", headers={"X-Request-ID": GIVEN}, environ_base=PROXY).json["error_id"] == GIVEN


@pytest.mark.parametrize("given", ["short", "with space in it", "x" * 129, 'quote"quote"', "umlaut-ä-umlaut"])
def test_a_malformed_id_of_a_proxy_is_replaced(make_hub: MakeHub, given: str) -> None:
    hub = make_hub(settings='trusted_proxies = ["10.0.0.1"]')
    answer = hub.get("/nope/", headers={"X-Request-ID": given}, environ_base=PROXY)
    assert answer.json["error_id"] != given
    assert "X-Request-ID" not in answer.headers


def test_a_stranger_chooses_no_id(hub: World) -> None:
    answer = hub.get("/nope/", headers={"X-Request-ID": GIVEN})
    assert answer.json["error_id"] != GIVEN
    assert "X-Request-ID" not in answer.headers


def test_both_forms_of_the_log_show_the_id() -> None:
    record = logging.LogRecord("taxii_server.x", logging.INFO, "f", 1, "it %s", ("happened",), None)
    assert TextFormatter().format(record).endswith("it happened")
    known = request_id.set(GIVEN)
    try:
        assert TextFormatter().format(record).endswith(f"it happened request={GIVEN}")
        assert f'"request":"{GIVEN}"' in JsonFormatter().format(record)
    finally:
        request_id.reset(known)
