"""What refers to something that comes, or comes back, into sight: nobody misses it, not even who had it before.

Each reader reads everything at the end: what stands at an event has to be in the band of that event for whoever has it
stand there.
"""

from __future__ import annotations

from typing import Any

import pytest

from taxii_server.service.arrivals import Arrivals
from taxii_server.service.granting import Granting
from tests.service.site import ALL_V, Site, at, report, versions
from tests.service.test_late_grants import Poller, without
from tests.world import OPEN_POLICY, malware, new_id

OLD, NEW = "2021-01-01T00:00:00.000Z", "2022-01-01T00:00:00.000Z"
SECRET = without('label = "secret"')


def shown(site: Site, partner: str) -> set[tuple[str, str]]:
    """The versions of reports that the partner finds."""
    found = {(record.id, record.version) for record in site.walk(partner, filters=versions(ALL_V))}
    return {each for each in found if each[0].startswith("report")}


def two_versions(target: str, other: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A report whose newer version refers to the target."""
    id_ = new_id("report")
    return report([other], id_, modified=OLD), report([other, target], id_, modified=NEW)


def both(id_: str) -> set[tuple[str, str]]:
    return {(id_, OLD), (id_, NEW)}


def test_who_had_it_keeps_what_refers_to_an_older_version_that_comes_back_for_others(site: Site) -> None:
    site.apply(policy=SECRET)
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, modified=OLD))
    site.store("alice", "alice-box", malware(id_, modified=NEW, labels=["secret"]))
    site.store("alice", "alice-box", refers := report([id_], new_id("report"), modified=NEW))
    bob, carol = Poller(site, "bob"), Poller(site)
    assert refers["id"] in bob.poll()
    assert refers["id"] not in carol.poll()
    site.delete("alice", "alice-box", id_, versions(at(NEW)))
    assert refers["id"] in carol.poll()
    assert shown(site, "bob") == shown(site, "carol") == {(refers["id"], NEW)}


def test_who_had_it_keeps_what_refers_to_a_version_that_came_for_others_when_the_older_one_goes(site: Site) -> None:
    site.apply(policy=SECRET)
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, modified=OLD, labels=["secret"]))
    site.store("alice", "alice-box", refers := report([id_], new_id("report"), modified=NEW))
    site.store("alice", "alice-box", malware(id_, modified=NEW))
    assert shown(site, "bob") == shown(site, "carol") == {(refers["id"], NEW)}
    site.delete("alice", "alice-box", id_, versions(at(OLD)))
    assert shown(site, "bob") == shown(site, "carol") == {(refers["id"], NEW)}


def test_older_versions_come_with_the_newer_one_that_refers_to_what_is_granted(site: Site) -> None:
    site.apply(policy=SECRET)
    target, other = malware(labels=["secret"]), malware()
    older, newer = two_versions(target["id"], other["id"])
    for each in (target, other, older, newer):
        site.store("alice", "alice-box", each)
    assert shown(site, "carol") == set()
    site.apply(policy=OPEN_POLICY)
    assert shown(site, "bob") == shown(site, "carol") == both(older["id"])


def test_older_versions_come_with_the_newer_one_that_was_posted_while_the_grant_was_worked_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.apply(policy=SECRET)
    target, other = malware(labels=["secret"]), malware()
    older, newer = two_versions(target["id"], other["id"])
    for each in (target, other, older):
        site.store("alice", "alice-box", each)
    worker, prepare = site.worker(), Granting.prepare

    def slow(granting: Granting) -> None:
        prepare(granting)
        site.store("alice", "alice-box", newer, hub=worker)

    monkeypatch.setattr(Granting, "prepare", slow)
    site.apply(policy=OPEN_POLICY)
    assert shown(site, "bob") == shown(site, "carol") == both(older["id"])


def test_older_versions_come_with_the_newer_one_that_refers_to_what_comes_back(site: Site) -> None:
    site.apply(policy=SECRET)
    id_, other = new_id("malware"), malware()
    site.store("alice", "alice-box", other, malware(id_, modified=OLD))
    site.store("alice", "alice-box", malware(id_, modified=NEW, labels=["secret"]))
    older, newer = two_versions(id_, other["id"])
    for each in (older, newer):
        site.store("alice", "alice-box", each)
    assert shown(site, "carol") == set()
    site.delete("alice", "alice-box", id_, versions(at(NEW)))
    assert shown(site, "bob") == shown(site, "carol") == both(older["id"])


def test_an_older_version_stays_where_it_is_when_a_newer_one_has_what_was_granted_since(site: Site) -> None:
    """What the newer one has, others had when it was granted: they stand at that event, and the older one does not."""
    site.apply(policy=SECRET)
    plain, granted = new_id("report"), new_id("report")
    site.store("alice", "alice-box", other := malware(), report([other["id"]], plain, modified=OLD))
    site.store("alice", "alice-box", report([other["id"]], granted, modified=OLD))
    site.store("alice", "alice-box", report([other["id"]], granted, modified=NEW, labels=["secret"]))
    carol = Poller(site, filters=versions(ALL_V))
    assert plain in carol.poll()
    site.apply(policy=OPEN_POLICY)
    assert carol.poll() == [granted, granted]
    site.store("alice", "alice-box", report([other["id"]], plain, modified=NEW, labels=["secret"]))
    assert carol.poll() == [plain]
    link = report([plain, granted], new_id("report"), modified=NEW)
    site.store("alice", "alice-box", link)
    assert carol.poll() == [link["id"]]
    assert shown(site, "bob") == shown(site, "carol") == {*both(plain), *both(granted), (link["id"], NEW)}
    assert site.ids("carol", filters=versions(ALL_V)) == [other["id"], plain, granted, granted, plain, link["id"]]


def test_a_version_that_drops_a_reference_brings_what_refers_to_the_object(site: Site) -> None:
    site.apply(policy=SECRET)
    Arrivals(site.hub).tick()
    hidden, known = malware(labels=["secret"]), malware()
    id_ = new_id("report")
    refers = report([id_], new_id("report"))
    site.store("alice", "alice-box", hidden, report([hidden["id"]], id_, modified=OLD), refers, known)
    bob, carol = Poller(site, "bob"), Poller(site)
    assert refers["id"] in bob.poll()
    assert carol.poll() == [known["id"]]
    site.store("alice", "alice-box", report([known["id"]], id_, modified=NEW))
    assert carol.poll() == [id_]
    assert Arrivals(site.hub).tick()
    assert carol.poll() == [refers["id"]]
    assert bob.poll() == [id_], "who had it keeps its order"


@pytest.mark.parametrize("way", ["deleted", "superseded"])
def test_older_versions_come_back_when_the_one_that_refers_to_something_hidden_goes(site: Site, way: str) -> None:
    site.apply(policy=SECRET)
    Arrivals(site.hub).tick()
    hidden, known = malware(labels=["secret"]), malware()
    older, newer = two_versions(hidden["id"], known["id"])
    id_ = older["id"]
    refers = report([id_], new_id("report"), modified=NEW)
    site.store("alice", "alice-box", hidden, older, newer, refers, known)
    carol, every = Poller(site), Poller(site, filters=versions(ALL_V))
    assert carol.poll() == every.poll() == [known["id"]]
    if way == "deleted":
        site.delete("alice", "alice-box", id_, versions(at(NEW)))
    else:
        site.store("alice", "alice-box", report([known["id"]], id_, modified="2023-01-01T00:00:00.000Z"))
        assert Arrivals(site.hub).tick()
    assert carol.poll() == [id_, refers["id"]]
    # The older one comes as well; the one that refers to what is hidden stays hidden.
    assert sorted(every.poll()) == sorted([id_] * (1 if way == "deleted" else 2) + [refers["id"]])
