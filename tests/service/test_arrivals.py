"""What the copy of another partner brings into sight: found in the background, for those who gain it, nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taxii_server.auth.directory import Directory
from taxii_server.service.arrivals import Arrivals
from taxii_server.service.events import EventClass
from taxii_server.service.refresh import Refresher
from taxii_server.storage.sqlite import SQLiteStore
from tests.service.site import ALL_V, Site, report, versions
from tests.service.test_brought_back import NEW, OLD, SECRET
from tests.service.test_full_reads import Rewritten
from tests.service.test_late_grants import Poller
from tests.service.test_time import Clock
from tests.world import malware, new_id


@pytest.fixture
def secret(site: Site) -> dict[str, Any]:
    """An object of Alice's that Carol may not read."""
    Arrivals(site.hub).tick()
    site.apply(policy=SECRET)
    return malware(labels=["secret"])


def posted(site: Site, *objects: dict[str, Any]) -> dict[str, Poller]:
    """Who has polled all there is when Alice has posted these, and something that everybody reads."""
    site.store("alice", "alice-box", *objects, malware())
    pollers = {partner: Poller(site, partner) for partner in ("alice", "bob", "carol")}
    for each in pollers.values():
        assert each.poll()
    return pollers


def test_what_refers_to_an_object_comes_with_the_copy_that_can_be_read(site: Site, secret: dict[str, Any]) -> None:
    refers = report([secret["id"]], new_id("report"))
    further = report([refers["id"]], new_id("report"))
    pollers = posted(site, secret, refers, further)
    site.store("bob", "bob-box", malware(secret["id"]))
    assert pollers["carol"].poll() == [secret["id"]]
    assert Arrivals(site.hub).tick()
    assert pollers["carol"].poll() == [refers["id"], further["id"]]
    assert Arrivals(site.hub).tick()
    assert [each.poll() for each in pollers.values()] == [[], [secret["id"]], []]
    assert sorted(site.ids("carol")) == sorted(pollers["carol"].got)


def test_older_versions_come_with_the_newer_one_that_refers_to_it(site: Site, secret: dict[str, Any]) -> None:
    id_, other = new_id("report"), malware()
    older, newer = report([other["id"]], id_, modified=OLD), report([secret["id"]], id_, modified=NEW)
    posted(site, secret, other, older, newer)
    assert not [each for each in site.walk("carol") if each.id == id_]
    after = site.hub.store.clock()
    site.store("bob", "bob-box", malware(secret["id"]))
    Arrivals(site.hub).tick()
    found = site.page("carol", "all", added_after=after, filters=versions(ALL_V), limit=100)
    assert sorted(each.version for each in found.items if each.id == id_) == [OLD, NEW]


def test_a_copy_that_does_not_refer_to_what_is_hidden(site: Site, secret: dict[str, Any]) -> None:
    first = report([secret["id"]], new_id("report"))
    refers = report([first["id"]], new_id("report"))
    pollers = posted(site, secret, first, refers)
    site.store("bob", "bob-box", other := malware(), report([other["id"]], first["id"]))
    Arrivals(site.hub).tick()
    assert pollers["carol"].poll() == [other["id"], first["id"], refers["id"]]
    assert refers["id"] not in pollers["bob"].poll() + pollers["alice"].poll()


def test_nothing_is_written_where_nobody_gains(site: Site, secret: dict[str, Any]) -> None:
    known = malware()
    posted(site, secret, known, report([known["id"]], new_id("report")), report([secret["id"]], new_id("report")))
    length = site.hub.store.state().log_length
    # The one was read by everybody, the other one is as hidden as before.
    site.store("bob", "bob-box", malware(known["id"]), malware(secret["id"], labels=["secret"]))
    labels = site.hub.store.state().log_length - length
    clock = site.hub.store.clock()
    assert Arrivals(site.hub).tick()
    assert site.hub.store.state().log_length == length + labels
    assert site.hub.store.clock() == clock


def test_a_list_that_rotates_writes_nothing_where_nobody_gains(site: Site, secret: dict[str, Any]) -> None:
    parts = [malware() for _ in range(3)]
    id_ = new_id("report")
    posted(site, *parts, report([id_], new_id("report")))
    for number in range(4):
        refs = [parts[number % 3]["id"], parts[(number + 1) % 3]["id"]]
        site.store("alice", "alice-box", report(refs, id_, modified=f"2021-01-0{number + 1}T00:00:00.000Z"))
        assert Arrivals(site.hub).tick()
    assert not site.hub.book.events[1:], "but for the event of the configuration"


def test_who_gains_nothing_by_a_reference_that_is_left_out_meets_no_event(site: Site, secret: dict[str, Any]) -> None:
    known = malware()
    id_ = new_id("report")
    refers = report([id_], new_id("report"))
    pollers = posted(site, secret, known, report([secret["id"], known["id"]], id_, modified=OLD), refers)
    site.store("alice", "alice-box", report([known["id"]], id_, modified=NEW))
    assert Arrivals(site.hub).tick()
    (event,) = [each for each in site.hub.book.events if each.arrived]
    assert event.classes == (EventClass(frozenset({"carol"})),)
    assert pollers["carol"].poll() == [id_, refers["id"]]
    assert pollers["bob"].poll() == [id_]


def test_a_worker_that_does_not_know_the_configuration_yet_passes_nothing(site: Site, secret: dict[str, Any]) -> None:
    refers = report([secret["id"]], new_id("report"))
    # As the late worker knows it, Carol may not read what Bob posts.
    site.apply(policy=SECRET.replace('label = "secret"', 'label = ["secret", "b"]'))
    late = Arrivals(site.worker())
    site.apply(policy=SECRET)
    pollers = posted(site, secret, refers)
    site.store("bob", "bob-box", malware(secret["id"], labels=["b"]))
    assert late.tick()
    assert pollers["carol"].poll() == [secret["id"], refers["id"]]


def test_a_copy_brings_nothing_to_its_own_submitter(site: Site) -> None:
    Arrivals(site.hub).tick()
    site.apply(policy=SECRET.replace('audience = "carol"', 'audience = "bob"'))
    secret = malware(labels=["secret"])
    refers = report([secret["id"]], new_id("report"))
    pollers = posted(site, secret, refers)
    site.store("bob", "bob-box", malware(secret["id"]))
    Arrivals(site.hub).tick()
    # Whoever guesses an id could post it.
    assert refers["id"] not in pollers["bob"].poll()
    assert refers["id"] not in site.ids("bob")


def test_one_process_looks_at_a_time_and_the_next_one_goes_on(site: Site, secret: dict[str, Any]) -> None:
    refers = report([secret["id"]], new_id("report"))
    pollers = posted(site, secret, refers)
    dead, other = Arrivals(site.hub), Arrivals(site.worker())
    assert site.hub.store.chores.take("arrivals", dead._holder, 30_000_000)
    site.store("bob", "bob-box", malware(secret["id"]))
    assert not other.tick()
    site.hub.store.chores.give_back("arrivals", dead._holder)
    assert other.tick()
    assert pollers["carol"].poll() == [secret["id"], refers["id"]]


def test_a_server_looks_when_something_came(site: Site, secret: dict[str, Any]) -> None:
    refers = report([secret["id"]], new_id("report"))
    pollers = posted(site, secret, refers)
    hub = site.worker()
    arrivals, refresher = Arrivals(hub), Refresher(hub, Directory(), 0)
    refresher.noticed = arrivals.notice
    arrivals.start()
    try:
        refresher.tick()
        site.store("bob", "bob-box", malware(secret["id"]))
        got: list[str] = []
        while refers["id"] not in got:
            refresher.tick()
            got += pollers["carol"].poll()
    finally:
        arrivals.stop()
    assert got == [secret["id"], refers["id"]]


class Crowded(Rewritten):
    """A story in which Bob posts what Alice has posted, too."""

    def _object(self, again: bool) -> dict[str, Any]:
        made = super()._object(again)
        if again or not self.alices or self.random.random() < 0.4:
            return made
        return self._again(self.random.choice(self.alices), made)

    def step(self) -> str:
        told = super().step()
        assert Arrivals(self.site.hub).tick()
        return told


@pytest.mark.parametrize("seed", range(12))
def test_a_poller_has_what_a_full_read_gives(tmp_path: Path, seed: int) -> None:
    clock = Clock()
    url = str(tmp_path / "hub.db")
    store = SQLiteStore(url, now=clock)
    store.prepare()
    site = Site(url, store=store)
    try:
        Crowded(site, clock, seed).run(45)
    finally:
        site.close()
