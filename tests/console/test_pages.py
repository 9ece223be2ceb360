"""The partner's pages: what they show, how it is recorded, and that they are bounded."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

from taxii_server.model import Actor
from taxii_server.service import browsing
from taxii_server.service.browsing import Browser
from taxii_server.service.disclosures import Disclosures
from taxii_server.web.console.finding import likely_ids
from tests.console.people import person
from tests.world import (
    EMPTY,
    FT6,
    HIDDEN,
    NN,
    OTHER_ROOT,
    RW,
    WO,
    A,
    B,
    World,
    indicator,
    malware,
    new_id,
    relationship,
)

AMBER = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
URL = f"/console/api1/collections/{RW}/"


def text_of(page: Any) -> str:
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def test_the_overview_lists_what_one_sees_and_nothing_else(hub: World) -> None:
    page = person(hub).get("/console/")
    said = text_of(page)
    for title in ("Read write", "Read only", "Write only", "Neither", "With alias", "In the other root", "Second root"):
        assert title in said
    for secret in ("Hidden", HIDDEN, "partner_b"):
        assert secret not in page.text
    assert "2 objects" in said
    assert f"/console/api2/collections/{OTHER_ROOT}/" in page.text


def test_a_collection_shows_how_much_is_there_and_what_is_new(own_hub: World) -> None:
    own_hub.post(FT6)
    own_hub.post([malware(name="Poison Ivy", object_marking_refs=[AMBER])])
    page = person(own_hub).get(URL)
    said = text_of(page)
    assert re.search(r"Objects for you 3 ", said)
    assert said.index("Poison Ivy") < said.index("B indicator") < said.index("A5 indicator")
    assert "A1" not in said
    assert '<span class="tlp tlp-amber">TLP:AMBER</span>' in page.text
    assert page.text.count('class="bar"') == 30


def test_a_collection_that_one_only_posts_to_shows_nothing_of_it(hub: World) -> None:
    for partner, id_ in (("wo", WO), ("nn", NN)):
        page = person(hub, partner).get(f"/console/api1/collections/{id_}/")
        assert page.status_code == 200
        assert "You do not read this collection" in page.text
        for tail in ("objects/", f"objects/{A}/", "connect/"):
            assert person(hub, partner).get(f"/console/api1/collections/{id_}/{tail}").status_code == 404


def test_what_is_hidden_and_what_is_not_there_are_one_page(hub: World) -> None:
    someone = person(hub)
    unknown = uuid.uuid4()
    paths = ("", "objects/", f"objects/{A}/", "connect/", f"quarantine/{unknown}/")
    for tail in paths:
        hidden = someone.get(f"/console/api1/collections/{HIDDEN}/{tail}")
        nowhere = someone.get(f"/console/api1/collections/{unknown}/{tail}")
        assert hidden.status_code == nowhere.status_code == 404
        assert hidden.data == nowhere.data
    assert someone.get("/console/api9/collections/x/").data == someone.get("/console/operator/policy/").data


def test_an_object_shows_its_fields_markings_versions_and_neighbours(own_hub: World) -> None:
    bad, sign = malware(name="Poison Ivy"), indicator(name="Seen", labels=["x", "y"], object_marking_refs=[AMBER])
    newer = sign | {"modified": "2021-01-01T00:00:00.000Z", "name": "Seen again"}
    tie = relationship(sign["id"], bad["id"])
    report = {
        "type": "report", "spec_version": "2.1", "id": new_id("report"), "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z", "name": "All of it", "published": "2020-01-01T00:00:00Z",
        "object_refs": [sign["id"], new_id("malware")], "report_types": ["malware"],
    }  # fmt: skip
    assert own_hub.post([bad, sign, tie, report]).json["failure_count"] == 0
    own_hub.post([newer])
    someone = person(own_hub)
    page = someone.get(f"{URL}objects/{sign['id']}/")
    said = text_of(page)
    assert "Seen again" in said
    assert "http://x4z9arb.cn/4712/" in said
    assert "this indicates →" in said
    assert "← contains this" in said
    assert "Poison Ivy" in said
    assert "All of it" in said
    assert "TLP:AMBER" in said
    assert page.text.count('<g class="node') == 3
    older = someone.get(f"{URL}objects/{sign['id']}/?version=2020-01-01T00:00:00.000Z")
    assert "not the newest version" in older.text
    assert "Seen again" not in text_of(older).partition("Versions")[0]
    assert someone.get(f"{URL}objects/{sign['id']}/?version=2019-01-01T00:00:00.000Z").status_code == 404
    dangling = text_of(someone.get(f"{URL}objects/{report['id']}/"))
    assert f"{report['object_refs'][1]} not in this collection" in dangling


def test_a_level_that_no_marking_tells_is_shown(make_hub: Any) -> None:
    """Who saw "unmarked" could hand it on as free."""
    note = "marking-definition--11111111-1111-4111-8111-111111111111"
    hub = make_hub(
        policy='schema = 1\nname = "agreed"\n[defaults]\nunmarked = "deny"\n'
        '[collections.rw]\nunmarked = "tlp:amber+strict"\n[collections.other]\nunmarked = "tlp:amber"\n'
        f'[markings]\n"{note}" = {{ name = "a note" }}\n[[permit]]\nid = "everybody"\n'
    )
    plain, noted = malware(name="Plain"), malware(name="Noted", object_marking_refs=[note])
    marked, own = malware(name="Marked", object_marking_refs=[AMBER]), malware(name="Own")
    hub.post([plain, noted, marked], partner="partner_b")
    hub.post([malware(name="There")], root="api2", into=OTHER_ROOT)
    hub.post([own], into=EMPTY)
    someone = person(hub)
    rows: dict[str, set[str]] = {}
    for path in (URL, f"{URL}objects/", "/console/search/?type=malware"):
        for row in re.findall(r'<td class="main".*?</tr>', someone.get(path).text, re.DOTALL):
            said = " ".join(re.sub(r"<[^>]+>", " ", row).split())
            rows.setdefault(said.split()[0], set()).add(re.sub(r"^\w+ malware (.*?) \d.*", r"\1", said))
    assert rows == {
        "Plain": {"counts as TLP:AMBER+STRICT"}, "Noted": {"counts as TLP:AMBER+STRICT a note"},
        "Marked": {"TLP:AMBER"}, "There": {"counts as TLP:AMBER"}, "Own": {"unmarked"},
    }  # fmt: skip
    page = text_of(someone.get(f"{URL}objects/{plain['id']}/"))
    assert "Counts as TLP:AMBER+STRICT here: it carries no marking." in page
    assert "carries no marking." not in text_of(someone.get(f"{URL}objects/{marked['id']}/"))
    page = text_of(someone.get(f"{URL}objects/{noted['id']}/"))
    assert "Counts as TLP:AMBER+STRICT here: none of its markings is a TLP level." in page
    page = text_of(someone.get(f"/console/api1/collections/{EMPTY}/objects/{own['id']}/"))
    assert "This object carries no marking." in page
    assert "ounts as" not in page


def test_all_objects_come_page_by_page_in_the_order_of_a_poll(own_hub: World) -> None:
    own_hub.post([indicator(name=f"number {number:03}") for number in range(120)] + [malware()])
    someone = person(own_hub)
    path, names = f"{URL}objects/?type=indicator", []
    for _ in range(9):
        page = someone.get(path)
        assert page.status_code == 200
        names += re.findall(r"number \d{3}", page.text)
        found = re.search(r'href="(\?type=indicator&amp;next=[^"]+)"', page.text)
        if found is None:
            break
        path = f"{URL}objects/{found[1].replace('&amp;', '&')}"
    assert names == [f"number {number:03}" for number in range(120)]
    assert someone.get(f"{URL}objects/?next=nonsense").status_code == 400
    assert someone.get(f"{URL}objects/?type=No%20Type!").status_code == 404


def test_search_finds_by_id_type_value_and_word(own_hub: World) -> None:
    address = {"type": "ipv4-addr", "spec_version": "2.1", "id": likely_ids("198.51.100.3")[0], "value": "198.51.100.3"}
    own_hub.post([malware(name="Poison Ivy"), indicator(name="Ivy", id_=A), address])
    own_hub.post([indicator(name="elsewhere")], root="api2", into=OTHER_ROOT)
    someone = person(own_hub)

    def found(query: str) -> set[str]:
        page = someone.get(f"/console/search/?{query}")
        assert page.status_code == 200
        return set(re.findall(r'class="isolate" href="[^"]*">([^<]*)<', page.text))

    assert found(f"q={A}") == {"Ivy"}
    assert found("q=ivy") == {"Ivy", "Poison Ivy"}
    assert found("q=ivy&type=malware") == {"Poison Ivy"}
    assert found("type=indicator") == {"Ivy", "elsewhere"}
    assert found(f"type=indicator&in={RW}") == {"Ivy"}
    assert found("q=198.51.100.3") == found("q=198[.]51[.]100[.]3") == {"198.51.100.3"}
    assert found("q=hxxp://x4z9arb[.]cn") == {"Ivy", "elsewhere"}
    assert found("q=2.1") == found("q=nothing%20like%20it") == set()
    assert found(f"q={B}") == found(f"q=ivy&in={HIDDEN}") == set()


def test_an_id_follows_from_a_value_as_the_standard_says() -> None:
    # The example of STIX 2.1, 6.9 and others, made with the stix2 library.
    from stix2.v21 import URL, DomainName, EmailAddress, File, IPv4Address, IPv6Address, MACAddress, Mutex

    for value, made in {
        "198.51.100.3": IPv4Address(value="198.51.100.3"),
        "198.51.0.0/16": IPv4Address(value="198.51.0.0/16"),
        "2001:db8::1": IPv6Address(value="2001:db8::1"),
        "bücher.example": DomainName(value="bücher.example"),
        "http://x.example/?a=\"b\"&c": URL(value="http://x.example/?a=\"b\"&c"),
        "a@example.com": EmailAddress(value="a@example.com"),
        "d2:fb:49:24:37:18": MACAddress(value="d2:fb:49:24:37:18"),
        "__CLEANSWEEP__": Mutex(name="__CLEANSWEEP__"),
        "d" * 64: File(hashes={"SHA-256": "d" * 64}),
        "qwerty": File(name="qwerty"),
    }.items():  # fmt: skip
        assert made["id"] in likely_ids(value), value


def test_clients_are_told_what_they_need(hub: World) -> None:
    page = person(hub, HTTP_HOST="hub.example").get(f"{URL}connect/")
    for words in (
        "curl -s -u &#39;rw:YOUR-TOKEN&#39;", f"http://hub.example/api1/collections/{RW}/objects/?limit=100",
        "as_pages(collection.get_objects", "OpenCTI", "MISP", "Microsoft Sentinel", "Splunk",
    ):  # fmt: skip
        assert words in page.text
    assert hub.tokens["rw"] not in page.text


def test_what_is_shown_is_in_the_ledger_and_what_is_only_counted_is_not(own_hub: World) -> None:
    own_hub.post(FT6)
    someone = person(own_hub)
    told = Disclosures(own_hub.store, own_hub.hub.book)

    def shown() -> list[tuple[str, str]]:
        own_hub.hub.book.sync()
        return [(each.version.version[:19], each.form) for each in told.who_received(A) if each.version]

    someone.get("/console/")
    assert shown() == []
    someone.get(URL)
    assert shown() == [("2018-08-08T01:55:01", "whole")]
    someone.get(f"{URL}objects/{A}/")
    assert sorted(shown()[1:]) == [
        ("2018-08-08T01:51:01", "metadata"), ("2018-08-08T01:52:01", "metadata"), ("2018-08-08T01:53:01", "metadata"),
        ("2018-08-08T01:54:01", "metadata"), ("2018-08-08T01:55:01", "whole"),
    ]  # fmt: skip
    before = len(shown())
    someone.get("/console/search/?q=A5")
    someone.get("/console/search/?q=A4")
    assert len(shown()) == before + 1
    event = told.who_received(A)[-1].event
    assert (event.partner, event.fact("path")) == ("rw", "/console/search/")
    assert event.fact("credential") == own_hub.tokens["rw"].split("_")[1]
    someone.get(f"/console/api1/collections/{HIDDEN}/objects/{A}/")
    refused = [each for each in told.what_did("rw") if each.kind == "refused"]
    assert [(each.object, each.fact("status"), each.fact("reason")) for each in refused] == [(A, "404", "not-visible")]


def test_without_the_ledger_nothing_is_shown(make_hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from taxii_server.errors import StorageUnavailable

    hub = make_hub()
    hub.post(FT6)
    someone = person(hub)

    def broken(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(type(hub.store.ledger), "append", broken)
    answer = someone.get(URL)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert A not in answer.text


# ---- bounds


@pytest.fixture
def browser(own_hub: World) -> Browser:
    """Somebody who looks around as rw."""
    visit = own_hub.app.extensions["taxii_server"].visit(Actor("rw", "test", "test"))
    return Browser(visit)


def test_the_newest_are_found_among_many_with_little_reading(
    own_hub: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "COUNTED", 200)
    for part in range(4):
        own_hub.post([indicator(name=f"{part} {number}") for number in range(150)])
    collection, _ = browser._visit.collection("api1", RW)
    # A look at the store costs the same however much is in it.
    asked: list[int] = []
    page = own_hub.store.page
    monkeypatch.setattr(type(own_hub.store), "page", lambda store, query: asked.append(query.limit) or page(query))
    recent = browser.newest(collection, 25)
    names = [json.loads(item.content)["name"] for item in recent.items]
    assert names == [f"3 {number}" for number in range(149, 124, -1)]
    assert recent.is_more
    assert len(asked) < 60
    assert max(asked) <= 102
    assert browser.count(collection) == browsing.Count(200, is_more=True)
    assert max(asked) <= 201


def test_days_are_counted_up_to_a_bound(own_hub: World, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "COUNTED_A_DAY", 10)
    noon = (own_hub.store.present() // browsing.DAY_US + 1) * browsing.DAY_US + browsing.DAY_US // 2
    monkeypatch.setattr(own_hub.store, "_now", lambda: noon)  # no day ends meanwhile
    collection, _ = browser._visit.collection("api1", RW)
    assert [day.count.number for day in browser.days(collection, 3)] == [0, 0, 0]
    own_hub.post([indicator() for _ in range(10)])
    today = browser.days(collection, 3)[-1]
    assert (today.count.number, today.count.is_more) == (10, False)
    assert today.start % browsing.DAY_US == 0
    own_hub.post([indicator()])
    assert browser.days(collection, 3)[-1].count == browsing.Count(10, is_more=True)
    # Seen from tomorrow and the day after.
    now = own_hub.store.present()
    monkeypatch.setattr(own_hub.store, "present", lambda: now + browsing.DAY_US)
    assert [day.count.number for day in browser.days(collection, 3)] == [0, 10, 0]
    monkeypatch.setattr(own_hub.store, "present", lambda: now + 3 * browsing.DAY_US)
    assert [day.count.number for day in browser.days(collection, 3)] == [0, 0, 0]


def test_words_are_looked_for_in_the_newest_only(
    own_hub: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "SEARCHED", 20)
    own_hub.post([indicator(name="the old one")])
    for _ in range(10):
        own_hub.post([indicator() for _ in range(20)])
    collection, _ = browser._visit.collection("api1", RW)
    match = browser.search(collection, lambda item: b"the old one" in item.content, (), 5)
    assert (match.items, match.is_all) == ((), False)
    assert 20 <= match.looked_at <= 80
    match = browser.search(collection, lambda item: True, ("malware",), 5)
    assert (match.items, match.looked_at, match.is_all) == ((), 0, True)


def test_an_empty_collection_is_told_so(hub: World) -> None:
    assert "There is nothing for you here yet" in person(hub).get(f"/console/api1/collections/{EMPTY}/").text
