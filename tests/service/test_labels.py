"""Labels that another worker made: nothing that carries one is stepped over, whatever is asked."""

from __future__ import annotations

import pytest

from taxii_server.errors import Forbidden, NotFound, StorageUnavailable
from taxii_server.policy import Vocabulary
from taxii_server.service.book import Behind
from taxii_server.service.hub import Hub
from taxii_server.service.query import Filters
from tests.service.site import ALL_V, IDS, Site, marked, statement, url, versions
from tests.world import collection, malware, new_id, relationship

M1, M2 = new_id("marking-definition"), new_id("marking-definition")


def _marked(*ids: str) -> dict[str, list[str]]:
    return {"object_marking_refs": list(ids)}


@pytest.fixture
def other(site: Site) -> Hub:
    """A second worker that has already answered a poll."""
    hub = site.worker()
    assert site.ids("carol", hub=hub) == []
    return hub


def _new(level: str = "green") -> dict[str, object]:
    return malware(**marked(level))


def test_a_short_page_holds_what_another_worker_posted_under_a_new_label(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", first := _new("clear"))
    assert site.ids("carol", hub=other) == [first["id"]]
    site.store("alice", "alice-box", second := _new())
    assert site.ids("carol", hub=other, limit=50) == [first["id"], second["id"]]


def test_every_page_of_a_worker_that_found_nothing_holds_what_was_committed_before_it(site: Site, other: Hub) -> None:
    """What a worker remembers of an audience is made anew before it may say that there is nothing."""
    made: list[object] = []
    for number, level in enumerate(("clear", "green", "clear", "amber")):
        for hub in (site.hub, other):
            assert site.ids("carol", hub=hub, filters=Filters(versions=ALL_V), limit=50) == made
            assert site.ids("carol", hub=hub, limit=50) == made
        site.store(*(("alice", "alice-box") if number % 2 else ("bob", "bob-box")), one := _new(level))
        made.append(one["id"])
    for hub in (other, site.hub):
        assert site.ids("carol", hub=hub, filters=Filters(versions=ALL_V), limit=50) == made


def test_a_full_page_holds_what_another_worker_posted_under_a_new_label(site: Site, other: Hub) -> None:
    objects = [_new(level) for level in ("clear", "green", "amber", "clear", "green", "amber")]
    for each in objects:
        site.store("alice", "alice-box", each)
    found = site.page("carol", hub=other, limit=2)
    assert [record.id for record in found.records] == [each["id"] for each in objects[:2]]
    assert found.next is not None
    site.store("bob", "bob-box", later := _new())
    rest = site.page("carol", hub=other, limit=50, next=found.next)
    assert [record.id for record in rest.records] == [*(each["id"] for each in objects[2:]), later["id"]]


def test_a_poll_from_the_last_position_holds_what_has_a_new_label(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", _new("clear"))
    (last,) = site.walk("carol", hub=other)
    assert site.page("carol", hub=other, added_after=last.position).records == ()
    site.store("alice", "alice-box", new := _new())
    (found,) = site.page("carol", hub=other, added_after=last.position).records
    assert found.id == new["id"]


@pytest.mark.parametrize("resource", ["object", "versions"])
def test_a_single_object_with_a_new_label_is_found(site: Site, other: Hub, resource: str) -> None:
    site.store("alice", "alice-box", new := _new())
    (found,) = site.page("carol", hub=other, resource=resource, object_id=new["id"]).records
    assert found.id == new["id"]


def test_an_object_whose_target_got_a_new_label_is_judged_by_the_new_one(site: Site, other: Hub) -> None:
    target = malware(modified="2020-01-01T00:00:00.000Z")
    link = relationship(target["id"], target["id"])
    site.store("alice", "alice-box", target, link)
    assert site.ids("carol", hub=other) == [target["id"], link["id"]]
    site.store("alice", "alice-box", malware(target["id"], "2021-01-01T00:00:00.000Z", **marked("red")))
    assert site.ids("carol", hub=other) == []
    site.store("bob", "bob-box", malware(target["id"], **_marked(M1)), statement(M1))
    assert site.ids("carol", hub=other, filters=Filters(types=("relationship",))) == [link["id"]]


def test_another_workers_new_label_is_seen_when_deleting(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", new := _new(), hidden := _new("red"))
    with pytest.raises(Forbidden):
        site.delete("carol", "all", new["id"], hub=other)
    with pytest.raises(NotFound):
        site.delete("carol", "all", hidden["id"], hub=other)
    assert site.delete("alice", "all", new["id"], hub=other) == 1


def test_labels_that_keep_appearing_end_in_unavailable_and_not_in_a_fault(site: Site) -> None:
    def attempt() -> None:
        raise Behind(1)

    with pytest.raises(StorageUnavailable):
        site.hub.book.settled(attempt)


def test_hundreds_of_labels_are_read_in_order(site: Site, other: Hub) -> None:
    """More than either store reads as ranges of its own."""
    ids = [new_id("marking-definition") for _ in range(450)]
    site.store("alice", "alice-box", *(statement(id_) for id_ in ids))
    objects = [malware(**_marked(id_)) for id_ in ids]
    site.store("alice", "alice-box", *objects)
    assert len(site.labels()) == 900
    expected = [*ids, *(each["id"] for each in objects)]
    assert site.ids("carol", hub=other, limit=200) == expected
    assert site.ids("carol", hub=other, filters=Filters(types=("malware",)), limit=200) == expected[450:]
    # Definitions show only to those who read something that they mark.
    assert site.ids("bob", "bob-box") == []


# ---- what marking-definitions mean


@pytest.mark.parametrize("definition_first", [True, False])
def test_a_marking_definition_opens_what_its_poster_marked_with_it(
    site: Site, other: Hub, definition_first: bool
) -> None:
    definition, marked_by_it = statement(M1), malware(**_marked(M1))
    first, second = (definition, marked_by_it) if definition_first else (marked_by_it, definition)
    site.store("alice", "alice-box", first)
    assert site.ids("carol", hub=other) == []
    assert site.ids("alice", hub=other) == [first["id"]]
    site.store("alice", "alice-box", second)
    assert site.ids("carol", hub=other) == [first["id"], second["id"]]
    assert site.ids("carol") == [first["id"], second["id"]]


def test_a_stranger_who_posts_a_definition_opens_nothing(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", malware(**_marked(M1)))
    site.store("bob", "bob-box", statement(M1))
    assert site.ids("carol", hub=other) == []


def test_the_first_meaning_stays_and_a_definition_that_is_not_understood_opens_nothing(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", malware(**_marked(M1)), statement(M1, "TLP:RED"))
    assert not site.post("alice", "alice-box", statement(M1))[0].ok
    assert site.ids("carol", hub=other) == []


def test_a_definition_is_readable_only_with_something_that_carries_it(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", statement(M1), statement(M2))
    site.store("alice", "alice-box", malware(**_marked(M1)), malware(object_marking_refs=[M2, *_red()]))
    assert [id_ for id_ in site.ids("carol", hub=other) if id_.startswith("marking")] == [M1]


def test_a_definition_that_only_an_overruled_version_carries_stays_hidden(site: Site, other: Hub) -> None:
    id_ = new_id("malware")
    site.store(
        "alice",
        "alice-box",
        statement(M1),
        malware(id_, "2020-01-01T00:00:00Z", **_marked(M1)),
        malware(id_, "2020-01-02T00:00:00Z", **marked("red")),
    )
    assert site.ids("carol", hub=other, filters=versions(ALL_V)) == []


def _red() -> list[str]:
    return marked("red")["object_marking_refs"]


# ---- the log itself


def test_equal_objects_share_a_label_and_a_post_of_known_labels_adds_none(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", *(url(str(number), new_id("url")) for number in range(50)))
    known = site.labels()
    assert len(known) == 1
    site.store("alice", "alice-box", *(url(str(number), new_id("url")) for number in range(50)), hub=other)
    assert site.labels() == known


def test_a_new_worker_reads_the_same_book(site: Site) -> None:
    site.store("alice", "alice-box", statement(M1), malware(**_marked(M1)), _new(), _new("amber"))
    fresh = site.worker()
    assert fresh.book.labels == site.hub.book.labels
    assert (fresh.book.length, fresh.book.edition) == (site.hub.book.length, site.hub.book.edition)
    assert site.ids("carol", hub=fresh) == site.ids("carol")


def test_two_processes_that_grow_the_vocabulary_at_once_lose_nothing(site: Site, other: Hub) -> None:
    # Both looked before either appended.
    for hub, label in ((site.hub, "one"), (other, "two")):
        hub.store.append_log([("vocabulary", Vocabulary(labels=frozenset({label})).to_json())])
    for hub in (site.hub, other):
        hub.book.sync()
        assert hub.book.vocabulary.labels >= {"one", "two"}


def test_a_partner_that_is_suspended_or_left_gets_nothing(site: Site, other: Hub) -> None:
    site.store("alice", "alice-box", _new(), _new("clear"))
    partners = site.files["config/partners.toml"]
    site.apply(partners=partners.replace("[audience.carol]", "[audience.carol]\nsuspended = true"))
    other.load()
    assert site.ids("carol", hub=other) == []
    site.apply(partners=partners)
    assert len(site.ids("carol")) == 2
    everything = collection(
        IDS["all"], "Everything", readers=["alice", "bob"], sources=["alice-box", "alice-two", "bob-box"]
    )
    site.apply(partners=partners[: partners.index("[audience.carol]")], carol_box=None, all=everything)
    other.load()
    for hub in (site.hub, other):
        assert site.ids("carol", hub=hub) == []
        assert len(site.ids("bob", hub=hub)) == 2
        assert hub.snapshot.catalog.visible("api1", "carol") == ()
