"""Server discovery (TAXII 2.1, 4.1)."""

from __future__ import annotations

import re

import pytest

from tests.web.rooms import MakeHub
from tests.world import HIDDEN, MT, RW, World


# DISC-01, DISC-02, DISC-03, DISC-04, DISC-05, DISC-09
def test_discovery_is_at_the_root_of_the_server(hub: World) -> None:
    assert hub.get("/taxii2/").json == {
        "title": "Test hub",
        "description": "for tests",
        "contact": "soc@example.com",
        "default": "/api1/",
        "api_roots": ["/api1/", "/api2/"],
    }


# DISC-05
def test_a_client_sees_the_api_roots_it_has_a_collection_under(hub: World) -> None:
    assert hub.get("/taxii2/", "partner_b").json["api_roots"] == ["/api1/"]


# DISC-10, TYPE-07
def test_a_client_without_api_roots_gets_no_list(hub: World) -> None:
    assert set(hub.get("/taxii2/", "stranger").json) == {"title", "description", "contact"}


# DISC-06, DISC-07, DISC-08, DISC-14, DISC-09
@pytest.mark.parametrize(
    "settings", ["", 'public_url = "https://taxii.example/"', 'public_url = "https://taxii.example"']
)
def test_api_roots_are_https_urls_or_paths_that_end_in_a_plain_name(make_hub: MakeHub, settings: str) -> None:
    body = make_hub(settings=settings).get("/taxii2/").json
    prefix = "https://taxii.example" if settings else ""
    assert body["api_roots"] == [f"{prefix}/api1/", f"{prefix}/api2/"]
    for url in body["api_roots"]:
        path = url.removeprefix(prefix)
        assert re.match(r"/(?!/)", path)
        assert "?" not in url
        assert url.split("/")[-2] in ("api1", "api2")
    assert body["default"] in body["api_roots"]


# DISC-11
def test_every_api_root_that_is_listed_can_be_fetched(hub: World) -> None:
    for path in hub.get("/taxii2/").json["api_roots"]:
        assert hub.get(path).status_code == 200
        assert hub.get(f"{path}collections/").json["collections"]


# DISC-06: the Host header is the client's text
def test_the_host_header_is_not_echoed(hub: World) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    assert hub.get("/taxii2/", headers=headers).data == hub.get("/taxii2/").data
    assert "evil" not in hub.get("/taxii2", headers=headers).text


# DISC-13
@pytest.mark.parametrize(("partner", "accept", "status"), [(None, MT, 401), ("rw", "text/html", 406)])
def test_discovery_fails_as_the_table_says(hub: World, partner: str | None, accept: str, status: int) -> None:
    assert hub.get("/taxii2/", partner, headers={"Accept": accept}).status_code == status


# DISC-05, POL-01: nothing of another partner shows
def test_discovery_says_nothing_about_hidden_collections(hub: World) -> None:
    assert HIDDEN not in hub.get("/taxii2/").text
    assert RW not in hub.get("/taxii2/").text
