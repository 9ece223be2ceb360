"""medallion 3.0.0, the reference server of OASIS, asked the same: where it follows the standard, we answer alike.

Compared are status and meaning, not error texts, dates or absent `more`. Where the two part, DIFFERENCES says why,
and a test sees to it that they still do.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

import medallion
import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request

from tests.world import (
    EMPTY,
    FT6,
    LAST,
    MT,
    NN,
    RO,
    RW,
    UNKNOWN,
    WO,
    A,
    B,
    World,
    indicator,
    malware,
    relationship,
    world,
)  # fmt: skip

TOOL = "tool--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"
SHELL = malware("malware--31b940d4-6f7f-459a-80ea-9c1f17b5891b", "2019-01-01T00:00:00.000Z")
LINK = relationship(A, SHELL["id"], "relationship--44298a74-ba52-4f0c-87a3-1824e67d7fad")
ADDRESS = {
    "type": "ipv4-addr", "spec_version": "2.1", "id": "ipv4-addr--ff26c055-6336-5bc5-b98d-13d6226742dd",
    "value": "198.51.100.3",
}  # fmt: skip
TIMES = {"created": "2018-01-01T00:00:00.000Z", "modified": "2018-01-01T00:00:00.000Z"}
OLD_FORM = {"type": "tool", "id": TOOL, **TIMES, "name": "VNC", "labels": ["remote-access"]}
NEW_FORM = {
    "type": "tool",
    "spec_version": "2.1",
    "id": TOOL,
    **TIMES,
    "modified": "2019-01-01T00:00:00.000Z",
    "name": "VNC",
}
DATA = [*FT6, SHELL, LINK, OLD_FORM, NEW_FORM]

COL, NOWHERE = f"/api1/collections/{RW}/", "indicator--11111111-1111-4111-8111-111111111111"
TYPES = "match[type]"

#: Requests that both answer, and answer alike: what is asked, and for what is not a plain GET its other parts.
SAME: dict[str, dict[str, Any]] = {
    "/taxii2/": {},
    "/api1/": {},
    "/api3/": {},
    "/api1/collections/": {},
    "/api3/collections/": {},
    **{f"/api1/collections/{id_}/": {} for id_ in (RW, RO, WO, NN, EMPTY, UNKNOWN)},
    **{
        f"{COL}{resource}/{query}": {}
        for resource in ("objects", "manifest")
        for query in (
            "", "?match[version]=all", "?match[version]=first", "?match[version]=last", "?match[version]=first,last",
            "?match[version]=2018-08-08T01:52:01.234Z", "?match[version]=last,2018-08-08T01:53:01.345Z",
            f"?match[id]={A}", f"?match[id]={A},{B}", f"?match[id]={NOWHERE}", f"?match[id]={A}&match[version]=all",
            "?match[type]=indicator", "?match[type]=indicator,malware", "?match[type]=x-none",
            "?match[spec_version]=2.1", "?match[spec_version]=2.0",
            f"?match[type]=indicator&match[id]={A}", f"?match[type]=malware&match[id]={A}",
            "?limit=2", "?limit=1000", "?limit=3&match[version]=all", "?limit=0", "?limit=-1", "?limit=ten",
            "?added_after=2015-01-01T00:00:00Z", "?added_after=2999-01-01T00:00:00.000000Z", "?next=not-ours",
        )
    },
    **{
        f"{COL}objects/{A}/{query}": {}
        for query in ("", "?match[version]=all", "?match[version]=first", "?match[spec_version]=2.1", "?limit=2",
                      "?match[spec_version]=2.0")
    },
    f"{COL}objects/{A}/versions/": {},
    f"{COL}objects/{A}/versions/?limit=5": {},
    f"{COL}objects/{NOWHERE}/": {},
    f"{COL}objects/{NOWHERE}/versions/": {},
    **{f"/api1/collections/{WO}/{resource}": {} for resource in ("objects/", "manifest/", f"objects/{A}/")},
    **{f"/api1/collections/{UNKNOWN}/{resource}": {} for resource in ("objects/", "manifest/", f"objects/{A}/")},
    f"/api1/collections/{EMPTY}/objects/": {},
    f"/api1/collections/{EMPTY}/manifest/": {},
    "read only": {"method": "POST", "path": f"/api1/collections/{RO}/objects/", "json": {"objects": [indicator()]}},
    "delete from read only": {"method": "DELETE", "path": f"/api1/collections/{RO}/objects/{A}/"},
    "delete from write only": {"method": "DELETE", "path": f"/api1/collections/{WO}/objects/{A}/"},
    "delete where neither": {"method": "DELETE", "path": f"/api1/collections/{NN}/objects/{A}/"},
    "delete what is not there": {"method": "DELETE", "path": f"{COL}objects/{NOWHERE}/"},
    "no credentials": {"path": "/taxii2/", "headers": {"Authorization": None}},
    "wrong credentials": {"path": "/taxii2/", "headers": {"Authorization": "Basic cnc6d3Jvbmc="}},
    "no accept": {"path": "/taxii2/", "headers": {"Accept": None}},
    "another accept": {"path": "/taxii2/", "headers": {"Accept": "application/vnd.oasis.taxii+json; version=2.0"}},
    "another content type": {"method": "POST", "path": f"{COL}objects/", "json": {"objects": [indicator()]},
                             "headers": {"Content-Type": "text/plain"}},
    "add": {"method": "POST", "path": f"{COL}objects/", "json": {"objects": [indicator(), malware()]}},
    "add a bundle": {"method": "POST", "path": f"{COL}objects/",
                     "json": {"type": "bundle", "id": "bundle--5d0092c5-5f74-4287-9642-33f4c354e56d",
                              "objects": [indicator()]}},
}  # fmt: skip

#: Requests on which we part, and why.
DIFFERENCES: dict[str, dict[str, Any]] = {
    "1.6.8.1: an Accept without version is refused there": {
        "path": "/taxii2/", "headers": {"Accept": "application/taxii+json"}},
    "AMB-14: what is no JSON is a 400 there": {
        "method": "POST", "path": f"{COL}objects/", "data": b"{", "headers": {"Content-Type": MT}},
    "AMB-07: of an id whose both forms are asked for only one is there": {
        "path": f"{COL}objects/?match[spec_version]=2.0,2.1"},
    "AMB-03: a duplicate is a failure there": {
        "method": "POST", "path": f"{COL}objects/", "json": {"objects": [FT6[0]]}},
    "AMB-11: a missing slash is redirected there": {"path": "/taxii2"},
    "AMB-12: */* is refused there": {"path": "/taxii2/", "headers": {"Accept": "*/*"}},
    "AMB-13: an empty body is accepted there": {"method": "POST", "path": f"{COL}objects/", "json": {"objects": []}},
    "AMB-14: one bad object condemns the whole body there": {
        "method": "POST", "path": f"{COL}objects/", "json": {"objects": [indicator(), {"type": "indicator"}]}},
    "3.4: a parameter given twice is not refused there": {
        "path": f"{COL}objects/?match[type]=tool&match[type]=malware"},
    "a bad added_after is a 500 there": {"path": f"{COL}objects/?added_after=yesterday"},
    "a bad version is a 500 there": {"path": f"{COL}objects/?match[version]=newest"},
    "what OpenCTI posts is refused there": {
        "method": "POST", "path": f"{COL}objects/", "json": {"objects": [indicator()]},
        "headers": {"Content-Type": "application/stix+json;version=2.1"}},
    "AMB-05: a delete without version leaves the older ones there": {
        "method": "DELETE", "path": f"{COL}objects/{A}/", "then": f"{COL}objects/{A}/"},
    "one legal extension-definition breaks every read there": {
        "method": "POST", "path": f"{COL}objects/", "then": f"{COL}objects/",
        "json": {"objects": [{
            "type": "extension-definition", "spec_version": "2.1", **TIMES, "name": "x",
            "schema": "https://x.example/",
            "id": "extension-definition--71736db5-10db-43d3-b0e3-65cf81601fe1", "version": "1.0.0",
            "created_by_ref": "identity--f431f809-377b-45e0-aa1c-6a4751cae5ff",
            "extension_types": ["property-extension"],
        }]}},
}  # fmt: skip


class Peer:
    """medallion with the memory backend and the collections of tests/world.py."""

    def __init__(self) -> None:
        # Its own thread that drops old pages would outlive the tests; it need not run before they end.
        backend = {
            "module": "medallion.backends.memory_backend",
            "module_class": "MemoryBackend",
            "check_interval": 3600,
        }
        app = medallion.application_instance
        medallion.set_config(app, "users", {"users": {"rw": "secret"}})
        medallion.set_config(app, "taxii", {"taxii": {"max_page_size": 1000}})
        medallion.set_config(app, "backend", {"backend": backend})
        if "objects" not in app.blueprints:
            medallion.register_blueprints(app)
        app.medallion_backend.data = self._data()
        self.client = app.test_client()
        self.authorization = "Basic " + base64.b64encode(b"rw:secret").decode()

    @staticmethod
    def _data() -> dict[str, Any]:
        rights = {
            RW: ("Read write", True, True), RO: ("Read only", True, False), WO: ("Write only", False, True),
            NN: ("Neither", False, False), EMPTY: ("Empty", True, True),
        }  # fmt: skip
        collections = [
            {"id": id_, "title": title, "can_read": read, "can_write": write, "media_types": [], "manifest": [],
             "objects": []}
            for id_, (title, read, write) in rights.items()
        ]  # fmt: skip
        root = {"title": "First root", "versions": [MT], "max_content_length": 1_000_000}
        return {
            "/discovery": {
                "title": "Test hub",
                "contact": "soc@example.com",
                "default": "/api1/",
                "api_roots": ["/api1/"],
            },
            "api1": {"information": root, "status": [], "collections": collections},
        }

    def request(self, method: str, path: str, headers: dict[str, str | None], **more: Any) -> TestResponse:
        every = {"Accept": MT, "Authorization": self.authorization} | headers
        given = {name: value for name, value in every.items() if value is not None}
        try:
            return self.client.open(path, method=method, headers=given, **more)
        except Exception:  # noqa: BLE001 - its handler of a 500 fails itself
            return TestResponse(iter(()), "500 Internal Server Error", Headers(), Request({}))


class Ours:
    """The same collections in our server."""

    def __init__(self, hub: World) -> None:
        self.hub = hub

    def request(self, method: str, path: str, headers: dict[str, str | None], **more: Any) -> TestResponse:
        return self.hub.request(method, path, headers=headers, **more)


Side = Peer | Ours


@pytest.fixture(scope="module")
def peer() -> Peer:
    return _filled(Peer())


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    kept = {"rw", "ro", "wo", "nn", "empty"}
    with world(tmp_path_factory.mktemp("ours")) as hub:
        for name in list((hub.folder / "collections").iterdir()):
            if name.stem not in kept:
                name.unlink()
        hub.apply()
        yield _filled(Ours(hub))


def _filled(side: Any) -> Any:
    for each in DATA:  # one by one: what comes in one request has one date there
        answer = side.request("POST", f"{COL}objects/", {"Content-Type": MT}, json={"objects": [copy.deepcopy(each)]})
        assert answer.status_code == 202, answer.text
    return side


def ask(side: Side, name: str, asked: dict[str, Any]) -> Any:
    """The meaning of the answer; of the answer to what is asked `then`, too."""
    asked = copy.deepcopy(asked)
    method, path, then = asked.pop("method", "GET"), asked.pop("path", name), asked.pop("then", None)
    headers = asked.pop("headers", {})
    if "json" in asked:
        headers = {"Content-Type": MT} | headers
    answer = side.request(method, path, headers, **asked)
    if then is None:
        return meaning(answer)
    return meaning(answer), meaning(side.request("GET", then, {}))


def meaning(answer: TestResponse) -> tuple[int, object]:
    """Status, and what the body says apart from dates, ids of its own, and texts for people."""
    body = answer.get_json(silent=True, force=True)
    if answer.status_code >= 300 or not isinstance(body, dict):
        return answer.status_code, None
    if "api_roots" in body:
        roots = sorted(root.rstrip("/").rpartition("/")[2] for root in body["api_roots"])
        return answer.status_code, (body["title"], body["contact"], roots)
    if "max_content_length" in body:
        return answer.status_code, (body["title"], body["versions"], body["max_content_length"])
    if "collections" in body:
        return answer.status_code, sorted(map(_collection, body["collections"]))
    if "can_read" in body:
        return answer.status_code, _collection(body)
    if "total_count" in body:
        counts = ("status", "total_count", "success_count", "failure_count", "pending_count")
        return answer.status_code, tuple(body[name] for name in counts)
    if "versions" in body:
        return answer.status_code, (sorted(body["versions"]), bool(body.get("more")))
    objects = [{key: value for key, value in each.items() if key != "date_added"} for each in body.get("objects", [])]
    return answer.status_code, (objects, bool(body.get("more")))


def _collection(body: dict[str, Any]) -> tuple[str, str, bool, bool]:
    return body["id"], body["title"], body["can_read"], body["can_write"]


@pytest.mark.parametrize("name", SAME)
def test_we_answer_as_the_reference_server_does(peer: Peer, ours: Ours, name: str) -> None:
    assert ask(ours, name, SAME[name]) == ask(peer, name, SAME[name])


def test_an_observable_has_one_version_on_both(peer: Peer, ours: Ours) -> None:
    for side in (peer, ours):
        side.request("POST", f"{COL}objects/", {"Content-Type": MT}, json={"objects": [dict(ADDRESS)]})
        found = side.request("GET", f"{COL}objects/{ADDRESS['id']}/", {}).get_json()["objects"]
        assert found == [ADDRESS]
        assert len(side.request("GET", f"{COL}objects/{ADDRESS['id']}/versions/", {}).get_json()["versions"]) == 1


def test_pages_of_both_hold_the_same_in_the_same_order(peer: Peer, ours: Ours) -> None:
    walks = []
    for side in (peer, ours):
        found: list[Any] = []
        query = "match[version]=all&limit=3"
        path = f"{COL}objects/?{query}"
        while True:
            page = side.request("GET", path, {}).get_json()
            found += page["objects"]
            if not page.get("more"):
                break
            path = f"{COL}objects/?{query}&next={page['next']}"
        walks.append([each for each in found if each in DATA])
    assert walks[0] == walks[1]
    assert len(walks[0]) >= 8


def test_an_empty_answer_has_dates_here_and_none_there(peer: Peer, ours: Ours) -> None:
    """AMB-02: the standard wants them on every 200, and Elastic loses its place without."""
    path = f"/api1/collections/{EMPTY}/objects/"
    assert LAST in ours.request("GET", path, {}).headers
    assert LAST not in peer.request("GET", path, {}).headers


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_we_part_we_still_do(peer: Peer, ours: Ours, name: str) -> None:
    here, there = ask(ours, name, DIFFERENCES[name]), ask(peer, name, DIFFERENCES[name])
    assert here != there
    answers = here if "then" in DIFFERENCES[name] else [here]
    assert all(status < 500 for status, _ in answers)
