"""The description of the interface says what the server does: every route, every method, every status.

That every answer of every other test of this folder is one that it allows is held by shapes.inspect.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from werkzeug.exceptions import RequestTimeout
from werkzeug.test import TestResponse

from taxii_server import __version__
from taxii_server.errors import StorageUnavailable, TooManyRequests
from taxii_server.web.errors import _TITLES
from tests.fuzz.scene import OWNED, Scene
from tests.web.described import document, faults, operations, resolved
from tests.web.rooms import InspectedWorld
from tests.world import MT, World, indicator

URL = "/taxii2/openapi.json"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("described"), kind=InspectedWorld)
    yield made
    made.world.close()


def test_it_is_served_to_whoever_has_credentials_and_to_nobody_else(hub: World) -> None:
    answer = hub.get(URL, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.json == document()
    assert hub.get(URL, None).status_code == 401
    assert hub.get(f"{URL}/").status_code == 404


def test_it_is_the_same_for_everybody_and_names_no_partner(scene: Scene) -> None:
    texts = {scene.world.get(URL, partner).data for partner in ("owner", "stranger")}
    assert len(texts) == 1
    assert OWNED.encode() not in texts.pop()


def test_it_is_valid_openapi_of_this_version() -> None:
    schemathesis.openapi.from_dict(document()).validate()
    assert document()["openapi"].startswith("3.1")
    assert document()["info"]["version"] == __version__


def test_every_reference_leads_somewhere_and_nothing_is_said_in_vain() -> None:
    text = json.dumps(document())
    used = set(re.findall(r'"\$ref": "(#/components/[^"]+)"', text))
    for each in used:
        assert resolved({"$ref": each})
    there = {
        f"#/components/{kind}/{name}"
        for kind, parts in document()["components"].items()
        for name in parts
        if kind != "securitySchemes"
    }
    # 405 answers methods that are not described, so no operation has it.
    assert there - used == {"#/components/responses/MethodNotAllowed"}


def test_every_route_and_method_is_described_and_no_other(hub: World) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in hub.app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    assert {(path, method) for path, method, _ in operations().values()} == served


def test_every_parameter_of_a_path_is_described() -> None:
    for path, _, operation in operations().values():
        shared = document()["paths"][path].get("parameters", [])
        given = [resolved(each) for each in [*shared, *operation.get("parameters", [])]]
        assert {each["name"] for each in given if each["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path))


def test_every_error_code_is_described_with_its_status() -> None:
    answers = document()["components"]["responses"].values()
    described = {answer["x-error-code"] for answer in answers if "x-error-code" in answer}
    assert described == {code for code, _ in _TITLES.values()} | {"bad-query"}
    for path, method, operation in operations().values():
        for status, answer in operation["responses"].items():
            code = resolved(answer).get("x-error-code")
            if code not in (None, "bad-query"):
                assert _TITLES[int(status)][0] == code, (path, method, status)


# ---- every status of every operation happens


#: The bodies that a POST takes; the others read none.
TAKEN = {
    "add_objects": lambda scene: {"objects": [indicator(name="one more")]},
    "post_release": lambda scene: {"objects": [scene.values["object_id"]], "to": {"group": ["friends"]}},
}
#: Operations that take a query string.
_BAD_QUERY = {"get_entries": "state=lost"}
#: Who has not the right, where there are rights.
_WITHOUT_RIGHT = {
    "get_manifest": "poster",
    "get_objects": "poster",
    "get_object": "poster",
    "get_versions": "poster",
    "add_objects": "reader",
    "delete_object": "poster",
    "release_entry": "poster",
}
CASES = sorted(
    (name, int(status)) for name, (_, _, operation) in operations().items() for status in operation["responses"]
)


@pytest.mark.parametrize(("name", "status"), CASES, ids=lambda value: str(value))
def test_every_described_answer_happens(scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str, status: int) -> None:
    answer = _answered(scene, monkeypatch, name, status)
    assert answer.status_code == status, answer.text[:300]


def _answered(scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str, status: int) -> TestResponse:
    """The answer to a request that is made so that it has this status."""
    path, method, _ = operations()[name]
    like = name.removesuffix("_head").removesuffix("_options")
    if method in ("POST", "DELETE") and status in (200, 409):
        scene.refill(*re.findall(r"\{(\w+_id)\}", path) or ["object_id"])
    values = dict(scene.values)
    partner: str | None = "owner"
    headers: dict[str, str | None] = {}
    body = json.dumps(TAKEN[like](scene)).encode() if like in TAKEN else b""
    more: dict[str, Any] = {}
    query = ""
    if like in TAKEN:
        headers["Content-Type"] = MT
    if status == 304:
        same = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)
        headers["If-None-Match"] = scene.world.get(same, partner).headers["ETag"]
    elif status == 400 and method == "POST":
        more["environ_overrides"] = {"CONTENT_LENGTH": str(len(body) + 1)}
    elif status == 400:
        query = "?" + _BAD_QUERY.get(like, "match[spec_version]=x")
    elif status == 401:
        partner = None
    elif status == 403 and like in _WITHOUT_RIGHT and method != "OPTIONS":
        partner = _WITHOUT_RIGHT[like]
        values["entry_id"] = scene.hold("poster") if "entry_id" in path else ""
    elif status == 403:
        # Every request comes to a port that is for a proxy.
        monkeypatch.setattr("taxii_server.web.context.IN_THE_CLEAR", "wsgi.version")
    elif status == 414:
        query = "?" + "x" * 100_000
    elif status == 429:
        monkeypatch.setattr(
            "taxii_server.auth.rates.RateLimits.require_address", _fail(TooManyRequests(1.0, "too many of them"))
        )
    elif status == 431:
        headers |= {f"X-{number}": "x" for number in range(200)}
    elif status == 404 and "{" in path:
        values[re.findall(r"\{(\w+)\}", path)[-1]] = "nothing"
    elif status == 404:
        monkeypatch.setitem(scene.world.app.config, "HIDE_UNAUTHENTICATED", True)
        partner = None
    elif status == 406:
        headers["Accept"] = "text/html"
    elif status == 408:
        monkeypatch.setattr("flask.Request.stream", _SlowStream())
    elif status == 409:
        _contradict(scene, like, values)
        body = json.dumps({"objects": [values["object_id"]], "to": {"group": ["friends"]}, "id": "taken"}).encode()
    elif status == 413:
        body = gzip.compress(b" " * 600_000)
        headers["Content-Encoding"] = "gzip"
    elif status == 415:
        headers["Content-Type"] = "text/plain"
    elif status == 422:
        body = b"{"
    elif status == 500:
        monkeypatch.setattr("taxii_server.web.context.hub", _fail(RuntimeError("a fault")))
        monkeypatch.setattr("taxii_server.service.hub.Hub.visit", _fail(RuntimeError("a fault")))
    elif status == 503:
        monkeypatch.setattr("taxii_server.service.hub.Hub.visit", _fail(StorageUnavailable("away")))
        monkeypatch.setattr(type(scene.world.store), "state", _fail(StorageUnavailable("away")))
    url = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)
    return scene.world.request(method, url + query, partner, headers=headers, data=body, **more)


def _contradict(scene: Scene, like: str, values: dict[str, str]) -> None:
    """Do before what the request then contradicts."""
    if like == "post_release":
        scene.release("owner", values["object_id"], id="taken")
    elif like == "delete_release":
        policy = (scene.world.folder / "config/policy.toml").read_text()
        written = '[[release]]\nid = "written"\nby = "owner"\nobjects = ["{}"]\nto = {{ audience = "reader" }}\n'
        scene.world.apply(policy + written.format(values["object_id"]))
        values["release_id"] = "written"
    elif like == "drop_entry":
        scene.world.request("POST", f"{scene.url}/quarantine/{values['entry_id']}/release/", "owner")
    elif like == "release_entry":
        scene.world.delete(f"{scene.url}/quarantine/{values['entry_id']}/", "owner")


class _SlowStream:
    """A body that does not come."""

    def __get__(self, *_: object) -> _SlowStream:
        return self

    def read(self, _: int) -> bytes:
        raise RequestTimeout


def _fail(error: Exception) -> Any:
    def raise_it(*_: object, **__: object) -> None:
        raise error

    return raise_it


# ---- the check itself


def test_an_answer_that_is_not_described_is_a_fault(hub: World) -> None:
    answer = hub.get("/taxii2/")
    assert not faults("GET", "/taxii2/", answer)
    assert faults("GET", "/api1/", answer)  # another resource
    assert faults("GET", "/nowhere/at/all/", answer)
    assert faults("PUT", "/taxii2/", answer)
    answer.status_code = 201
    assert faults("GET", "/taxii2/", answer)
    answer = hub.get("/taxii2/")
    answer.headers["Content-Type"] = "text/html"
    assert faults("GET", "/taxii2/", answer)
    answer = hub.get(f"/api1/collections/{OWNED}/objects/", None)
    assert not faults("GET", "/api1/collections/x/objects/", answer)
    del answer.headers["WWW-Authenticate"]
    assert faults("GET", "/api1/collections/x/objects/", answer)


def test_the_file_is_part_of_the_package() -> None:
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text()
    assert "web/openapi.json" in setup
