"""Copies without what an audience may not read, as they are served (policy design, B.5, C7, C8, C11 and C17)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stix2

from taxii_server.errors import Forbidden, NotFound
from taxii_server.policy import conditions
from taxii_server.service import copies
from taxii_server.service.copies import Served
from taxii_server.service.query import Filters
from taxii_server.tlp import TLP_2_IDS
from tests.service.site import (
    ALICE_ID,
    ALL_V,
    FIRST_V,
    LAST_V,
    PARTNERS,
    Site,
    at,
    marked,
    report,
    statement,
    url,
    versions,
)
from tests.service.test_late_grants import Poller, ids
from tests.world import OPEN_POLICY, indicator, malware, new_id, relationship

DERIVING = OPEN_POLICY.replace("[defaults]", '[defaults]\ngranular = "derive"\nrefs_lists = "derive"')
STRIP = (
    '\n[[strip]]\nid = "tickets"\nto = { not_audience = "alice" }\nproperties = ["x_ticket", "external_references"]\n'
)


@pytest.fixture(params=["sqlite", "mongodb"])
def site(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Site]:
    place = str(tmp_path / "hub.db") if request.param == "sqlite" else request.getfixturevalue("mongo_database_url")
    made = Site(place, DERIVING + STRIP)
    yield made
    made.close()


def translated(whole: dict[str, Any]) -> dict[str, Any]:
    """What it says of itself in German, secret parts included."""
    return {
        "type": "language-content",
        "spec_version": "2.1",
        "id": new_id("language-content"),
        "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z",
        "object_ref": whole["id"],
        "contents": {"de": {"description": "GEHEIM"}},
        **marked("green"),
    }


def partly_red(**more: Any) -> dict[str, Any]:
    """A malware whose description is for nobody else."""
    part = [{"marking_ref": TLP_2_IDS["red"], "selectors": ["description", "labels.[1]"]}]
    more = {"description": "SECRET", "labels": ["open", "SECRET", "last"], **more}
    return malware(**marked("green"), granular_markings=part, created_by_ref=ALICE_ID, **more)


def items(site: Site, partner: str = "carol", **request: Any) -> list[Served]:
    return list(site.page(partner, limit=100, **request).items)


def values(found: list[Served]) -> list[dict[str, Any]]:
    return [json.loads(item.content) for item in found]


def test_a_part_that_is_not_readable_is_taken_out(site: Site) -> None:
    whole = partly_red()
    site.store("alice", "alice-box", whole)
    copy, relation = values(items(site))
    assert copy["id"] != whole["id"]
    assert copy["created_by_ref"] not in (ALICE_ID, whole["id"])
    assert copy["labels"] == ["open", "last"]
    assert "SECRET" not in json.dumps([copy, relation])
    assert copy["object_marking_refs"] == whole["object_marking_refs"]
    assert copy["created"] <= copy["modified"]
    assert (relation["relationship_type"], relation["source_ref"], relation["target_ref"]) == (
        "derived-from",
        copy["id"],
        whole["id"],
    )
    for value in (copy, relation):
        stix2.parse(json.dumps(value), allow_custom=True)
    assert values(items(site, "alice", of="alice-box")) == [whole]


def test_the_marking_of_a_part_that_is_taken_out_is_not_shown(site: Site) -> None:
    definition = statement(new_id("marking-definition"), "OPERATION SECRET", object_marking_refs=[TLP_2_IDS["clear"]])
    parts = [
        {"marking_ref": TLP_2_IDS["red"], "selectors": ["description"]},
        {"marking_ref": definition["id"], "selectors": ["description"]},
    ]
    orcon = f'\n[markings]\n"{definition["id"]}" = {{ orcon = true }}\n'
    site.apply(policy=DERIVING + STRIP + orcon)
    site.store("alice", "alice-box", definition, malware(**marked("green"), granular_markings=parts, description="x"))
    shown = items(site)
    assert [item.form for item in shown] == ["copy", "relation"]
    assert b"SECRET" not in b"".join(item.content for item in shown)
    # Where all of the object is readable, so is the definition.
    site.apply(policy=DERIVING + STRIP)
    site.store("alice", "alice-box", malware(**marked("green"), granular_markings=parts[1:], description="x"))
    assert definition["id"] in [item.id for item in items(site)]


@pytest.mark.parametrize(
    ("rule", "selectors", "is_shown"),
    [
        ("", ["description"], False),
        ("", ["external_references.[0].description"], False),
        ("", ["description", "aliases.[0]"], True),
        ("", ["aliases"], True),
        ('[[strip]]\nid = "s"\nproperties = ["aliases"]\n', ["aliases.[0]"], False),
    ],
)
def test_a_marking_of_which_the_copy_has_nothing_is_not_shown(
    site: Site, rule: str, selectors: list[str], is_shown: bool
) -> None:
    """What it says can tell of the part that is gone; it is understood by itself and marks what another one hides."""
    operation = statement(new_id("marking-definition"), "OPERATION SECRET", object_marking_refs=[TLP_2_IDS["clear"]])
    parts = [
        {"marking_ref": TLP_2_IDS["red"], "selectors": ["description", "external_references"]},
        {"marking_ref": operation["id"], "selectors": selectors},
    ]
    more = {"description": "x", "aliases": ["a"], "external_references": [{"source_name": "s", "description": "d"}]}
    site.apply(policy=DERIVING + rule)
    site.store("alice", "alice-box", operation, malware(**marked("green"), granular_markings=parts, **more))
    assert [item.form for item in items(site)][-2:] == ["copy", "relation"]
    assert (operation["id"] in [item.id for item in items(site)]) == is_shown


def test_an_object_that_breaks_the_making_of_copies_is_hidden_and_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One object must not break a page: that would show that it is there (policy design, C14)."""
    broken, other, plain = partly_red(name="broken"), partly_red(), malware(**marked("green"))
    site.store("alice", "alice-box", broken, other, plain)
    whole = items(site)

    def derive(value: dict[str, Any], *arguments: Any) -> Any:
        if value["name"] == "broken":
            raise RuntimeError("nobody foresaw this")
        return real(value, *arguments)

    real = copies.derive
    monkeypatch.setattr(copies, "derive", derive)
    assert items(site) == whole[2:]
    assert [item.id for item in items(site, resource="manifest")] == [item.id for item in whole[2:]]
    for id_ in (broken["id"], whole[0].id):
        with pytest.raises(NotFound):
            items(site, resource="object", object_id=id_)
    assert broken["id"] in caplog.text
    assert "nobody foresaw this" in caplog.text
    assert values(items(site, "alice", of="alice-box")) == [broken, other, plain]


def test_an_object_that_breaks_the_rules_is_hidden_and_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.apply(policy=DERIVING + '\n[[forbid]]\nid = "f"\nto = { audience = "carol" }\nwhat = { label = "x" }\n')

    def holds(test: conditions.Test, case: Any) -> bool | None:
        if test.operation == "sets" and case.has("label", "x"):
            raise RuntimeError("nobody foresaw this")
        return real(test, case)

    real = conditions.Test.holds
    monkeypatch.setattr(conditions.Test, "holds", holds)
    broken, other = malware(labels=["x"], **marked("green")), malware(**marked("green"))
    site.store("alice", "alice-box", broken, other)
    assert values(items(site)) == [other]
    assert values(items(site, "bob")) == [broken, other]
    assert "carol: label" in caplog.text
    assert "nobody foresaw this" in caplog.text


def test_two_readers_of_the_same_parts_get_the_same_copy_and_no_secret_changes_it(site: Site) -> None:
    whole = partly_red()
    site.store("alice", "alice-box", whole)
    assert [item.content for item in items(site)] == [item.content for item in items(site, "bob")]


def test_the_copy_is_found_by_its_id_and_the_original_is_not(site: Site) -> None:
    whole = partly_red()
    site.store("alice", "alice-box", whole, other := malware(**marked("green")))
    copy, relation, _ = items(site)
    for item in (copy, relation):
        (alone,) = items(site, resource="object", object_id=item.id)
        assert (alone.content, alone.at) == (item.content, item.at)
        (listed,) = items(site, filters=Filters(ids=(item.id,)))
        assert listed.id == item.id
        (version,) = items(site, resource="versions", object_id=item.id)
        assert version.version == item.version
    with pytest.raises(NotFound):
        site.page("carol", resource="object", object_id=whole["id"])
    assert items(site, filters=Filters(ids=(whole["id"],))) == []
    found = items(site, filters=Filters(ids=(whole["id"], copy.id, other["id"])))
    assert [item.id for item in found] == [copy.id, other["id"]]
    with pytest.raises(NotFound):
        site.page("alice", "alice-box", resource="object", object_id=copy.id)


def test_filters_work_on_what_is_served(site: Site) -> None:
    whole, other, link = partly_red(), malware(**marked("green")), relationship(new_id(), new_id(), **marked("green"))
    site.store("alice", "alice-box", whole, other, link)
    copy, relation, *_ = items(site)
    assert [item.id for item in items(site, filters=Filters(types=("malware",)))] == [copy.id, other["id"]]
    assert [item.id for item in items(site, filters=Filters(types=("relationship",)))] == [relation.id, link["id"]]
    assert [item.id for item in items(site, filters=versions(at(copy.version)))] == [copy.id, relation.id]
    assert items(site, filters=versions(at(whole["modified"]), ids=(copy.id,))) == []
    assert [item.id for item in items(site, filters=versions(at(other["modified"])))] == [other["id"], link["id"]]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_copies_lose_nothing(site: Site, limit: int) -> None:
    site.store("alice", "alice-box", *(partly_red() for _ in range(3)), malware(**marked("green")))
    expected = [item.id for item in items(site)]
    assert len(expected) == 7
    walked, token = [], None
    while True:
        page = site.page("carol", limit=limit, next=token)
        walked += [item.id for item in page.items]
        token = page.next
        if token is None:
            break
        assert len(page.items) == limit
    assert walked == expected
    carol = Poller(site, limit=limit)
    assert carol.poll() == expected
    by_header: list[str] = []
    after = 0
    while found := site.page("carol", limit=limit, added_after=after).items:
        by_header += [item.id for item in found]
        after = found[-1].at
    assert by_header == expected


def test_versions_of_a_copy_have_one_id_and_grow(site: Site) -> None:
    first = partly_red()
    second = partly_red(id=first["id"], modified="2021-01-01T00:00:00.000Z", name="second")
    site.store("alice", "alice-box", first, second)
    copy, _ = items(site)
    versions_ = [item for item in items(site, filters=versions(ALL_V)) if item.form == "copy"]
    assert {item.id for item in versions_} == {copy.id}
    assert [item.version for item in versions_] == sorted({item.version for item in versions_})
    created = {value["created"] for value in values(versions_)}
    assert created == {versions_[0].version}


def test_a_clearance_that_is_raised_brings_the_whole_object(site: Site) -> None:
    part = [{"marking_ref": TLP_2_IDS["amber+strict"], "selectors": ["description"]}]
    whole = malware(**marked("green"), granular_markings=part, description="for some")
    site.store("alice", "alice-box", whole)
    carol = Poller(site)
    assert whole["id"] not in carol.poll()
    site.apply(partners=PARTNERS.replace('clearance = "amber"', 'clearance = "amber+strict"'))
    assert carol.poll() == ids(whole)
    assert values(items(site)) == [whole]


def test_properties_that_a_rule_takes_out(site: Site) -> None:
    whole = indicator(x_ticket="4711", external_references=[{"source_name": "tickets", "external_id": "4711"}])
    plain = indicator()
    site.store("alice", "alice-box", whole, plain)
    copy, relation, same = items(site)
    assert "4711" not in copy.content.decode() + relation.content.decode()
    assert json.loads(same.content) == plain


def test_what_cannot_be_taken_out_hides_the_object_and_what_refers_to_it(site: Site) -> None:
    red = TLP_2_IDS["red"]
    required = malware(**marked("green"), granular_markings=[{"marking_ref": red, "selectors": ["is_family"]}])
    observable = url(
        "http://a.example", new_id("url"), granular_markings=[{"marking_ref": red, "selectors": ["value"]}]
    )
    links = [relationship(each["id"], each["id"], **marked("green")) for each in (required, observable)]
    site.store("alice", "alice-box", required, observable, *links)
    assert items(site) == []


def test_what_refers_to_a_copied_object_stays_and_its_translation_does_not(site: Site) -> None:
    whole = partly_red()
    link = relationship(whole["id"], whole["id"], **marked("green"))
    translation = translated(whole)
    site.store("alice", "alice-box", whole, link, translation)
    found = [item.id for item in items(site)]
    assert link["id"] in found
    assert translation["id"] not in found


def test_a_translation_of_what_lacks_ids_of_its_list_is_hidden(site: Site) -> None:
    red, green = malware(**marked("red")), malware(**marked("green"))
    lists = report([red["id"], green["id"]], new_id("report"), **marked("green"))
    translation = translated(lists)
    about = relationship(translation["id"], green["id"], **marked("green"))
    site.store("alice", "alice-box", translation, about, lists, green, red)
    assert {translation["id"], about["id"], lists["id"]} <= set(site.ids("alice"))
    found = site.ids("carol")
    assert lists["id"] in found, "as a copy"
    assert {translation["id"], about["id"]}.isdisjoint(found)
    alone = Filters(types=("language-content", "relationship"))
    assert {translation["id"], about["id"]}.isdisjoint(site.ids("carol", filters=alone))


@pytest.mark.parametrize("only_texts", [False, True])
@pytest.mark.parametrize("limit", [1, 100])
def test_a_translation_stays_hidden_when_a_later_version_is_whole(site: Site, limit: int, only_texts: bool) -> None:
    """It says what the older version said, which is read in part only, also where a page has the later one alone."""
    older = partly_red()
    newer = {**older, "modified": "2021-01-01T00:00:00.000Z", "description": "open", "labels": ["open"]}
    del newer["granular_markings"]
    translation = translated(older)
    site.store("alice", "alice-box", older, translation, newer)
    for choice in (LAST_V, FIRST_V, ALL_V):
        token, found = None, []
        while True:
            page = site.page("carol", limit=limit, filters=versions(choice), next=token, only_texts=only_texts)
            found += page.items
            token = page.next
            if token is None:
                break
        assert found
        assert b"GEHEIM" not in b"".join(item.content for item in found)
    with pytest.raises(NotFound):
        site.page("carol", resource="object", object_id=translation["id"])


def test_an_id_of_which_only_an_older_version_is_read_whole_has_no_newest_one(site: Site) -> None:
    newer = partly_red()
    older = {**newer, "modified": "2019-01-01T00:00:00.000Z"}
    del older["granular_markings"]
    site.store("alice", "alice-box", older, newer)
    assert newer["id"] not in [item.id for item in items(site)]
    with pytest.raises(NotFound):
        site.page("carol", resource="object", object_id=newer["id"])
    every = site.page("carol", resource="object", object_id=newer["id"], filters=versions(ALL_V))
    assert [item.version for item in every.items] == [older["modified"]]


def test_hidden_ids_are_taken_out_of_lists(site: Site) -> None:
    secret, shown = malware(**marked("red")), malware(**marked("green"))
    listing = report([secret["id"], shown["id"]], new_id("report"), **marked("green"))
    empty = report([secret["id"]], new_id("report"), **marked("green"))
    unknown = report([new_id("tool")], new_id("report"), **marked("green"))
    site.store("alice", "alice-box", secret, shown, listing, empty, unknown)
    found = items(site)
    assert [item.record.id for item in found] == [shown["id"], listing["id"], listing["id"], unknown["id"]]
    copy = json.loads(found[1].content)
    assert copy["object_refs"] == [shown["id"]]
    assert copy["id"] != listing["id"]
    assert secret["id"] not in b"".join(item.content for item in found).decode()


def test_a_list_whose_hidden_member_is_granted_comes_again(site: Site) -> None:
    site.apply(policy=DERIVING + '\n[[forbid]]\nid = "n"\nto = { audience = "carol" }\nwhat = { label = "secret" }\n')
    secret, shown = malware(labels=["secret"]), malware()
    listing = report([secret["id"], shown["id"]], new_id("report"))
    site.store("alice", "alice-box", secret, shown, listing)
    carol = Poller(site)
    assert listing["id"] not in carol.poll()
    site.apply(policy=DERIVING)
    assert carol.poll() == ids(secret, listing)


def test_no_copy_is_made_of_orcon_material(site: Site) -> None:
    orcon = "marking-definition--00000000-0000-4000-8000-00000000000c"
    whole = partly_red()
    whole["object_marking_refs"] = [*whole["object_marking_refs"], orcon]
    listing = report([new_id("tool"), (red := malware(**marked("red")))["id"]], new_id("report"))
    listing["object_marking_refs"] = [TLP_2_IDS["green"], orcon]
    rule = (
        f'\n[markings."{orcon}"]\norcon = true\n[[release]]\nid = "r"\nby = "alice"\nto = {{ audience = "carol" }}\n'
        f'objects = ["{whole["id"]}", "{listing["id"]}"]\n'
    )
    site.apply(policy=DERIVING + STRIP + rule)
    site.store("alice", "alice-box", whole, listing, red)
    assert items(site) == []


def test_the_copy_cannot_be_deleted_by_its_reader(site: Site) -> None:
    whole = partly_red()
    site.store("alice", "alice-box", whole)
    copy, _ = items(site)
    for id_, error in ((copy.id, Forbidden), (whole["id"], NotFound), (new_id("malware"), NotFound)):
        with pytest.raises(error):
            site.delete("carol", "all", id_)


def test_another_worker_knows_the_copies(site: Site) -> None:
    site.store("alice", "alice-box", partly_red())
    copy, _ = items(site)
    worker = site.worker()
    (alone,) = site.page("carol", hub=worker, resource="object", object_id=copy.id).items
    assert alone.content == copy.content
