"""The test cases of the OASIS interoperability document, by its section numbers, with its ids where they are known.

Not here: 3.1.3 (client certificates belong to the proxy in front), 3.13.2.1 to 3.13.2.5 (optional filters that this
server does not have: an unknown match field is ignored).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from taxii_server.auth.secrets import new_password
from tests.web.data import observable
from tests.web.rooms import InspectedWorld
from tests.world import FIRST, FT6, LAST, MT, A, World, audiences, collection, indicator, malware

RW, RO, WO = (
    "378e5de7-84a4-45e4-8a34-c02a43d0b657",
    "253900d3-b9dd-46df-8184-469380fae6d2",
    "1105e147-e4c1-4566-8fb1-1046d181fbf8",
)
NN, EMPTY, UNKNOWN = (
    "91a7b528-80eb-42ed-a74d-c6fbd5a26116",
    "64993447-4d7e-4f70-b94d-d7f33742ee63",
    "d021ecc8-ab8e-41ab-815e-911c7e329f88",
)
INDICATOR = "indicator--252c7c11-daf2-42bd-843b-be65edca9f61"
BASIC = "Basic dGVzdDpQYXNzdzByZCE="  # test:Passw0rd!


@pytest.fixture(scope="module")
def txs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server of the document: the user test, and one collection of each kind."""
    both = {"readers": ["test", "admin"], "writers": ["test", "admin"]}
    made = InspectedWorld(
        tmp_path_factory.mktemp("interop"),
        partners=audiences({"test": "", "admin": ""}),
        collections={
            "rw": collection(RW, "Read write", **both),
            "ro": collection(RO, "Read only", readers=["test", "admin"], writers=["admin"]),
            "wo": collection(WO, "Write only", readers=["admin"], writers=["test"]),
            "nn": collection(NN, "Neither", readers=["admin"], writers=["admin"], visible_to=["test"]),
            "empty": collection(EMPTY, "Empty", **both),
            "other": collection("365fed99-08fa-4ddc-a1b3-fb247eb41d01", "Other", root="api2", **both),
        },
    )
    made.store.save_credential(new_password("test", "test", "Passw0rd!"))
    assert made.post([indicator(INDICATOR, name="first"), malware(), observable(), *FT6], "test").status_code == 202
    assert made.post([indicator()], "admin", RO).status_code == 202
    yield made
    made.close()


def get(txs: World, path: str, status: int = 200) -> Any:
    answer = txs.get(path, headers={"Authorization": BASIC})
    assert answer.status_code == status, answer.text
    return answer


def objects(txs: World, query: str = "") -> list[dict[str, Any]]:
    return list(get(txs, f"/api1/collections/{RW}/objects/{query}").json.get("objects", []))


def test_3_1_1_missing_authorization_parameter(txs: World) -> None:
    answer = txs.get("/taxii2/", None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]
    assert (answer.json["title"], answer.json["http_status"]) == ("Unauthorized", "401")


def test_3_1_2_authorization_parameter_error(txs: World) -> None:
    answer = txs.get("/taxii2/", headers={"Authorization": "Basic dGVzdDp3cm9uZw=="})
    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]


def test_3_1_4_http_basic_authentication(txs: World) -> None:
    assert get(txs, "/taxii2/").content_type == MT


def test_3_2_1_get_discovery_resource(txs: World) -> None:
    body = get(txs, "/taxii2/").json
    assert set(body) == {"title", "description", "contact", "default", "api_roots"}
    assert body["api_roots"] == ["/api1/", "/api2/"]
    assert body["default"] in body["api_roots"]


def test_3_3_1_get_api_root_resource(txs: World) -> None:
    body = get(txs, "/api2/").json
    assert body["versions"] == [MT]
    assert body["max_content_length"] == 104857600


def test_3_3_2_incorrect_api_root_information(txs: World) -> None:
    assert get(txs, "/api3/", 404).json["http_status"] == "404"


def test_3_4_1_get_collections_resource_in_the_order_of_ids(txs: World) -> None:
    ids = [each["id"] for each in get(txs, "/api1/collections/").json["collections"]]
    assert ids == sorted([WO, RO, RW, NN, EMPTY])


@pytest.mark.parametrize(
    ("id_", "can_read", "can_write"),
    [
        pytest.param(WO, False, True, id="3.5.1.1 write-only"),
        pytest.param(RW, True, True, id="3.5.1.2 read-write"),
        pytest.param(RO, True, False, id="3.5.1.3 read-only"),
        pytest.param(NN, False, False, id="3.5.1.4 no-read-no-write"),
    ],
)
def test_3_5_1_collection_resources(txs: World, id_: str, can_read: bool, can_write: bool) -> None:
    body = get(txs, f"/api1/collections/{id_}/").json
    assert (body["id"], body["can_read"], body["can_write"]) == (id_, can_read, can_write)


def test_3_5_2_1_read_request_for_a_write_only_collection(txs: World) -> None:
    get(txs, f"/api1/collections/{WO}/objects/", 403)


def test_3_5_2_2_write_request_to_a_read_only_collection(txs: World) -> None:
    assert txs.post([indicator()], "test", RO).status_code == 403


@pytest.mark.parametrize("id_", [RO, WO])
def test_3_5_2_3_delete_request_to_a_read_only_or_write_only_collection(txs: World, id_: str) -> None:
    assert txs.delete(f"/api1/collections/{id_}/objects/{INDICATOR}/", "test").status_code == 403


def test_3_5_2_4_delete_request_to_a_no_read_no_write_collection(txs: World) -> None:
    assert txs.delete(f"/api1/collections/{NN}/objects/{INDICATOR}/", "test").status_code == 404


def test_3_5_3_incorrect_collection_information(txs: World) -> None:
    get(txs, f"/api1/collections/{UNKNOWN}/", 404)


def test_3_6_1_get_manifest_resource(txs: World) -> None:
    answer = get(txs, f"/api1/collections/{RW}/manifest/")
    assert set(answer.json["objects"][0]) == {"id", "date_added", "version", "media_type"}
    assert answer.headers[FIRST] == answer.json["objects"][0]["date_added"]
    assert answer.headers[LAST] == answer.json["objects"][-1]["date_added"]
    get(txs, f"/api1/collections/{WO}/manifest/", 403)


def test_3_7_1_get_envelope_resource(txs: World) -> None:
    answer = get(txs, f"/api1/collections/{RW}/objects/?match[type]=indicator")
    assert {INDICATOR, A} < {each["id"] for each in answer.json["objects"]}
    assert answer.headers[FIRST] < answer.headers[LAST]


def test_3_7_2_no_objects(txs: World) -> None:
    assert get(txs, f"/api1/collections/{EMPTY}/objects/").json in ({}, {"more": False})


def test_3_8_1_get_an_object(txs: World) -> None:
    (found,) = get(txs, f"/api1/collections/{RW}/objects/{INDICATOR}/").json["objects"]
    assert found["id"] == INDICATOR
    get(txs, f"/api1/collections/{WO}/objects/{INDICATOR}/", 403)


def test_3_8_2_object_not_found(txs: World) -> None:
    get(txs, f"/api1/collections/{RW}/objects/{indicator()['id']}/", 404)


def test_3_9_1_get_versions_resource(txs: World) -> None:
    assert get(txs, f"/api1/collections/{RW}/objects/{INDICATOR}/versions/").json == {
        "versions": ["2020-01-01T00:00:00.000Z"]
    }


def test_3_10_1_add_envelope_resource_and_3_11_1_get_status_resource(txs: World) -> None:
    answer = txs.post([indicator()], "test", WO)
    assert answer.status_code == 202
    counts = [answer.json[f"{what}_count"] for what in ("total", "success", "failure", "pending")]
    assert (answer.json["status"], counts) == ("complete", [1, 1, 0, 0])
    assert get(txs, f"/api1/status/{answer.json['id']}/").json == answer.json


def test_3_11_2_get_all_status_properties(txs: World) -> None:
    posted = txs.post([indicator(), {"type": "x"}], "test", WO).json
    status = get(txs, f"/api1/status/{posted['id']}/").json
    # Everything is decided within the request, so nothing is ever pending here.
    assert set(status) == {
        "id", "status", "request_timestamp", "successes", "failures",
        "total_count", "success_count", "failure_count", "pending_count",
    }  # fmt: skip
    assert status["failures"][0]["message"]


def test_3_12_1_delete(txs: World) -> None:
    sent = indicator()
    txs.post([sent], "test")
    assert txs.delete(f"/api1/collections/{RW}/objects/{sent['id']}/", "test").status_code == 200
    get(txs, f"/api1/collections/{RW}/objects/{sent['id']}/", 404)


def test_3_13_1_1_added_after(txs: World) -> None:
    records = get(txs, f"/api1/collections/{RW}/manifest/").json["objects"]
    found = objects(txs, f"?added_after={records[0]['date_added']}")
    assert [each["id"] for each in found] == [each["id"] for each in records[1:]]


def test_3_13_1_2_limit(txs: World) -> None:
    page = get(txs, f"/api1/collections/{RW}/objects/?limit=1").json
    assert (len(page["objects"]), page["more"]) == (1, True)


def test_3_13_1_3_match_id(txs: World) -> None:
    assert [each["id"] for each in objects(txs, f"?match[id]={INDICATOR}")] == [INDICATOR]


def test_3_13_1_4_match_type(txs: World) -> None:
    assert {each["type"] for each in objects(txs, "?match[type]=indicator")} == {"indicator"}


def test_3_13_1_5_match_version(txs: World) -> None:
    assert [each["name"] for each in objects(txs, f"?match[version]=first&match[id]={A}")] == ["A1"]


def test_3_13_1_6_match_spec_version(txs: World) -> None:
    assert {each["spec_version"] for each in objects(txs, "?match[spec_version]=2.1")} == {"2.1"}
    assert objects(txs, "?match[spec_version]=2.0") == []


def test_3_13_1_7_logical_or_operator(txs: World) -> None:
    assert {each["type"] for each in objects(txs, "?match[type]=indicator,malware")} == {"indicator", "malware"}


def test_3_13_1_8_logical_and_operator(txs: World) -> None:
    assert [each["id"] for each in objects(txs, f"?match[type]=indicator&match[id]={INDICATOR}")] == [INDICATOR]
    assert objects(txs, f"?match[type]=malware&match[id]={INDICATOR}") == []


def test_3_13_1_9_logical_or_and_and_operators(txs: World) -> None:
    found = objects(txs, f"?match[type]=indicator,malware&match[id]={INDICATOR},{A}")
    assert [each["id"] for each in found] == [INDICATOR, A]


def test_3_13_1_10_duplicate_filter_parameter(txs: World) -> None:
    get(txs, f"/api1/collections/{RW}/objects/?match[type]=campaign&match[type]=malware", 400)


def test_3_13_2_optional_filters(txs: World) -> None:
    everything = objects(txs)
    indicators = [each for each in everything if each["type"] == "indicator"]
    assert objects(txs, "?match[pattern_type]=stix") == indicators
    assert objects(txs, f"?match[name]=nobody,{indicators[0]['name']}") == indicators[:1]
    for query in (
        "match[name]=nobody",
        "match[labels]=nothing",
        "match[external_id]=T0",
        "match[relationships-all]=identity--f431f809-377b-45e0-aa1c-6a4751cae5ff",
        "match[confidence-gte]=10",
        "match[revoked]=true",
    ):
        assert objects(txs, f"?{query}") == [], query
    versioned = [each for each in everything if "modified" in each]
    assert objects(txs, "?match[revoked]=false") == everything
    assert objects(txs, "?match[revoked]=false&match[modified-gte]=2000-01-01T00:00:00Z") == versioned
    assert objects(txs, "?match[modified-lte]=2000-01-01T00:00:00Z") == []


def test_3_14_1_pagination_of_versions_by_the_header(txs: World) -> None:
    url = f"/api1/collections/{RW}/objects/{A}/versions/"
    first = get(txs, f"{url}?limit=3")
    assert (len(first.json["versions"]), first.json["more"]) == (3, True)
    second = get(txs, f"{url}?added_after={first.headers[LAST]}")
    assert (len(second.json["versions"]), second.json.get("more", False)) == (2, False)
    assert first.json["versions"] + second.json["versions"] == [each["modified"] for each in FT6[:5]]


# CUS-06, ADD-26
def test_3_15_1_custom_properties(txs: World) -> None:
    name = f"x_{str(uuid.uuid4()).replace('-', '_')}_test_client"
    answer = txs.request(
        "POST",
        f"/api1/collections/{WO}/objects/",
        "test",
        headers={"Content-Type": MT},
        json={"objects": [indicator()], name: {"nested": [1]}},
    )
    assert (answer.status_code, answer.json["success_count"]) == (202, 1)
