"""taxii2-client, as OpenCTI, MISP, XSOAR and Splunk use it, against the real server."""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from requests.auth import AuthBase
from taxii2client import v21
from taxii2client.common import TokenAuth
from taxii2client.exceptions import AccessError, ValidationError

from tests.e2e.server import KNOWN_S, Server
from tests.world import ALIAS, FT6, HIDDEN, RO, WO, A, B, indicator, malware

Connect = Callable[..., v21.Collection]


class BearerAuth(AuthBase):
    """How a script adds a bearer token to requests."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Makes collection clients, and closes them at the end."""
    with ExitStack() as stack:

        def make(collection_id: str, partner: str = "rw", root: str = "api2") -> v21.Collection:
            url = f"{server.url}/{root}/collections/{collection_id}/"
            return stack.enter_context(v21.Collection(url, user=partner, password=server.token(partner)))

        yield make


@pytest.fixture
def collection(connect: Connect, lane_id: str) -> v21.Collection:
    """A collection of the test's own, read and written by rw."""
    return connect(lane_id)


# ---- finding the way


def test_from_the_discovery_url_to_the_collections(server: Server) -> None:
    with v21.Server(f"{server.url}/taxii2/", user="rw", password=server.token("rw")) as found:
        assert found.title == "Test hub"
        assert found.contact == "soc@example.com"
        assert found.default is not None
        roots = {root.title: root for root in found.api_roots}
        assert set(roots) == {"First root", "Second root"}
        first = roots["First root"]
        assert first.versions == ["application/taxii+json;version=2.1"]
        assert first.max_content_length == 1_000_000
        titles = {each.title: each for each in first.collections}
        assert {"Read write", "Read only", "Write only", "Neither", "Empty", "With alias"} == set(titles)
        assert (titles["Read only"].can_read, titles["Read only"].can_write) == (True, False)
        assert (titles["Write only"].can_read, titles["Write only"].can_write) == (False, True)
        assert (titles["Neither"].can_read, titles["Neither"].can_write) == (False, False)
        assert all(each.media_types for each in titles.values())
        assert [each.id for each in first.collections] == sorted(each.id for each in first.collections)


def test_a_collection_that_is_hidden_is_a_404_like_one_that_does_not_exist(connect: Connect) -> None:
    for unknown in (HIDDEN, "d021ecc8-ab8e-41ab-815e-911c7e329f88"):
        with pytest.raises(requests.HTTPError) as caught:
            _ = connect(unknown, root="api1").title
        assert caught.value.response.status_code == 404


def test_the_client_itself_refuses_what_can_read_and_can_write_say(connect: Connect) -> None:
    with pytest.raises(AccessError):
        connect(RO, root="api1").add_objects({"objects": [indicator()]})
    with pytest.raises(AccessError):
        connect(WO, root="api1").get_objects()


def test_a_collection_is_found_by_its_id_not_by_its_alias(connect: Connect) -> None:
    """taxii2-client insists that the id is part of the URL."""
    assert connect(ALIAS, root="api1").title == "With alias"
    with pytest.raises(ValidationError):
        _ = connect("critical-high-value-indicators", root="api1").title


# ---- credentials


@pytest.mark.parametrize("auth", [BearerAuth, TokenAuth], ids=["Bearer", "Token"])
def test_a_token_works_as_bearer_and_as_taxii2_client_spells_it(server: Server, auth: Callable[[str], Any]) -> None:
    with v21.Server(f"{server.url}/taxii2/", auth=auth(server.token("rw"))) as found:
        assert found.title == "Test hub"


def test_a_password_works_with_a_user_name_of_its_own(server: Server) -> None:
    server.cli("password", "set", "rw", "--user", "analyst", "--password", "päss wörd:with colon")
    time.sleep(KNOWN_S)
    with v21.Server(f"{server.url}/taxii2/", user="analyst", password="päss wörd:with colon".encode()) as found:
        assert found.title == "Test hub"


@pytest.mark.parametrize("password", ["wrong", "txs_000000000000_x"])
def test_a_wrong_secret_is_a_401(server: Server, password: str) -> None:
    with v21.Server(f"{server.url}/taxii2/", user="rw", password=password) as found:
        with pytest.raises(requests.HTTPError) as caught:
            _ = found.title
        assert caught.value.response.status_code == 401


def test_a_token_of_one_partner_is_no_password_of_another(server: Server) -> None:
    with v21.Server(f"{server.url}/taxii2/", user="admin", password=server.token("rw")) as found:
        with pytest.raises(requests.HTTPError) as caught:
            _ = found.title
        assert caught.value.response.status_code == 401


# ---- adding


def test_what_is_added_is_complete_and_comes_back_equal(collection: v21.Collection) -> None:
    made = indicator(x_acme_note="π 𝄞 \u2028", confidence=85, x_number=1.50)
    status = collection.add_objects({"objects": [made]})
    assert (status.status, status.total_count, status.success_count) == ("complete", 1, 1)
    assert (status.failure_count, status.pending_count) == (0, 0)
    assert status.successes[0]["id"] == made["id"]
    assert collection.get_object(made["id"])["objects"] == [made]


def test_a_status_can_be_asked_for_later_by_its_submitter_only(server: Server, collection: v21.Collection) -> None:
    status = collection.add_objects({"objects": [indicator(), {"type": "indicator", "id": "no id"}]})
    assert (status.success_count, status.failure_count) == (1, 1)
    url = f"{server.url}/api2/status/{status.id}/"
    with v21.Status(url, user="rw", password=server.token("rw")) as again:
        assert (again.status, again.total_count, len(again.failures)) == ("complete", 2, 1)
        assert again.failures[0]["message"]
        again.refresh()
    assert server.get(url, "partner_b").status_code == 404
    assert server.get(url, "admin").status_code == 200


def test_adding_twice_is_success_and_no_new_record(collection: v21.Collection) -> None:
    body = {"objects": [indicator() for _ in range(3)]}
    collection.add_objects(body)
    before = collection.get_manifest()["objects"]
    status = collection.add_objects(body)
    assert (status.success_count, status.failure_count) == (3, 0)
    assert collection.get_manifest()["objects"] == before


def test_text_and_bytes_are_added_as_they_are(collection: v21.Collection) -> None:
    for number, body in enumerate(['{"objects": [%s]}', b'{"objects": [%s]}']):
        made = f'{{"type":"malware","spec_version":"2.1","id":"malware--0000000{number}-4aa4-4aaa-8aaa-aaaaaaaaaaaa",' \
            '"created":"2020-01-01T00:00:00.0Z","modified":"2020-01-01T00:00:00.120Z","is_family":false}'  # fmt: skip
        status = collection.add_objects(body % (made.encode() if isinstance(body, bytes) else made))
        assert status.success_count == 1


# ---- reading


def test_pages_hold_everything_once_and_in_order(collection: v21.Collection) -> None:
    made = [indicator() for _ in range(47)]
    collection.add_objects({"objects": made})
    for per_request in (0, 1, 10, 46, 47, 48, 5000):
        pages = list(v21.as_pages(collection.get_objects, per_request=per_request))
        got = [each["id"] for page in pages for each in page["objects"]]
        assert got == [each["id"] for each in made], per_request
        assert all(page["objects"] for page in pages)
        if 0 < per_request < 47:
            assert len(pages) == -(-47 // per_request)


def test_manifest_and_versions_come_in_pages_too(collection: v21.Collection) -> None:
    collection.add_objects({"objects": FT6})
    entries = _items(v21.as_pages(collection.get_manifest, per_request=2, version="all"))
    assert [entry["id"] for entry in entries] == [A] * 5 + [B]
    assert [entry["date_added"] for entry in entries] == sorted({entry["date_added"] for entry in entries})
    assert {entry["media_type"] for entry in entries} == {"application/stix+json;version=2.1"}
    versions = collection.object_versions(A)["versions"]
    assert versions == [each["modified"] for each in FT6[:5]]
    # per_request of taxii2-client counts "objects", of which a versions resource has none: limit is what asks.
    assert len(collection.object_versions(A, limit=2)["versions"]) == 2


def test_filters_and_versions(collection: v21.Collection) -> None:
    virus = malware()
    collection.add_objects({"objects": [*FT6, virus]})
    assert [each["name"] for each in collection.get_objects(id=A)["objects"]] == ["A5"]
    assert [each["name"] for each in collection.get_objects(id=[A, B], version="first")["objects"]] == ["A1", "B"]
    assert {each["type"] for each in collection.get_objects(type=["malware", "tool"])["objects"]} == {"malware"}
    at = datetime.datetime(2018, 8, 8, 1, 53, 1, 345_000, tzinfo=datetime.UTC)
    assert [each["name"] for each in collection.get_objects(version=at)["objects"]] == ["A3"]
    every = collection.get_object(A, version="all")["objects"]
    assert [each["name"] for each in every] == ["A1", "A2", "A3", "A4", "A5"]
    assert len(collection.get_objects(spec_version="2.1")["objects"]) == 3
    assert collection.get_objects(spec_version="2.0") == {}
    assert collection.get_objects(type="tool") == {}


def test_added_after_goes_on_where_the_manifest_ended(collection: v21.Collection) -> None:
    collection.add_objects({"objects": [indicator() for _ in range(5)]})
    last = collection.get_manifest()["objects"][-1]["date_added"]
    assert collection.get_objects(added_after=last) == {}
    late = indicator()
    collection.add_objects({"objects": [late]})
    assert collection.get_objects(added_after=last)["objects"] == [late]
    moment = datetime.datetime.fromisoformat(last)
    assert collection.get_objects(added_after=moment)["objects"] == [late]


def test_delete_one_version_then_all(collection: v21.Collection) -> None:
    collection.add_objects({"objects": FT6})
    collection.delete_object(A, version="first")
    assert len(collection.object_versions(A)["versions"]) == 4
    collection.delete_object(A)
    for call in (collection.get_object, collection.object_versions, collection.delete_object):
        with pytest.raises(requests.HTTPError) as caught:
            call(A)
        assert caught.value.response.status_code == 404
    assert [each["id"] for each in collection.get_objects()["objects"]] == [B]


def test_what_others_posted_cannot_be_deleted(connect: Connect, lane_id: str) -> None:
    made = indicator()
    connect(lane_id, "admin").add_objects({"objects": [made]})
    with pytest.raises(requests.HTTPError) as caught:
        connect(lane_id).delete_object(made["id"])
    assert caught.value.response.status_code == 403


def test_an_empty_collection_is_an_empty_page(collection: v21.Collection) -> None:
    assert list(v21.as_pages(collection.get_objects, per_request=10)) == [{}]
    assert list(v21.as_pages(collection.get_manifest, per_request=10)) == [{}]


def test_hidden_objects_leave_no_gap_in_pages(connect: Connect, lane_id: str) -> None:
    red = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
    made = [indicator(object_marking_refs=[red]) if number % 3 else indicator() for number in range(30)]
    connect(lane_id, "admin").add_objects({"objects": made})
    open_ids = [each["id"] for each in made if "object_marking_refs" not in each]
    pages = list(v21.as_pages(connect(lane_id).get_objects, per_request=4))
    assert [len(page["objects"]) for page in pages] == [4, 4, 2]
    assert [each["id"] for page in pages for each in page["objects"]] == open_ids
    assert len(_items(v21.as_pages(connect(lane_id, "admin").get_objects, per_request=4))) == 30


def _items(pages: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(itertools.chain.from_iterable(page.get("objects", []) for page in pages))
