"""What requests leave in the disclosure ledger, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from taxii_server.errors import StorageUnavailable
from taxii_server.service.disclosures import Disclosures, Event
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import RW, indicator, new_id

URL = f"/api1/collections/{RW}/objects/"


@pytest.fixture
def hub(make_hub: MakeHub) -> InspectedWorld:
    """A hub of its own, in whose collection RW the partner admin has one object."""
    made = make_hub()
    assert made.post([indicator()], "admin", RW).status_code == 202
    return made


def told(hub: InspectedWorld, partner: str) -> list[Event]:
    app = hub.app.extensions["taxii_server"]
    app.book.sync()
    return list(Disclosures(hub.store, app.book).what_did(partner))


def facts(event: Event, *names: str) -> list[Any]:
    return [event.facts.get(name) for name in names]


def test_a_page_is_recorded_with_who_asked_from_where_and_for_what(hub: InspectedWorld) -> None:
    assert hub.get(f"{URL}?limit=5", "rw").status_code == 200
    (event,) = told(hub, "rw")
    assert event.kind == "delivered"
    assert len(event.items) == 1
    assert facts(event, "address", "method", "path", "query", "scheme", "status", "resource") == [
        "127.0.0.1", "GET", URL, "limit=5", "basic", 200, "objects",
    ]  # fmt: skip
    assert event.facts["credential"] in {credential.id for credential in hub.store.credentials()}


def test_refusals_are_recorded_and_others_are_not(hub: InspectedWorld) -> None:
    unknown = new_id("indicator")
    assert hub.get(f"{URL}{unknown}/", "rw").status_code == 404
    assert hub.get(f"/api1/collections/{RW[:-1]}0/", "rw").status_code == 404
    assert hub.get("/api1/nothing/", "rw").status_code == 404
    assert hub.get(URL, None).status_code == 401
    found = [(event.kind, event.object, *facts(event, "status", "reason", "method")) for event in told(hub, "rw")]
    assert found == [
        ("refused", unknown, 404, "unknown", "GET"),
        ("refused", "", 404, "no-collection", "GET"),
    ]


def test_a_refusal_that_cannot_be_recorded_is_answered_503(
    hub: InspectedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(type(hub.store.ledger), "append", fail)
    for url in (URL, f"{URL}{new_id('indicator')}/"):
        answer = hub.get(url, "rw")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert "disk" not in answer.text


def test_a_header_cannot_pass_a_request_off_as_an_operators(hub: InspectedWorld) -> None:
    hub.request("GET", URL, "rw", headers={"taxii_server.command_line": "1", "taxii-server-command-line": "1"})
    (event,) = told(hub, "rw")
    assert event.facts["scheme"] == "basic"
