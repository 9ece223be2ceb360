"""Embargoes, releases and dates of markings, as the clock of the store goes on (policy design, C4, C6 and C20)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from taxii_server.service.granting import Granting
from taxii_server.service.hub import Hub
from taxii_server.service.query import Filters
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.service.site import BOB_ID, Site, marked, report
from tests.service.test_late_grants import Poller, ids
from tests.world import OPEN_POLICY, indicator, malware, new_id, relationship

HOUR = 3_600_000_000
START = 1_800_000_000_000_000
FORBIDDEN = '\n[[forbid]]\nid = "never"\nto = { audience = "carol" }\nwhat = { label = "hot" }\n'
ORCON = "marking-definition--00000000-0000-4000-8000-00000000000c"


class Clock:
    def __init__(self) -> None:
        self.us = START

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "mongodb"])
def site(request: pytest.FixtureRequest, tmp_path: Any, clock: Clock) -> Iterator[Site]:
    store: Any
    if request.param == "sqlite":
        url = str(tmp_path / "hub.db")
        store = SQLiteStore(url, now=clock)
    else:
        url = request.getfixturevalue("mongo_database_url")
        store = MongoStore(url, now=clock)
    store.prepare()
    made = Site(url, store=store)
    yield made
    made.close()


def when(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def delayed(what: str, delay: str = "48h", name: str = "later") -> str:
    return f'\n[[embargo]]\nid = "{name}"\nto = {{ audience = "carol" }}\nwhat = {{ {what} }}\ndelay = "{delay}"\n'


def test_what_is_delayed_is_read_when_its_time_has_come_and_not_before(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"'))
    hot, cold = [malware(labels=["hot"]) for _ in range(3)], [malware() for _ in range(3)]
    site.store("alice", "alice-box", hot[0], cold[0], hot[1], cold[1])
    carol, bob = Poller(site), Poller(site, "bob")
    assert carol.poll() == ids(cold[0], cold[1])
    assert bob.poll() == ids(hot[0], cold[0], hot[1], cold[1])
    clock.us += 24 * HOUR
    site.store("alice", "alice-box", hot[2], cold[2])
    assert carol.poll() == ids(cold[2])
    clock.us += 24 * HOUR - 1_000
    assert carol.poll() == []
    assert not site.page("carol", filters=None).records[3:]
    clock.us += 60_000
    assert carol.poll() == ids(hot[0], hot[1])
    site.store("alice", "alice-box", new := malware())
    assert carol.poll() == ids(new)
    clock.us += 24 * HOUR
    assert carol.poll() == ids(hot[2])
    assert carol.poll() == []
    assert site.ids("carol") == ids(cold[0], cold[1], cold[2], hot[0], hot[1], new, hot[2])
    assert site.ids("bob") == ids(hot[0], cold[0], hot[1], cold[1], hot[2], cold[2], new)


def test_the_submitter_does_not_wait(site: Site) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"'))
    site.store("carol", "carol-box", own := malware(labels=["hot"]))
    assert site.ids("carol") == ids(own)


def test_a_clock_that_steps_back_hides_nothing_that_was_shown(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"'))
    site.store("alice", "alice-box", hot := malware(labels=["hot"]))
    clock.us += 49 * HOUR
    assert site.ids("carol") == ids(hot)
    clock.us -= 10 * HOUR
    assert site.ids("carol") == ids(hot)


def test_what_refers_to_something_delayed_waits_as_long(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('type = "indicator"'))
    target, other = indicator(), malware()
    link, plain = relationship(other["id"], target["id"]), relationship(other["id"], other["id"])
    site.store("alice", "alice-box", link, target, other, plain)
    carol = Poller(site)
    assert carol.poll() == ids(other, plain)
    with pytest.raises(Exception):  # noqa: B017, PT011 - NotFound
        site.page("carol", resource="object", object_id=link["id"])
    clock.us += 48 * HOUR
    later = carol.poll()
    clock.us += 10_000_000
    assert sorted(later + carol.poll()) == sorted(ids(link, target))
    assert sorted(site.ids("carol")) == sorted(ids(link, target, other, plain))
    assert [item.id for item in site.page("carol", resource="object", object_id=link["id"]).items] == ids(link)


@pytest.mark.parametrize("posted", ["before the change", "while it is worked out"])
def test_what_lists_something_delayed_comes_without_it_when_that_is_hidden_instead(
    site: Site, clock: Clock, posted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    derived = OPEN_POLICY.replace("[defaults]", '[defaults]\nrefs_lists = "derive"')
    site.apply(policy=derived + delayed('label = "hot"'))
    hot, cold = malware(labels=["hot"]), malware()
    lists = report([hot["id"], cold["id"]], new_id("report"))
    site.store("alice", "alice-box", hot, cold)
    carol, prepare = Poller(site), Granting.prepare

    def post(*objects: dict[str, Any], hub: Hub | None = None) -> None:
        site.store("alice", "alice-box", *objects, last := malware(), hub=hub)
        assert carol.poll()[-1] == last["id"]

    def slow(granting: Granting) -> None:
        prepare(granting)
        post(lists, hub=worker)

    if posted == "before the change":
        post(lists)
    else:
        worker = site.worker()
        monkeypatch.setattr(Granting, "prepare", slow)
    site.apply(policy=derived + FORBIDDEN)
    copy, _relation = carol.poll()
    (item,) = site.page("carol", filters=Filters(ids=(copy,))).items
    assert json.loads(item.content)["object_refs"] == [cold["id"]]
    assert lists["id"] not in carol.got


def test_a_new_version_under_an_embargo_does_not_take_the_old_one_away(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"'))
    old = malware(name="old")
    site.store("alice", "alice-box", old)
    carol = Poller(site)
    assert carol.poll() == ids(old)
    site.store("alice", "alice-box", {**old, "modified": "2022-01-01T00:00:00.000Z", "name": "new", "labels": ["hot"]})
    assert site.names("carol") == ["old"]
    assert carol.poll() == []
    clock.us += 48 * HOUR + 1_000_000
    assert site.names("carol") == ["new"]
    assert carol.poll() == ids(old)


def test_a_new_version_without_the_embargo_brings_what_waited_for_the_old_one(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"'))
    old = malware(labels=["hot"])
    link = relationship(old["id"], old["id"])
    site.store("alice", "alice-box", old, link, other := malware())
    carol = Poller(site)
    assert carol.poll() == ids(other)
    clock.us += HOUR
    site.store("alice", "alice-box", {**old, "modified": "2022-01-01T00:00:00.000Z", "labels": ["cold"]})
    assert carol.poll() == ids(old, link)
    clock.us += 48 * HOUR
    assert carol.poll() == []
    assert site.ids("carol") == ids(other, old, link)


def test_two_embargoes_the_longer_one_counts(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"', "2h", "a") + delayed('type = "malware"', "1h", "b"))
    both, one = malware(labels=["hot"]), malware()
    site.store("alice", "alice-box", both, one)
    carol = Poller(site)
    assert carol.poll() == []
    clock.us += HOUR + 1_000_000
    assert carol.poll() == ids(one)
    clock.us += HOUR
    assert carol.poll() == ids(both)


def test_an_embargo_that_is_lifted_shows_what_it_held_back(site: Site, clock: Clock) -> None:
    site.apply(policy=OPEN_POLICY + delayed('label = "hot"'))
    site.store("alice", "alice-box", hot := malware(labels=["hot"]), cold := malware())
    carol = Poller(site)
    assert carol.poll() == ids(cold)
    clock.us += HOUR
    site.apply(policy=OPEN_POLICY)
    assert carol.poll() == ids(hot)
    assert site.ids("carol") == ids(cold, hot)


def test_an_embargo_until_a_date(site: Site, clock: Clock) -> None:
    until = (
        '\n[[embargo]]\nid = "u"\nto = { audience = "carol" }\nwhat = { label = "hot" }\n'
        + f"until = {when(START + HOUR)}\n"
    )
    site.apply(policy=OPEN_POLICY + until)
    site.store("alice", "alice-box", hot := malware(labels=["hot"]), cold := malware())
    carol, bob = Poller(site), Poller(site, "bob")
    assert carol.poll() == ids(cold)
    assert bob.poll() == ids(hot, cold)
    clock.us = START + HOUR - 1
    assert carol.poll() == []
    clock.us = START + HOUR
    assert carol.poll() == ids(hot)
    assert bob.poll() == []
    assert site.ids("carol") == ids(cold, hot)
    assert site.ids("bob") == ids(hot, cold)


def release(object_id: str, begins: int, ends: int) -> str:
    return f"""
[markings."{ORCON}"]
orcon = true
[[release]]
id = "r"
by = "alice"
objects = ["{object_id}"]
to = {{ audience = "carol" }}
not_before = {when(begins)}
until = {when(ends)}
"""


def test_a_release_of_an_orcon_object_begins_and_ends(site: Site, clock: Clock) -> None:
    hot = malware(object_marking_refs=[*marked("green")["object_marking_refs"], ORCON])
    link = relationship(hot["id"], hot["id"], **marked("green"))
    policy = OPEN_POLICY + release(hot["id"], START + HOUR, START + 2 * HOUR)
    site.apply(policy=policy)
    site.store("alice", "alice-box", hot, link, other := malware(**marked("green")))
    carol, bob = Poller(site), Poller(site, "bob")
    assert carol.poll() == bob.poll() == ids(other)
    clock.us = START + HOUR
    assert carol.poll() == ids(hot, link)
    assert bob.poll() == []
    worker = site.worker(type(site.hub.store)(site.url, now=clock))
    assert site.ids("carol", hub=worker) == ids(other, hot, link)
    clock.us = START + 2 * HOUR
    assert site.ids("carol") == ids(other)
    assert site.ids("carol", hub=worker) == ids(other)


def test_a_release_that_is_filed_later_reaches_what_is_there(site: Site, clock: Clock) -> None:
    red = malware(**marked("red"))
    site.store("alice", "alice-box", red, other := malware(**marked("green")))
    bob = Poller(site, "bob")
    assert bob.poll() == ids(other)
    text = release(red["id"], START - HOUR, START + HOUR).replace('"carol"', '"bob"')
    site.apply(policy=OPEN_POLICY + text)
    assert bob.poll() == ids(red)
    site.apply(policy=OPEN_POLICY)
    assert site.ids("bob") == ids(other)


def iep(id_: str, **more: str) -> dict[str, Any]:
    extension = {
        "extension_type": "property-extension",
        "iep_id": "1",
        "iep_version": 2,
        "encrypt_in_transit": "may",
        "permitted_actions": "none",
        "affected_party_notifications": "may",
        "tlp": "green",
        "provider_attribution": "may",
        "unmodified_resale": "may",
        "start_date": when(START + HOUR),
        **more,
    }
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id_,
        "created": "2020-01-01T00:00:00.000Z",
        "extensions": {"extension-definition--762e2e97-ee51-43e5-a9ea-165fbb862c4a": extension},
    }


def test_a_marking_that_comes_into_force_and_ends(site: Site, clock: Clock) -> None:
    policy = OPEN_POLICY.replace('unmarked = "tlp:clear"', 'unmarked = "deny"')
    site.apply(policy=policy)
    definition = iep(new_id("marking-definition"), end_date=when(START + 2 * HOUR))
    site.store("alice", "alice-box", definition, marked_ := malware(object_marking_refs=[definition["id"]]))
    carol = Poller(site)
    assert carol.poll() == []
    clock.us = START + HOUR
    assert sorted(carol.poll()) == sorted(ids(definition, marked_))
    clock.us = START + 2 * HOUR
    assert site.ids("carol") == []


def test_a_creator_that_must_not_be_named_is_not(site: Site, clock: Clock) -> None:
    definition = iep(new_id("marking-definition"), provider_attribution="must-not", start_date=when(START - HOUR))
    secret = malware(object_marking_refs=[definition["id"]], created_by_ref=BOB_ID)
    site.store("alice", "alice-box", definition, secret)
    items = site.page("carol").items
    copy = next(item for item in items if item.form == "copy")
    assert copy.id != secret["id"]
    assert BOB_ID.encode() not in copy.content
    assert site.ids("alice", "alice-box") == ids(definition, secret)
