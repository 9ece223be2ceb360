"""What holds for every endpoint: paths, methods, encodings, and the form of values (TAXII 2.1, 2, 3.1 and 3.8).

Odd URLs are data: tests/cases/taxii/urls.toml. The shapes of resources are in shapes.py and hold for every answer
of every test, which is how EP-03, EP-11, EP-12, EP-13, TYPE-01, TYPE-02, TYPE-04, TYPE-05, TYPE-06,
TYPE-07, TYPE-08, TYPE-11, CONF-01 and CONF-02 are covered.
"""

from __future__ import annotations

import json

import pytest

from tests.web.data import TEXT, observable
from tests.web.endpoints import Endpoint, by_name, endpoints
from tests.web.rooms import LIBRARY, MakeHub, Room
from tests.web.shapes import SHAPES, TS6
from tests.world import FT6, HIDDEN, MT, RW, UNKNOWN, A, World, indicator

READS = [each for each in endpoints(LIBRARY) if each.method == "GET" and each.name != "GET STAT"]


# EP-01, EP-03, EP-05, EP-10
@pytest.mark.parametrize("endpoint", READS, ids=by_name)
def test_every_endpoint_serves_its_resource_as_utf_8_json(hub: World, endpoint: Endpoint) -> None:
    answer = hub.get(endpoint.path, "ro")
    assert answer.status_code == 200
    assert answer.data.startswith(b"{")
    assert json.loads(answer.data.decode("utf-8"))


# EP-02
@pytest.mark.parametrize("endpoint", endpoints(LIBRARY), ids=by_name)
def test_a_path_without_its_final_slash_is_not_found(hub: World, endpoint: Endpoint) -> None:
    answer = hub.request(endpoint.method, endpoint.path.rstrip("/"), "admin")
    assert answer.status_code == 404
    assert "Location" not in answer.headers


# EP-02
def test_a_server_may_be_told_to_serve_paths_without_the_final_slash(make_hub: MakeHub) -> None:
    hub = make_hub(settings='trailing_slash = "serve"')
    assert hub.client.get("/taxii2", headers={"Accept": MT, "Authorization": hub.basic("rw")}).status_code == 200
    url = f"/api1/collections/{RW}/objects"
    headers = {"Accept": MT, "Content-Type": MT, "Authorization": hub.basic("rw")}
    assert hub.client.post(url, headers=headers, json={"objects": FT6}).status_code == 202
    assert len(hub.client.get(url + "?match[version]=all", headers=headers).json["objects"]) == 6


# EP-06
@pytest.mark.parametrize("endpoint", READS, ids=by_name)
def test_head_has_the_status_and_headers_of_get_and_no_body(hub: World, endpoint: Endpoint) -> None:
    head, get = hub.request("HEAD", endpoint.path, "ro"), hub.request("GET", endpoint.path, "ro")
    assert (head.status, head.headers, head.data) == (get.status, get.headers, b"")
    assert get.data


# EP-06, ERR-07
@pytest.mark.parametrize(
    ("path", "partner", "status"),
    [
        ("/nope/", "rw", 404),
        ("/taxii2/", None, 401),
        (f"/api1/collections/{RW}/objects/?limit=0", "rw", 400),
        (f"/api1/collections/{LIBRARY}/objects/{A}x/", "ro", 404),
    ],
)
def test_an_error_to_head_has_no_body(hub: World, path: str, partner: str | None, status: int) -> None:
    head = hub.request("HEAD", path, partner)
    assert (head.status_code, head.data) == (status, b"")


# EP-07
@pytest.mark.parametrize(
    ("method", "tail", "allowed"),
    [
        ("PUT", "objects/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("DELETE", "objects/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "../", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "manifest/", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", f"objects/{A}/", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", f"objects/{A}/", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("DELETE", f"objects/{A}/versions/", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "objects/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("BREW", "objects/", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_an_unsupported_method_is_answered_405_with_allow(
    hub: World, method: str, tail: str, allowed: set[str]
) -> None:
    path = "/api1/collections/" if tail == "../" else f"/api1/collections/{RW}/{tail}"
    answer = hub.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert answer.json["error_code"] == "method-not-allowed"


# EP-18, POL-03, AUTH-14
@pytest.mark.parametrize("method", ["PUT", "DELETE", "BREW"])
@pytest.mark.parametrize("tail", ["objects/", "manifest/", "", "../"])
def test_an_unsupported_method_is_answered_404_where_nothing_is_visible(hub: World, method: str, tail: str) -> None:
    places = ["/nope/collections/" if tail == "../" else f"/nope/collections/{RW}/{tail}"]
    if tail != "../":
        places += [f"/api1/collections/{each}/{tail}" for each in (HIDDEN, UNKNOWN)]
    for path in places:
        answer = hub.request(method, path)
        assert (answer.status_code, answer.json["error_code"]) == (404, "not-found"), path
    assert hub.request(method, "/nope/").status_code == 404


# EP-08
def test_options_lists_the_methods(hub: World) -> None:
    answer = hub.request("OPTIONS", f"/api1/collections/{RW}/objects/", headers={"Accept": None})
    assert answer.status_code == 204
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    assert hub.request("OPTIONS", f"/api1/collections/{RW}/objects/", None).status_code == 401
    assert hub.request("OPTIONS", "/nope/x/y/z/").status_code == 404


# EP-09
@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_told_outside_the_taxii_urls_and_without_credentials(hub: World, path: str) -> None:
    answer = hub.get(path, None, headers={"Accept": None})
    assert answer.status_code == 200
    assert answer.data in (b"ok\n", b"ready\n")
    assert hub.get("/taxii2/").json["default"] == "/api1/"


# EP-14
def test_a_request_without_a_user_agent_is_served(hub: World) -> None:
    answer = hub.client.get(
        "/taxii2/",
        headers={"Accept": MT, "Authorization": hub.basic("rw")},
        environ_overrides={"HTTP_USER_AGENT": ""},
    )
    assert answer.status_code == 200


# EP-15
def test_encoded_colons_in_values_are_colons(hub: World) -> None:
    url = f"/api1/collections/{LIBRARY}/objects/?match%5Bid%5D={A}&match%5Bversion%5D="
    raw = hub.get(url + "2018-08-08T01:52:01.234Z", "ro")
    encoded = hub.get(url + "2018-08-08T01%3A52%3A01.234Z", "ro")
    assert raw.data == encoded.data
    assert [each["name"] for each in raw.json["objects"]] == ["A2"]


# EP-19
@pytest.mark.parametrize("size", [300, 7_900])
def test_long_ids_are_not_found(hub: World, size: int) -> None:
    long = "a" * size
    for path in (
        f"/{long}/",
        f"/api1/collections/{long}/",
        f"/api1/collections/{LIBRARY}/objects/{long}/",
        f"/api1/collections/{LIBRARY}/objects/indicator--{long}/versions/",
        f"/api1/status/{long}/",
    ):
        assert hub.get(path, "ro").status_code == 404


# TYPE-03, VER-01, STAT-14
def test_versions_come_back_in_the_digits_they_were_posted_in(room: Room) -> None:
    times = [
        "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00.100Z",
        "2020-01-01T00:00:01.123456Z",
        "2021-01-01T00:00:00.0Z",
    ]
    id_ = indicator()["id"]
    status = room.post([indicator(id_, time) for time in times])
    assert [each["version"] for each in status["successes"]] == times
    assert [each["version"] for each in room.manifest("?match[version]=all")] == times
    assert room.versions(id_) == times
    assert [each["modified"] for each in room.objects("?match[version]=all")] == times


# TYPE-01, TYPE-02
def test_timestamps_of_the_server_have_six_digits_and_end_in_z(room: Room) -> None:
    status = room.post([*FT6, observable()])
    assert TS6.fullmatch(status["request_timestamp"])
    assert TS6.fullmatch(status["successes"][6]["version"])
    assert all(TS6.fullmatch(each["date_added"]) for each in room.manifest("?match[version]=all"))


# TYPE-09, EP-10
def test_text_in_any_script_survives(room: Room) -> None:
    room.store(indicator(name=TEXT, labels=[TEXT]))
    (found,) = room.objects()
    assert (found["name"], found["labels"]) == (TEXT, [TEXT])


# TYPE-12
def test_positions_are_kept_to_the_microsecond(room: Room) -> None:
    room.store(*[indicator() for _ in range(50)])
    dates = [each["date_added"] for each in room.manifest()]
    assert len(set(dates)) == 50
    assert any(not date.endswith("000Z") for date in dates)


# CUS-01, CUS-02, CUS-03, CUS-04, ERR-08: the shapes let only x_ names through; this server has none of its own
def test_the_shapes_refuse_unknown_names_and_take_custom_ones() -> None:
    shape = SHAPES["error"]
    assert shape({"title": "x", "x_acme_com_note": 1})
    assert not shape({"title": "x", "note": 1})
    assert not shape({"title": "x", "x_Acme": 1})
    assert not SHAPES["envelope"]({"objects": []})
    assert not SHAPES["envelope"]({"objects": None})
