"""The error resource, whatever went wrong (TAXII 2.1, 3.6.1). Its shape is in shapes.py and holds for every error."""

from __future__ import annotations

import logging
import uuid

import pytest

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.storage.base import Store
from tests.web.endpoints import Endpoint, by_name, endpoints, within_a_collection
from tests.web.rooms import MakeHub
from tests.world import HIDDEN, MT, RW, UNKNOWN, A, World, indicator

# EP-04, ERR-01, ERR-02, ERR-03, ERR-05
ERRORS = [
    ("GET", "/taxii2/", None, {}, 401, "unauthorized"),
    ("GET", f"/api1/collections/{RW}/objects/?limit=0", "rw", {}, 400, "bad-query"),
    ("DELETE", f"/api1/collections/{RW}/objects/{A}/", "ro", {}, 404, "not-found"),
    ("GET", "/", "rw", {}, 404, "not-found"),
    ("GET", "/index.html", "rw", {}, 404, "not-found"),
    ("PUT", "/taxii2/", "rw", {}, 405, "method-not-allowed"),
    ("GET", "/taxii2/", "rw", {"Accept": "text/html"}, 406, "not-acceptable"),
    ("POST", f"/api1/collections/{RW}/objects/", "rw", {"Content-Type": "text/plain"}, 415, "unsupported-media"),
    ("POST", f"/api1/collections/{RW}/objects/", "rw", {"Content-Type": MT}, 422, "bad-content"),
]


@pytest.mark.parametrize(("method", "path", "partner", "headers", "status", "code"), ERRORS)
def test_every_error_is_an_error_resource(
    hub: World,
    method: str,
    path: str,
    partner: str | None,
    headers: dict[str, str | None],
    status: int,
    code: str,
) -> None:
    answer = hub.request(method, path, partner, headers=headers)
    assert answer.status_code == status
    assert answer.content_type == MT
    assert answer.json["error_code"] == code
    assert answer.json["http_status"] == str(status)
    assert answer.json["title"]


# ERR-04
def test_each_error_has_an_id_of_its_own_which_stands_in_the_log(hub: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ids = [hub.get("/nope/").json["error_id"] for _ in range(2)]
    assert ids[0] != ids[1]
    assert all(uuid.UUID(each) for each in ids)
    assert all(each in caplog.text for each in ids)


# ERR-04: a path is a stranger's text
def test_a_line_break_in_a_url_does_not_forge_a_log_line(hub: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hub.get("/nope%0aERROR forged%1b[2J/", None)
    assert all("\n" not in each.getMessage() and "\x1b" not in each.getMessage() for each in caplog.records)
    assert "forged" in caplog.text


# ERR-06, COL-11, OBJG-13, ADD-06, POL-03
@pytest.mark.parametrize(
    ("hidden", "unknown"),
    list(zip(within_a_collection(endpoints(HIDDEN)), within_a_collection(endpoints(UNKNOWN)), strict=True)),
    ids=[each.name for each in within_a_collection(endpoints())],
)
def test_what_is_hidden_and_what_is_not_there_get_one_answer(hub: World, hidden: Endpoint, unknown: Endpoint) -> None:
    there, nowhere = (hub.request(each.method, each.path) for each in (hidden, unknown))
    assert there.status_code == nowhere.status_code == 404
    assert {**there.json, "error_id": ""} == {**nowhere.json, "error_id": ""}
    assert there.headers == nowhere.headers


# EP-20
@pytest.mark.parametrize(
    ("fault", "status"),
    [(StorageUnavailable("db.example down"), 503), (StorageError("secret"), 500), (KeyError("secret"), 500)],
)
@pytest.mark.parametrize(
    "endpoint", [each for each in endpoints() if each.name in ("GET OBJS", "GET STAT")], ids=by_name
)
def test_a_fault_of_the_store_is_told_to_the_log_and_not_to_the_client(
    make_hub: MakeHub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    endpoint: Endpoint,
    fault: Exception,
    status: int,
) -> None:
    hub = make_hub()

    def broken(*_: object, **__: object) -> None:
        raise fault

    hub.post([indicator()])
    monkeypatch.setattr(type(hub.store), "page", broken)
    monkeypatch.setattr(type(hub.store), "status", broken)
    answer = hub.get(endpoint.path)
    assert answer.status_code == status
    assert str(fault) not in answer.text
    assert answer.json["error_id"] in caplog.text or status == 503
    assert f"answers {status} {answer.json['error_code']}, error_id" in caplog.text or status == 503
    assert type(fault).__name__ in caplog.text or str(fault) in caplog.text


# EP-23
def test_an_unavailable_store_says_when_to_come_back(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make_hub()

    def gone(_: Store) -> None:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(type(hub.store), "state", gone)
    answer = hub.get("/taxii2/")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert hub.get("/healthz", None).status_code == 200
    assert hub.get("/readyz", None).status_code == 503


# EP-20: the same for a write, and nothing is half done
def test_a_fault_in_a_write_stores_nothing(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make_hub()

    def gone(*_: object, **__: object) -> None:
        raise StorageUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(hub.store), "write", gone)
        assert hub.post([indicator()]).status_code == 503
    assert not hub.objects()


# EP-20: a hub that was never configured
def test_a_hub_without_a_catalog_is_unavailable(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make_hub()
    monkeypatch.setattr(hub.app.extensions["taxii_server"], "_snapshot", None)
    monkeypatch.setattr(type(hub.store), "catalog", lambda _: None)
    assert hub.get("/taxii2/").status_code == 503
