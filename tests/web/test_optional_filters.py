"""The optional filters over HTTP: combinations, pages, wrong queries (interoperability document, 3.13.2)."""

from __future__ import annotations

import pytest

from taxii_server.stix.filters import KINDS
from tests.filters import EVERY_NAME
from tests.service.site import report
from tests.web.rooms import Room
from tests.world import World, indicator, malware, new_id, relationship

HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def names(room: Room, query: str) -> list[str]:
    return room.names(f"?{query}")


def test_values_are_ored_and_filters_anded(room: Room) -> None:
    room.store(
        indicator(name="one", labels=["a", "b"], confidence=10),
        indicator(name="two", labels=["b"], confidence=50),
        malware(name="three", labels=["c"], confidence=90),
        malware(name="four", confidence=50),
    )
    assert names(room, "match[name]=one,four") == ["one", "four"]
    assert names(room, "match[labels]=a,c") == ["one", "three"]
    assert names(room, "match[labels]=b&match[confidence-gte]=50") == ["two"]
    assert names(room, "match[confidence-gte]=50&match[confidence-lte]=50") == ["two", "four"]
    assert names(room, "match[confidence-gte]=50&match[type]=malware") == ["three", "four"]
    assert names(room, "match%5Bconfidence%5D=10%2C90") == ["one", "three"]
    assert names(room, "match[labels]=B") == []
    assert names(room, "match[confidence-gte]=-1") == ["one", "two", "three", "four"]


def test_the_latest_version_has_to_fit(room: Room) -> None:
    room.store(first := indicator(name="old", confidence=90))
    room.store({**first, "name": "new", "confidence": 10, "modified": "2024-01-01T00:00:00.000Z"})
    assert names(room, "match[confidence-gte]=50") == []
    assert names(room, "match[confidence-gte]=50&match[version]=all") == ["old"]
    assert names(room, "match[confidence-gte]=50&match[version]=first") == ["old"]
    assert names(room, "match[modified-gte]=2024-01-01T00:00:00Z&match[version]=all") == ["new"]
    assert room.get(f"objects/{first['id']}/?match[confidence-gte]=50").data == b"{}"
    assert room.page(f"objects/{first['id']}/?match[confidence-lte]=50")["objects"][0]["name"] == "new"
    # In `versions/` and in DELETE they are not defined.
    assert len(room.versions(first["id"], "?match[confidence-gte]=50")) == 2
    assert room.delete(first["id"], "?match[confidence]=7").status_code == 200


def test_references_nested_values_and_marks(room: Room) -> None:
    target, other = indicator(name="target"), malware(name="other")
    room.store(target, other)
    room.store(
        relationship(target["id"], other["id"]),
        malware(
            name="hashed", external_references=[{"source_name": "s", "external_id": "T1", "hashes": {"SHA-256": HASH}}]
        ),
        malware(name="phased", kill_chain_phases=[{"kill_chain_name": "k", "phase_name": "execution"}]),
    )
    (found,) = room.objects(f"?match[relationships-all]={target['id']}")
    assert found["source_ref"] == target["id"]
    assert room.objects(f"?match[relationships-all]={target['id'].upper()}") == [found]
    itself = new_id("report")
    room.store(report([itself, other["id"]], itself, name="of itself"))
    assert names(room, f"match[relationships-all]={itself}") == ["of itself"]
    assert names(room, f"match[SHA-256]={HASH}") == ["hashed"]
    assert names(room, "match[external_id]=T0,T1") == ["hashed"]
    assert names(room, "match[phase_name]=execution") == ["phased"]
    assert names(room, "match[tlp]=red") == []


def test_pages_carry_the_filters(room: Room) -> None:
    room.store(*(indicator(name=f"n{n}", confidence=n) for n in range(20)))
    expected = [f"n{n}" for n in range(10, 20)]
    walked = room.walk("objects", "&match[confidence-gte]=10", limit=3)
    assert [each["name"] for each in walked] == expected
    first = room.page("objects/?match[confidence-gte]=10&limit=3")
    alone = room.page(f"objects/?limit=3&next={first['next']}")
    assert [each["name"] for each in alone["objects"]] == expected[3:6]
    assert room.get(f"objects/?next={first['next']}&match[confidence-gte]=11").status_code == 400
    last = room.page("objects/?match[confidence-gte]=17&limit=3")
    assert "more" not in last
    assert len(room.manifest("?match[confidence-gte]=17")) == 3


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("match[confidence]=high", "match[confidence]: 'high' is not a whole number"),
        ("match[confidence-gte]=1.5", "match[confidence-gte]: '1.5' is not a whole number"),
        ("match[number-lte]=9999999999999999", "is not a whole number"),
        ("match[revoked]=True", "match[revoked]: 'True' is not true or false"),
        ("match[tlp]=white,purple", "match[tlp]: 'purple' is not one of white, green, amber, red"),
        ("match[relationships-all]=x", "match[relationships-all]: 'x' is not a STIX id"),
        ("match[modified-gte]=yesterday", "match[modified-gte]: 'yesterday' is not a timestamp"),
        ("match[name]=", "match[name]: has no value"),
        ("match[name]=a&match[name]=b", "match[name]: given more than once"),
        ("match[labels]=a,,b", "match[labels]: has an empty value"),
    ],
)
def test_what_is_wrong_is_said_with_filter_value_and_what_is_expected(room: Room, query: str, said: str) -> None:
    answer = room.get(f"objects/?{query}")
    assert answer.status_code == 400
    assert said in answer.json["description"], answer.json


def test_other_names_are_unknown(room: Room) -> None:
    room.store(indicator(name="one"))
    assert names(room, "match[confidence_gte]=50") == ["one"]
    assert names(room, f"match[x]={new_id('indicator')}") == ["one"]


def test_the_description_has_every_filter(hub: World) -> None:
    described = hub.get("/taxii2/openapi.json").json["components"]["parameters"]["MatchOptional"]
    assert list(described["schema"]["properties"]) == list(KINDS)
    assert sorted(KINDS) == sorted(EVERY_NAME)
