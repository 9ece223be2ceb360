"""What a client has not polled yet stays before it: no record goes back to a place that was passed, when what brought
it forward is replaced, deleted or hidden again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taxii_server.service.granting import Granting
from tests.service.site import ALL_V, Site, at, report, versions
from tests.service.test_late_grants import Poller, ids, without
from tests.world import OPEN_POLICY, malware, new_id, relationship

OLD, NEW, NEWER = "2021-01-01T00:00:00.000Z", "2022-01-01T00:00:00.000Z", "2023-01-01T00:00:00.000Z"
SECRET = without('label = "secret"')


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(str(tmp_path / "hub.db"), policy=SECRET)
    yield made
    made.close()


@pytest.mark.parametrize("label", ["plain", "secret"])
@pytest.mark.parametrize("change", ["version", "copy", "version, the older one goes", "version, hidden again"])
def test_what_refers_to_something_granted_waits_for_a_client_whatever_comes_after(
    site: Site, change: str, label: str
) -> None:
    hidden, other = malware(labels=["secret"], modified=OLD), malware()
    site.store("alice", "alice-box", hidden, other, link := relationship(hidden["id"], other["id"]), last := malware())
    carol = Poller(site)
    assert carol.poll() == ids(other, last)
    site.apply(policy=OPEN_POLICY)
    if change == "copy":
        site.store("bob", "bob-box", malware(hidden["id"], modified=NEW, labels=[label]))
    else:
        site.store("alice", "alice-box", malware(hidden["id"], modified=NEW, labels=[label]))
    if change.endswith("goes"):
        site.delete("alice", "alice-box", hidden["id"], versions(at(OLD)))
    if change.endswith("again"):
        site.apply(policy=SECRET)
    expected = set() if change.endswith("again") and label == "secret" else {hidden["id"], link["id"]}
    assert set(carol.poll()) == expected
    assert carol.poll() == []


def test_an_older_version_comes_when_the_newest_one_goes_before_a_client_was_there(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, modified=OLD), malware(id_, modified=NEW, labels=["secret"]))
    site.store("alice", "alice-box", link := relationship(id_, id_), last := malware())
    carol = Poller(site)
    assert carol.poll() == ids(last)
    site.apply(policy=OPEN_POLICY)
    site.delete("alice", "alice-box", id_, versions(at(NEW)))
    assert sorted(carol.poll()) == sorted([id_, link["id"]])
    assert carol.poll() == []


def test_an_older_version_comes_when_the_newest_one_goes_in_the_middle_of_a_walk(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", first := malware(), malware(id_, modified=OLD), second := malware())
    site.store("alice", "alice-box", third := malware(), malware(id_, modified=NEW))
    page = site.page("carol", limit=2)
    assert [record.id for record in page.records] == ids(first, second)
    site.delete("alice", "alice-box", id_, versions(at(NEW)))
    rest = site.page("carol", limit=9, next=page.next)
    assert [record.id for record in rest.records] == [third["id"], id_]


@pytest.mark.parametrize("granted", [False, True])
def test_an_older_version_comes_when_the_newest_one_goes_that_refers_to_something_hidden(
    site: Site, granted: bool
) -> None:
    id_, hidden, other = new_id("report"), malware(labels=["secret"]), malware()
    site.store("alice", "alice-box", hidden, other, report([other["id"]], id_, modified=OLD))
    site.store("alice", "alice-box", report([hidden["id"]], id_, modified=NEW), link := relationship(id_, other["id"]))
    site.store("alice", "alice-box", last := malware())
    carol = Poller(site)
    assert carol.poll() == ids(other, last)
    if granted:
        site.apply(policy=OPEN_POLICY)
    site.delete("alice", "alice-box", id_, versions(at(NEW)))
    assert sorted(carol.poll()) == sorted([id_, link["id"], *([hidden["id"]] if granted else [])])


def test_what_a_granted_version_brought_stays_when_a_newer_one_governs(site: Site) -> None:
    """The newer one was never granted: it is posted readable. The client had none of the three."""
    id_, other = new_id("malware"), malware()
    site.store("alice", "alice-box", other, malware(id_, modified=OLD), malware(id_, modified=NEW, labels=["secret"]))
    site.store("alice", "alice-box", link := relationship(other["id"], id_), last := malware())
    newest, every = Poller(site), Poller(site, filters=versions(ALL_V))
    assert newest.poll() == every.poll() == ids(other, last)
    site.apply(policy=OPEN_POLICY)
    site.store("alice", "alice-box", malware(id_, modified=NEWER))
    assert sorted(newest.poll()) == sorted([link["id"], id_])
    assert sorted(every.poll()) == sorted([link["id"], id_, id_, id_])


@pytest.mark.parametrize("mode", ["keep", "derive"])
def test_lists_that_are_judged_in_another_way(site: Site, mode: str) -> None:
    hidden, other = malware(labels=["secret"]), malware()
    listing, plain = report([hidden["id"], other["id"]], new_id("report")), report([other["id"]], new_id("report"))
    site.store("alice", "alice-box", hidden, other, listing, plain, link := relationship(listing["id"], other["id"]))
    site.store("alice", "alice-box", last := malware())
    carol, bob = Poller(site), Poller(site, "bob")
    assert carol.poll() == ids(other, plain, last)
    assert bob.poll() == ids(hidden, other, listing, plain, link, last)
    site.apply(policy=SECRET.replace("[defaults]", f'[defaults]\nrefs_lists = "{mode}"'))
    if mode == "keep":
        assert carol.poll() == ids(listing, link)
    else:  # a copy of the list, the relationship that says so, and the relationship of the list
        assert [each.partition("--")[0] for each in carol.poll()] == ["report", "relationship", "relationship"]
    assert carol.poll() == bob.poll() == []


def test_lists_that_come_while_it_is_worked_out_how_they_are_judged_now(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, last = malware(labels=["secret"]), malware()
    site.store("alice", "alice-box", hidden, last)
    carol = Poller(site)
    assert carol.poll() == ids(last)
    listing, later = report([hidden["id"]], new_id("report")), malware()
    worker, prepare = site.worker(), Granting.prepare

    def slow(granting: Granting) -> None:
        prepare(granting)
        site.store("alice", "alice-box", listing, later, hub=worker)
        assert carol.poll() == ids(later)

    monkeypatch.setattr(Granting, "prepare", slow)
    site.apply(policy=SECRET.replace("[defaults]", '[defaults]\nrefs_lists = "keep"'))
    assert carol.poll() == ids(listing)


def test_versions_that_no_longer_govern_each_other(site: Site) -> None:
    id_, other = new_id("malware"), malware()
    site.store("alice", "alice-box", other, malware(id_, modified=OLD), malware(id_, modified=NEW, labels=["secret"]))
    site.store("alice", "alice-box", link := relationship(other["id"], id_), last := malware())
    carol, bob = (Poller(site, each, filters=versions(ALL_V)) for each in ("carol", "bob"))
    assert carol.poll() == ids(other, last)
    assert bob.poll() == [other["id"], id_, id_, link["id"], last["id"]]
    site.apply(policy=SECRET.replace("[defaults]", '[defaults]\nversions = "independent"'))
    assert carol.poll() == [id_, link["id"]]
    assert carol.poll() == bob.poll() == []


def test_what_was_granted_waits_when_versions_no_longer_govern_each_other(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, modified=OLD), malware(id_, modified=NEW, labels=["secret"]))
    site.store("alice", "alice-box", last := malware())
    carol = Poller(site, filters=versions(ALL_V))
    assert carol.poll() == ids(last)
    site.apply(policy=OPEN_POLICY)
    site.apply(policy=OPEN_POLICY.replace("[defaults]", '[defaults]\nversions = "independent"'))
    assert carol.poll() == [id_, id_]


def test_what_is_granted_of_newer_versions_moves_no_older_one_that_they_do_not_govern(site: Site) -> None:
    independent = SECRET.replace("[defaults]", '[defaults]\nversions = "independent"')
    site.apply(policy=independent)
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, modified=OLD), malware(id_, modified=NEW, labels=["secret"]))
    carol = Poller(site, filters=versions(ALL_V))
    assert carol.poll() == [id_]
    site.apply(policy=OPEN_POLICY.replace("[defaults]", '[defaults]\nversions = "independent"'))
    assert [record.version for record in site.walk("carol", filters=versions(ALL_V))] == [OLD, NEW]
    assert carol.poll() == [id_]


def test_who_cannot_see_the_newest_version_sees_nothing_of_its_going(site: Site) -> None:
    """It was in a collection that carol does not reach, or she has to wait for it."""
    delayed = (
        OPEN_POLICY
        + '\n[[embargo]]\nid = "later"\nto = { audience = "carol" }\nwhat = { label = "hot" }\ndelay = "1h"\n'
    )
    site.apply(policy=delayed, all=site.files["collections/all.toml"].replace('"alice-two", ', ""))
    ids_ = [new_id("malware") for _ in range(2)]
    site.store("alice", "alice-box", *(malware(each, modified=OLD) for each in ids_))
    site.store("alice", "alice-two", malware(ids_[0], modified=NEW))
    site.store("alice", "alice-box", malware(ids_[1], modified=NEW, labels=["hot"]), last := malware())
    carol = Poller(site, filters=versions(ALL_V))
    assert carol.poll() == [*ids_, last["id"]]
    site.delete("alice", "alice-two", ids_[0], versions(at(NEW)))
    site.delete("alice", "alice-box", ids_[1], versions(at(NEW)))
    assert carol.poll() == []
