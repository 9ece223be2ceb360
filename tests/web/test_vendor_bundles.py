"""The shipped drop boxes with what vendors really send: threat data goes through, customers stay with the vendor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.rooms import InspectedWorld
from tests.world import indicator, malware, new_id, relationship

ROOT = Path(__file__).parents[2]
BOXES = {"cisco-talos": "drop-cisco-talos", "kaspersky": "drop-kaspersky", "bt": "drop-bt"}
TIMES = {"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z"}
GREEN = {"object_marking_refs": ["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"]}
PURE = {"labels": ["crime:pure-cybercrime"]}


def thing(type_: str, **more: Any) -> dict[str, Any]:
    return {"type": type_, "spec_version": "2.1", "id": new_id(type_), **TIMES, **more}


def old(type_: str, **more: Any) -> dict[str, Any]:
    """An object of STIX 2.0, as Talos posts them."""
    return {"type": type_, "id": new_id(type_), **TIMES, **more}


def talos() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(goes through, stays): an incident response case in STIX 2.0, with the client in it."""
    bot = old("malware", name="KettleBot", labels=["bot", "crime:pure-cybercrime"])
    mark = old(
        "indicator",
        labels=["malicious-activity", "crime:pure-cybercrime"],
        pattern="[domain-name:value = 'kettle.example']",
        valid_from="2026-01-01T00:00:00Z",
    )
    author = old("identity", name="Cisco Talos", identity_class="organization")
    client = old("identity", name="Hidden Falls Credit Union", identity_class="organization", labels=["Client"])
    contact = old("identity", name="Maud Hidden Falls", identity_class="individual")
    indicates = old("relationship", relationship_type="indicates", source_ref=mark["id"], target_ref=bot["id"], **PURE)
    targets = old("relationship", relationship_type="targets", source_ref=bot["id"], target_ref=client["id"])
    seen = old("sighting", sighting_of_ref=mark["id"], where_sighted_refs=[client["id"]], count=4)
    case = old(
        "report",
        name="Incident at our client",
        labels=["incident"],
        published="2026-01-01T00:00:00Z",
        object_refs=[bot["id"], targets["id"]],
    )
    return [author, bot, mark, indicates], [case, targets, seen, client, contact]


def kaspersky() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(goes through, stays): research with telemetry by customer, labels in odd spellings."""
    wiper = malware(name="HeronWiper", **PURE, **GREEN)
    mark = indicator(name="HeronWiper C2", **PURE, **GREEN)
    sector = thing("identity", name="Hydropower", identity_class="class", sectors=["utilities"], **GREEN)
    attacked = relationship(wiper["id"], sector["id"], relationship_type="targets", **PURE, **GREEN)
    wide = "".join(chr(ord(char) + 0xFEE0) for char in "victim")
    plant = thing("identity", name="Hidden Falls Power", identity_class="organization", labels=[wide], **GREEN)
    tenant = indicator(name="Hidden Falls rule", labels=["crime:pure-cybercrime", "Ten\u200bant:hidden-falls"], **GREEN)
    telemetry = thing(
        "sighting", sighting_of_ref=mark["id"], where_sighted_refs=[plant["id"]], count=2, **PURE, **GREEN
    )
    comment = thing("note", content="Hidden Falls called us", object_refs=[plant["id"], wiper["id"]], **GREEN)
    return [wiper, mark, sector, attacked], [plant, tenant, telemetry, comment]


def bt() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(goes through, stays): what a network operator sees, with customers in fields, texts and addresses."""
    mirai = malware(name="ReedMirai", **PURE, **GREEN)
    mark = indicator(name="ReedMirai scanner", **PURE, **GREEN)
    counted = thing("sighting", sighting_of_ref=mark["id"], count=40, **PURE, **GREEN)
    written = indicator(description="First at HARBOUR-WATER plc (hidden falls)", **PURE, **GREEN)
    address = thing("url", value="http://portal.example/Harbour%20Water/hidden-falls")
    del address["created"], address["modified"]
    field = indicator(x_bt_customer="hidden falls", **PURE, **GREEN)
    mail = {"type": "email-message", "spec_version": "2.1", "id": new_id("email-message"), "is_multipart": False,
            "body": "to Hidden Falls"}  # fmt: skip
    return [mirai, mark, counted], [written, address, field, mail]


BUNDLES = {"cisco-talos": talos, "kaspersky": kaspersky, "bt": bt}
REFUSED = {"bt": 2}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InspectedWorld]:
    """The shipped configuration."""
    made = InspectedWorld(
        tmp_path_factory.mktemp("shipped"),
        policy=(ROOT / "config/policy.toml").read_text(encoding="utf-8"),
        partners=(ROOT / "config/partners.toml").read_text(encoding="utf-8"),
        collections={
            path.stem: path.read_text(encoding="utf-8").replace('api_root = "hub"', 'api_root = "api1"')
            for path in (ROOT / "collections").glob("[!_]*.toml")
        },
    )
    yield made
    made.close()


def everything(hub: InspectedWorld) -> dict[str, str]:
    """Partner -> the text of all that it reads anywhere."""
    catalog = hub.hub.snapshot.catalog
    return {
        partner: json.dumps(
            [
                list(hub.walk(partner, collection.id, limit=1000))
                for collection in catalog.collections.values()
                if catalog.rights(collection, partner).read
            ]
        )
        for partner in catalog.policy.audiences
    }


@pytest.mark.parametrize("vendor", BUNDLES)
def test_threat_data_goes_through_and_customers_stay(hub: InspectedWorld, vendor: str) -> None:
    through, stay = BUNDLES[vendor]()
    box = hub.hub.snapshot.catalog.collections[BOXES[vendor]].id
    status = hub.post([*stay, *through], vendor, box).json
    assert {each["id"] for each in status["successes"]} == {each["id"] for each in through}
    assert {each["id"] for each in status["failures"]} == {each["id"] for each in stay}
    messages = [each["message"] for each in status["failures"]]
    assert sum(message.startswith("refused by guard '") for message in messages) == REFUSED.get(vendor, 0)
    assert sum(message.startswith("held in quarantine by guard '") for message in messages) == len(stay) - REFUSED.get(
        vendor, 0
    )
    read = everything(hub)
    assert read["interpol"].count(through[-1]["id"]) > 0
    for partner, text in read.items():
        assert [each["id"] for each in stay if each["id"] in text] == [], partner
        assert "hidden falls" not in text.lower().replace("-", " ").replace("%20", " ")
        assert "hidden falls" not in text.lower()


def test_the_vendor_alone_reviews_and_what_it_releases_is_for_the_police(hub: InspectedWorld) -> None:
    box = hub.hub.snapshot.catalog.collections["drop-bt"].id
    bank = thing("identity", name="Northern Orchard Bank", identity_class="organization", labels=["customer"], **GREEN)
    hub.post([bank], "bt", box)
    place = f"/api1/collections/{box}/quarantine/"
    (entry,) = (each for each in hub.get(place, "bt").json["quarantine"] if each["object_id"] == bank["id"])
    for partner in hub.hub.snapshot.catalog.policy.audiences:
        if partner != "bt":
            for path in (place, f"{place}{entry['id']}/"):
                assert hub.get(path, partner).status_code == 404
    assert hub.get(f"{place}{entry['id']}/", "bt").json["object"] == bank
    assert hub.request("POST", f"{place}{entry['id']}/release/", "bt").status_code == 200
    readers = {partner for partner, text in everything(hub).items() if bank["id"] in text}
    assert readers == {"bt", "interpol", "bka", "police-fr"}


def test_ticket_numbers_stay_with_bt_and_the_rest_goes_through(hub: InspectedWorld) -> None:
    box = hub.hub.snapshot.catalog.collections["drop-bt"].id
    sent = malware(name="Ticketed", x_bt_ticket="HF-4711", **PURE, **GREEN)
    assert hub.post([sent], "bt", box).json["success_count"] == 1
    read = everything(hub)
    assert [partner for partner, text in read.items() if "HF-4711" in text] == ["bt"]
    assert sent in hub.objects("bt", box, f"?match[id]={sent['id']}")
    named = [
        each for collection in json.loads(read["interpol"]) for each in collection if each.get("name") == "Ticketed"
    ]
    assert named
    assert all("x_bt_ticket" not in each and each["id"] != sent["id"] for each in named)
