"""Several submitters of one id: everybody keeps a copy of its own, and no answer tells of what is hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from taxii_server.errors import Forbidden, NotFound
from tests.service.site import ALICE_ID, ALL_V, COLLECTIONS, LAST_V, PARTNERS, Site, marked, versions
from tests.world import OPEN_POLICY, audiences, collection, indicator, malware, new_id, relationship

V1, V2, V3 = ("2020-01-01T00:00:00.000Z", "2020-02-01T00:00:00.000Z", "2020-03-01T00:00:00.000Z")
EVERY_VERSION = versions(ALL_V)


def test_two_submitters_of_one_version_keep_their_own_contents(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="alice's"))
    site.store("bob", "bob-box", malware(id_, V1, name="bob's"))
    assert site.names("alice") == ["alice's"]
    assert site.names("bob") == ["bob's"]
    assert site.names("carol") == ["alice's"]  # equal versions once: the one that came first
    assert site.names("carol", filters=EVERY_VERSION) == ["alice's"]
    assert len(list(site.walk("carol", resource="versions", object_id=id_, content=False))) == 1


def test_in_a_view_the_newest_readable_version_stands_whoever_posted_it(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V2, name="alice's 2"))
    site.store("bob", "bob-box", malware(id_, V1, name="bob's 1"), malware(id_, V3, name="bob's 3"))
    assert site.names("carol") == ["bob's 3"]
    assert site.names("alice") == ["bob's 3"]
    assert site.names("carol", filters=EVERY_VERSION) == ["alice's 2", "bob's 1", "bob's 3"]
    assert site.names("alice", "alice-box") == ["alice's 2"]


@pytest.mark.parametrize("version", [V1, V2, V3])
def test_a_post_over_a_hidden_object_is_answered_as_if_it_were_not_there(site: Site, version: str) -> None:
    id_, other = new_id("malware"), new_id("malware")
    site.store("alice", "alice-box", malware(id_, V2, name="secret", **marked("red")))
    over_hidden = site.post("bob", "bob-box", malware(id_, version))
    over_nothing = site.post("bob", "bob-box", malware(other, version))
    assert [(each.ok, each.message, each.version) for each in over_hidden] == [
        (each.ok, each.message, each.version) for each in over_nothing
    ]
    assert site.ids("bob") == [id_, other]
    assert site.ids("carol") == [id_, other]
    assert site.names("alice", filters=EVERY_VERSION).count("secret") == 1


def test_reposting_over_ones_own_copy_does_not_depend_on_hidden_ones(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="secret", **marked("red")))
    site.store("bob", "bob-box", malware(id_, V1, name="bob's"))
    again = site.post(
        "bob", "bob-box", malware(id_, V1, name="bob's"), malware(id_, V1, name="secret", **marked("red"))
    )
    assert [(each.ok, each.message) for each in again[:1]] == [(True, "already present")]
    assert not again[1].ok
    assert "you already posted" in str(again[1].message)


def test_deleting_what_is_hidden_is_answered_like_deleting_what_does_not_exist(site: Site) -> None:
    hidden, seen = new_id("malware"), new_id("malware")
    site.store("alice", "alice-box", malware(hidden, **marked("red")), malware(seen, **marked("green")))
    for object_id in (hidden, new_id("malware")):
        with pytest.raises(NotFound):
            site.delete("bob", "all", object_id)
        with pytest.raises(NotFound):
            site.page("bob", resource="object", object_id=object_id)
        with pytest.raises(NotFound):
            site.page("bob", resource="versions", object_id=object_id)
    with pytest.raises(Forbidden):
        site.delete("bob", "all", seen)
    assert site.ids("alice") == [hidden, seen]


def test_deleting_takes_ones_own_copy_and_leaves_those_of_others(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="alice's"))
    site.store("bob", "bob-box", malware(id_, V1, name="bob's"))
    assert site.delete("bob", "all", id_) == 1
    assert site.names("bob") == ["alice's"]
    with pytest.raises(Forbidden):
        site.delete("bob", "all", id_)


def test_an_owner_deletes_what_it_reads_in_its_collection_and_nothing_else(site: Site) -> None:
    shared = collection(
        "eeeeeeee-0000-4000-8000-000000000001", "Shared", readers=["alice", "bob"], writers=["alice", "bob"],
        owner="bob", sources=["alice-box"],
    )  # fmt: skip
    site.files["collections/shared.toml"] = shared
    site.apply()
    seen, red, in_source = (new_id("malware") for _ in range(3))
    site.store("alice", "shared", malware(seen, **marked("green")), malware(red, **marked("red")))
    site.store("alice", "alice-box", malware(in_source))
    assert site.delete("bob", "shared", seen) == 1
    with pytest.raises(NotFound):
        site.delete("bob", "shared", red)
    with pytest.raises(Forbidden):
        site.delete("bob", "shared", in_source)


def test_submitters_read_what_they_posted_whatever_its_markings_and_references(site: Site) -> None:
    site.apply(policy=OPEN_POLICY.replace('unmarked = "tlp:clear"', 'unmarked = "deny"'))
    unknown = {"object_marking_refs": [new_id("marking-definition")]}
    hidden, target = new_id("malware"), malware(**marked("red"))
    site.store("bob", "bob-box", malware(hidden, **marked("red")))
    site.store("alice", "alice-box", target)
    mine = [malware(), malware(**marked("red")), malware(**unknown), relationship(hidden, target["id"])]
    site.store("carol", "carol-box", *mine)
    assert site.ids("carol") == [each["id"] for each in mine]
    assert site.ids("alice") == [target["id"]]


# ---- forged versions


def test_a_forged_newer_version_does_not_displace_the_rightful_one(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="rightful", created_by_ref=ALICE_ID))
    site.store("bob", "bob-box", malware(id_, V2, name="forged", created_by_ref=ALICE_ID))
    for filters in (None, EVERY_VERSION):
        assert site.names("carol", filters=filters) == ["rightful"]
        assert site.names("alice", filters=filters) == ["rightful"]
    # Who forged it reads it back, or the answer to its POST would have been a lie.
    assert site.names("bob") == ["forged"]
    assert site.names("bob", filters=EVERY_VERSION) == ["rightful", "forged"]


def test_a_forged_copy_of_a_rightful_object_is_not_shown_in_views_without_the_rightful_one(site: Site) -> None:
    site.files["collections/bobs-view.toml"] = collection(
        "eeeeeeee-0000-4000-8000-000000000002", "Bob's", readers=["carol"], sources=["bob-box"]
    )
    site.apply()
    id_ = new_id("malware")
    site.store("bob", "bob-box", malware(id_, V2, name="forged", created_by_ref=ALICE_ID))
    assert site.names("carol", "bobs-view") == ["forged"]
    site.store("alice", "alice-box", malware(id_, V1, name="rightful", created_by_ref=ALICE_ID))
    assert site.names("carol", "bobs-view") == []
    with pytest.raises(NotFound):
        site.page("carol", "bobs-view", resource="object", object_id=id_)


def test_a_hidden_rightful_copy_displaces_nothing(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="rightful", created_by_ref=ALICE_ID, **marked("red")))
    site.store("bob", "bob-box", malware(id_, V2, name="other", created_by_ref=ALICE_ID))
    assert site.names("carol") == ["other"]


def test_versions_of_a_rightful_submitter_without_a_creator_stay(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="1"), malware(id_, V2, name="2", created_by_ref=ALICE_ID))
    site.store("bob", "bob-box", malware(id_, V3, name="forged"))
    assert site.names("carol", filters=EVERY_VERSION) == ["1", "2"]


def test_who_a_partner_is_only_the_partner_says(site: Site) -> None:
    assert ALICE_ID in site.hub.snapshot.catalog.policy.audiences["alice"].identities
    common = {"type": "identity", "spec_version": "2.1", "id": ALICE_ID, "created": V1}
    site.store("bob", "bob-box", common | {"modified": V2, "name": "forged"})
    assert site.names("carol") == ["forged"]
    site.store("alice", "alice-box", common | {"modified": V1, "name": "rightful"})
    for filters in (None, EVERY_VERSION):
        assert site.names("carol", filters=filters) == ["rightful"]
    assert site.names("bob", filters=EVERY_VERSION) == ["forged", "rightful"]


# ---- who governs


def test_the_newest_version_governs_across_the_collections_of_its_submitter(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="1", **marked("green")))
    assert site.names("carol") == ["1"]
    site.store("alice", "alice-two", malware(id_, V2, name="2", **marked("red")))
    assert site.names("carol", filters=EVERY_VERSION) == []
    with pytest.raises(NotFound):
        site.page("carol", resource="versions", object_id=id_)
    assert site.names("alice") == ["2"]
    assert site.names("alice", "alice-box") == ["1"]
    assert site.delete("alice", "all", id_, versions(LAST_V)) == 1
    assert site.names("carol") == ["1"]


def test_a_newer_red_version_by_another_submitter_does_not_hide_mine(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="alice's", **marked("green")))
    site.store("bob", "bob-box", malware(id_, V2, name="bob's", **marked("red")))
    assert site.names("carol") == ["alice's"]
    assert site.names("carol", filters=EVERY_VERSION) == ["alice's"]
    assert site.names("alice") == ["alice's"]
    assert site.names("bob") == ["bob's"]


def test_a_newest_version_that_refers_to_something_hidden_hides_the_older_ones(site: Site) -> None:
    hidden, link = malware(**marked("red")), new_id("relationship")
    known = malware()
    site.store("alice", "alice-box", known, relationship(known["id"], known["id"], link, modified=V1))
    assert link in site.ids("carol")
    site.store("alice", "alice-box", hidden, relationship(known["id"], hidden["id"], link, modified=V2))
    assert site.ids("carol", filters=EVERY_VERSION) == [known["id"]]
    with pytest.raises(NotFound):
        site.page("carol", resource="object", object_id=link)


def test_what_refers_to_a_copy_in_an_unreachable_collection_is_hidden(site: Site) -> None:
    dark = collection("eeeeeeee-0000-4000-8000-000000000003", "Dark", readers=["alice"], writers=["alice"])
    site.files["collections/dark.toml"] = dark
    site.apply()
    target = malware()
    site.store("alice", "dark", target)
    site.store("bob", "bob-box", relationship(target["id"], new_id("tool"), name="x"))
    assert site.ids("carol") == []
    assert len(site.ids("bob")) == 1


# ---- two worlds, with and without what is hidden


@pytest.fixture
def lone_site(store_url: str) -> Iterator[Site]:
    made = Site(store_url, OPEN_POLICY, PARTNERS + audiences({"dave": ""}), COLLECTIONS)
    yield made
    made.close()


def test_statuses_and_pages_are_the_same_with_and_without_hidden_objects(lone_site: Site) -> None:
    site = lone_site
    shown = [malware(name=f"m{number}") for number in range(6)]
    links = [relationship(shown[0]["id"], shown[number]["id"], name=f"r{number}") for number in range(3)]

    def act() -> list[object]:
        results = site.post("bob", "bob-box", *shown, *links)
        found = [json.loads(record.content) for record in site.walk("carol", limit=2)]
        everything = [record.version for record in site.walk("carol", filters=EVERY_VERSION, limit=2)]
        answers: list[object] = [results, found, everything]
        for each in shown:
            assert site.delete("bob", "bob-box", each["id"]) == 1
        for each in links:
            assert site.delete("bob", "bob-box", each["id"]) == 1
        return answers

    without = act()
    red = marked("red")
    site.store("alice", "alice-box", *(malware(each["id"], V3, name="hidden", **red) for each in shown))
    site.store("alice", "alice-box", *(indicator(**red) for _ in range(20)))
    # The references of the readable ones point at ids that also have hidden copies: a readable copy is enough.
    assert act() == without
