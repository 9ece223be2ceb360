"""Versions of one object: late ones, equal ones, observables without any, deletion, and bodies of several portions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taxii_server.errors import NotFound
from taxii_server.service.query import Filters
from tests.service.site import ALL_V, FIRST_V, LAST_V, Site, at, marked, report, url, versions
from tests.world import malware, new_id, relationship

V1, V2, V3 = ("2020-01-01T00:00:00.000Z", "2020-02-01T00:00:00.000Z", "2020-03-01T00:00:00.000Z")
EVERY_VERSION = versions(ALL_V)


def malware_20(id_: str, modified: str, **more: Any) -> dict[str, Any]:
    """A STIX 2.0 malware."""
    value = malware(id_, modified, labels=["trojan"], **more)
    del value["spec_version"], value["is_family"]
    return value


def test_an_older_version_that_comes_late_is_stored_but_not_the_latest(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V2, name="2"))
    site.store("alice", "alice-box", malware(id_, V1, name="1"), malware(id_, V3, name="3"))
    assert site.names("carol") == ["3"]
    assert site.names("carol", filters=versions(FIRST_V)) == ["1"]
    assert site.names("carol", filters=EVERY_VERSION) == ["2", "1", "3"]


def test_a_late_older_version_is_governed_by_the_newest(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V2, **marked("red")))
    site.store("alice", "alice-box", malware(id_, V1, **marked("green")))
    assert site.ids("carol", filters=EVERY_VERSION) == []
    assert len(site.ids("alice", filters=EVERY_VERSION)) == 2


@pytest.mark.parametrize("same", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.0Z", "2020-01-01T00:00:00.000000Z"])
def test_the_same_instant_in_other_digits_is_the_same_version(site: Site, same: str) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1))
    (added,) = site.post("alice", "alice-box", malware(id_, same))
    assert not added.ok
    assert added.version == same
    assert len(site.ids("carol", filters=EVERY_VERSION)) == 1
    assert site.ids("carol", filters=versions(at(same))) == [id_]


def test_microseconds_and_nanoseconds_tell_versions_apart(site: Site) -> None:
    id_ = new_id("malware")
    fractions = [".1", ".12", ".123456", ".1234561", ".123456100", ".123456101", ".123456789"]
    times = [f"2020-01-01T00:00:00{fraction}Z" for fraction in fractions]
    site.store("alice", "alice-box", *(malware(id_, time, name=time) for time in reversed(times) if "100Z" not in time))
    assert not site.post("alice", "alice-box", malware(id_, times[4]))[0].ok
    assert site.names("carol") == [times[-1]]
    assert site.names("carol", filters=versions(FIRST_V)) == [times[0]]
    assert site.names("carol", filters=versions(at(times[3], times[0]))) == [times[3], times[0]]
    found = [record.version for record in site.walk("carol", resource="versions", object_id=id_, content=False)]
    assert found == [time for time in reversed(times) if time != times[4]]


def test_an_observable_that_is_posted_again_equal_is_a_success_with_its_first_version(site: Site) -> None:
    id_ = new_id("url")
    (first,) = site.post("alice", "alice-box", url("http://a", id_))
    again = site.post("alice", "alice-box", url("http://a", id_), url("http://a", id_))
    assert [(each.ok, each.version, each.message) for each in again] == [(True, first.version, "already present")] * 2
    assert site.ids("carol", filters=EVERY_VERSION) == [id_]


def test_an_observable_that_changed_is_a_new_version_as_old_as_its_arrival(site: Site) -> None:
    id_ = new_id("url")
    (one,) = site.post("alice", "alice-box", url("http://a", id_))
    (two,) = site.post("alice", "alice-box", url("http://b", id_))
    assert one.version < two.version
    (latest,) = site.walk("carol")
    assert json.loads(latest.content)["value"] == "http://b"
    assert [record.version for record in site.walk("carol", filters=EVERY_VERSION)] == [one.version, two.version]
    assert site.ids("carol", filters=versions(at(one.version))) == [id_]


def test_a_changed_observable_governs_an_earlier_one_of_the_same_body(site: Site) -> None:
    id_ = new_id("url")
    green, red = url("http://a", id_, **marked("green")), url("http://b", id_, **marked("red"))
    results = site.post("alice", "alice-box", green, red, green)
    assert [each.ok for each in results] == [True, True, True]
    assert results[2].version == results[0].version != results[1].version
    assert site.ids("carol", filters=EVERY_VERSION) == []
    assert [record.version for record in site.walk("alice")] == [results[1].version]


def test_an_object_several_times_in_one_body_is_one_record(site: Site) -> None:
    id_ = new_id("malware")
    one, other = malware(id_, V1, name="1"), malware(id_, V1, name="another")
    results = site.post("alice", "alice-box", one, one, other, malware(id_, V2, name="2"), one)
    assert [each.ok for each in results] == [True, True, False, True, True]
    assert [each.message for each in results if each.ok] == [None, "already present", None, "already present"]
    assert site.names("carol", filters=EVERY_VERSION) == ["1", "2"]


def test_both_stix_versions_of_an_object_are_told_apart(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware_20(id_, V3, name="2.0"), malware(id_, V1, name="2.1"))
    assert site.names("carol") == ["2.1"]
    assert site.names("carol", filters=Filters(spec_versions=("2.0",))) == ["2.0"]
    assert site.names("carol", filters=Filters(spec_versions=("2.0", "2.1"))) == ["2.0", "2.1"]
    assert site.names("carol", filters=EVERY_VERSION) == ["2.1"]


def test_a_red_version_in_the_other_stix_version_governs(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1), malware_20(id_, V3, **marked("red")))
    assert site.ids("carol", filters=versions(ALL_V, spec_versions=("2.0", "2.1"))) == []


# ---- deletion


def test_deleting_the_newest_version_uncovers_the_one_before(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="1", **marked("green")))
    site.store("alice", "alice-box", malware(id_, V2, name="2", **marked("red")))
    assert site.names("carol") == []
    assert site.delete("alice", "alice-box", id_, versions(LAST_V)) == 1
    assert site.names("carol") == ["1"]
    assert site.names("carol", filters=versions(FIRST_V)) == ["1"]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (None, []),
        (versions(ALL_V), []),
        (versions(LAST_V), ["1", "2", "old 1", "old 3"]),  # as a read without match[spec_version] shows it
        (versions(FIRST_V), ["2", "3", "old 1", "old 3"]),
        (versions(LAST_V, spec_versions=("2.0", "2.1")), ["1", "2", "old 1"]),
        (versions(at(V2)), ["1", "3", "old 1", "old 3"]),
        (versions(at(V1, V3)), ["2"]),
        (Filters(spec_versions=("2.0",)), ["1", "2", "3"]),
        (versions(FIRST_V, spec_versions=("2.1",)), ["2", "3", "old 1", "old 3"]),
    ],
)
def test_deletion_takes_the_versions_that_the_filters_name(
    site: Site, filters: Filters | None, left: list[str]
) -> None:
    id_ = new_id("malware")
    site.store(
        "alice", "alice-box", *(malware(id_, time, name=name) for time, name in ((V1, "1"), (V2, "2"), (V3, "3")))
    )
    site.store("alice", "alice-box", malware_20(id_, V1, name="old 1"), malware_20(id_, V3, name="old 3"))
    gone = site.delete("alice", "alice-box", id_, filters)
    both = versions(ALL_V, spec_versions=("2.0", "2.1"))
    rest = site.names("carol", filters=both)
    assert (gone, rest) == (5 - len(left), left)


def test_deleting_a_version_that_does_not_exist_is_not_found_and_deletes_nothing(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1))
    with pytest.raises(NotFound):
        site.delete("alice", "alice-box", id_, versions(at(V2)))
    assert site.ids("alice") == [id_]


def test_what_was_deleted_can_be_posted_again(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, **marked("red")))
    assert site.delete("alice", "alice-box", id_) == 1
    site.store("alice", "alice-box", malware(id_, V1, **marked("green")))
    assert site.ids("carol") == [id_]


# ---- bodies of several portions


def test_a_body_of_several_portions_is_one_post(site: Site) -> None:
    """2,500 objects: duplicates, versions and references reach over the portions of 1,000."""
    objects = [malware(name=str(number)) for number in range(2500)]
    twice = malware(objects[10]["id"], objects[10]["modified"], name="10")
    newer = malware(objects[20]["id"], V3, name="newer")
    secret = malware(name="secret", **marked("red"))
    early = [relationship(objects[0]["id"], objects[2490]["id"]), relationship(objects[0]["id"], secret["id"])]
    listing = report([objects[number]["id"] for number in (1, 1500, 2499)], new_id("report"))
    body = [*early, listing, *objects, twice, newer, secret]
    results = site.post("alice", "alice-box", *body)
    assert [each.id for each in results] == [each["id"] for each in body]
    assert all(each.ok for each in results)
    assert [each.message for each in results].index("already present") == len(body) - 3
    seen = site.ids("carol", limit=1000)
    expected = [early[0]["id"], listing["id"], *(each["id"] for each in objects)]
    expected.remove(objects[20]["id"])
    assert seen == [*expected, objects[20]["id"]]
    again = site.post("alice", "alice-box", *body)
    assert all(each.message == "already present" for each in again)


def test_progress_tells_how_many_objects_of_the_body_are_done(site: Site) -> None:
    body = json.dumps({"objects": [url(str(number), new_id("url")) for number in range(1001)]}).encode()
    told: list[tuple[int, int]] = []
    place = site.hub.snapshot.catalog.collections["alice-box"]
    site.hub.writer.add("alice", place, body, lambda done, of: told.append((done, of)))
    assert told == [(1000, 1001), (1001, 1001)]


def test_a_bad_object_fails_alone_and_keeps_its_place(site: Site) -> None:
    good = [malware(), malware()]
    results = site.post("alice", "alice-box", good[0], {"type": "malware"}, 7, good[1])
    assert [each.ok for each in results] == [True, False, False, True]
    assert [each.id for each in results][1:3] == ["objects[1]", "objects[2]"]
    assert site.ids("carol") == [each["id"] for each in good]
