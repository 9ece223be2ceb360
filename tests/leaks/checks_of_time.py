"""Promises about releases, embargoes, dates of markings and late grants, and about guards. See checks.py."""

from __future__ import annotations

from unittest.mock import patch

from taxii_server.service.sight import Sights
from tests.leaks import scene
from tests.leaks.checks import M, X, _check, _only, _post, _sees
from tests.leaks.checks_of_copies import Y, _copy, _objects, _release
from tests.leaks.hub import EPOCH_US, LeakHub
from tests.leaks.scene import (
    ALICE_BOX,
    ALICE_ID,
    CLEAR,
    ORCON,
    POOL,
    RED,
    VIEW,
    id_of,
    iep,
    indicator,
    note,
    relationship,
)
from tests.world import LAST

HOUR_US = 3_600_000_000
HERON = '\n[[forbid]]\nid = "heron"\nto = { audience = "bob" }\nwhat = { label = "heron" }\n'
HELD = '\n[[guard]]\nid = "customers"\nwhat = { label = "customer" }\nact = "quarantine"\n'


def _hours(hub: LeakHub, hours: int) -> None:
    """It is now so many hours after the start of 2026."""
    hub.clock.now = EPOCH_US + hours * HOUR_US


class Poller:
    """Polls the pool with added_after, one object at a time."""

    def __init__(self, hub: LeakHub, partner: str = "bob") -> None:
        self.hub, self.partner, self.after = hub, partner, "2020-01-01T00:00:00Z"

    def poll(self) -> list[str]:
        found: list[str] = []
        while True:
            path = f"/api1/collections/{POOL}/manifest/?limit=1&added_after={self.after}"
            answer = self.hub.get(path, self.partner)
            entries = answer.json.get("objects", [])
            if not entries:
                return found
            found += [entry["id"] for entry in entries]
            self.after = answer.headers[LAST]


# ---- releases


@_check
def a_release_is_by_the_originator(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + _release(X, 'audience = ["fred"]', by="eve"))
    _post(hub, "alice", indicator("x", RED))
    assert not _sees(hub, "fred", of=VIEW)
    hub.apply(scene.POLICY + _release(X, 'audience = ["fred"]'))
    assert _sees(hub, "fred", of=VIEW)


@_check
def a_release_holds_in_its_time(hub: LeakHub) -> None:
    window = "not_before = 2026-01-02T00:00:00Z\nuntil = 2026-01-03T00:00:00Z"
    hub.apply(scene.POLICY + _release(X, 'audience = ["fred"]', more=window))
    _post(hub, "alice", indicator("x", RED))
    seen = []
    for hours in (23, 25, 47, 49):
        _hours(hub, hours)
        seen.append(_sees(hub, "fred", of=VIEW))
    assert seen == [False, True, True, False]


@_check
def a_release_lifts_no_clearance(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + _release(X, 'audience = ["bob", "fred"]'))
    _post(hub, "alice", indicator("x", RED))
    assert not _sees(hub, "bob")
    assert _sees(hub, "fred", of=VIEW)


@_check
def a_release_lifts_no_rule(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + _release(X, 'audience = ["eve", "bob"]'))
    _only(hub, indicator("x", CLEAR, ORCON, labels=["victim"]), "bob")


@_check
def a_release_to_a_group_is_for_its_members(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + _release(X, 'group = ["ring"]'))
    _only(hub, indicator("x", CLEAR, ORCON), "carol")


# ---- embargoes, and dates of markings


@_check
def an_embargo_holds_until_its_end(hub: LeakHub) -> None:
    what = 'to = { audience = "bob" }\nwhat = { label = "hot" }\nuntil = 2026-01-02T00:00:00Z\n'
    hub.apply(f'{scene.POLICY}\n[[embargo]]\nid = "hot"\n{what}')
    _post(hub, "alice", indicator("x", CLEAR, labels=["hot"]))
    for hours, seen in ((0, False), (23, False), (25, True)):
        _hours(hub, hours)
        assert _sees(hub, "bob") is seen
        assert _sees(hub, "carol")


@_check
def an_embargo_lasts_as_long_as_it_says(hub: LeakHub) -> None:
    what = 'to = { audience = "bob" }\nwhat = { label = "hot" }\ndelay = "48h"\n'
    hub.apply(f'{scene.POLICY}\n[[embargo]]\nid = "hot"\n{what}')
    _post(hub, "alice", indicator("x", CLEAR, labels=["hot"]))
    for hours, seen in ((0, False), (25, False), (47, False), (49, True)):
        _hours(hub, hours)
        assert _sees(hub, "bob") is seen
        assert _sees(hub, "carol")


@_check
def what_refers_to_something_under_an_embargo_waits_as_long(hub: LeakHub) -> None:
    what = 'to = { audience = "bob" }\nwhat = { label = "hot" }\ndelay = "48h"\n'
    hub.apply(f'{scene.POLICY}\n[[embargo]]\nid = "hot"\n{what}')
    _post(hub, "alice", indicator("x", CLEAR, labels=["hot"]), relationship(1, X, X, CLEAR), note(1, [X], CLEAR))
    for hours, seen in ((0, False), (47, False), (49, True)):
        _hours(hub, hours)
        assert [_sees(hub, "bob", id_of(type_, 1)) for type_ in ("relationship", "note")] == [seen, seen]


@_check
def what_refers_to_something_under_an_embargo_elsewhere_comes_after_it(hub: LeakHub) -> None:
    """Nothing in the pool itself is under the embargo; that must not lose what waits there."""
    what = 'to = { audience = "bob" }\nwhat = { label = "hot" }\ndelay = "48h"\n'
    hub.apply(f'{scene.POLICY}\n[[embargo]]\nid = "hot"\n{what}')
    _post(hub, "alice", indicator("x", CLEAR, labels=["hot"]), into=ALICE_BOX)
    _post(hub, "alice", relationship(1, X, X, CLEAR))
    for hours, seen in ((0, False), (47, False), (49, True)):
        _hours(hub, hours)
        assert _sees(hub, "bob", id_of("relationship", 1)) is seen


@_check
def a_marking_that_ended_sets_no_level(hub: LeakHub) -> None:
    _post(hub, "alice", iep(M, end_date="2026-01-02T00:00:00Z"), indicator("x", M), into=ALICE_BOX)
    assert _sees(hub, "bob", of=VIEW)
    _hours(hub, 25)
    assert not _sees(hub, "bob", of=VIEW)


@_check
def a_marking_that_has_not_begun_hides(hub: LeakHub) -> None:
    _post(hub, "alice", iep(M, start_date="2026-01-02T00:00:00Z"), indicator("x", M, CLEAR))
    assert not _sees(hub, "bob")
    _hours(hub, 25)
    assert _sees(hub, "bob")


@_check
def a_marking_that_forbids_attribution_hides_the_creator(hub: LeakHub) -> None:
    hub.apply(scene.DERIVING)
    _post(hub, "alice", iep(M, provider_attribution="must-not"), indicator("x", M, CLEAR, created_by_ref=ALICE_ID))
    assert _copy(hub, "bob")["created_by_ref"] != ALICE_ID


# ---- late grants


@_check
def what_is_granted_late_reaches_who_polls(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + HERON)
    _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]))
    hub.clock.at(1)
    _post(hub, "alice", indicator("y", CLEAR))
    bob = Poller(hub)
    assert bob.poll() == [Y]
    hub.clock.at(2)
    hub.apply(scene.POLICY)
    assert bob.poll() == [X]
    assert [entry["id"] for entry in hub.walk("bob", POOL, "manifest")] == [Y, X]


@_check
def a_grant_moves_nobody_elses_order(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + HERON)
    _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]), indicator("y", CLEAR))
    before = list(hub.walk("carol", POOL, "manifest"))
    hub.clock.at(2)
    hub.apply(scene.POLICY)
    assert list(hub.walk("carol", POOL, "manifest")) == before
    assert len(before) == 2


@_check
def what_refers_to_something_granted_comes_with_it(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + HERON)
    _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]), relationship(1, X, X, CLEAR), indicator("y", CLEAR))
    bob = Poller(hub)
    assert bob.poll() == [Y]
    hub.clock.at(2)
    hub.apply(scene.POLICY)
    assert sorted(bob.poll()) == sorted([X, id_of("relationship", 1)])


@_check
def what_lost_its_grant_is_gone(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + HERON)
    _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]))
    hub.apply(scene.POLICY)
    assert _sees(hub, "bob")
    hub.apply(scene.POLICY + HERON)
    assert not _sees(hub, "bob")


@_check
def no_page_is_served_under_a_catalog_that_is_over(hub: LeakHub) -> None:
    """Another process puts a catalog in force, and objects come, while this one is about to read its page."""
    _post(hub, "alice", indicator("y", CLEAR))
    _sees(hub, "bob", Y)
    was = Sights.of
    calls = []

    def of(self: Sights, audience: str) -> object:
        found = was(self, audience)
        if audience == "bob" and not calls:
            calls.append(audience)
            hub.apply(scene.POLICY + HERON)
            _post(hub, "alice", indicator("x", CLEAR, labels=["heron"]))
        return found

    with patch.object(Sights, "of", of):
        page = hub.get(f"/api1/collections/{POOL}/objects/", "bob").json
    assert calls
    assert [value["id"] for value in page["objects"]] == [Y]


# ---- guards


@_check
def what_a_guard_stops_reaches_nobody(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + HELD)
    values = [indicator("x", CLEAR, labels=["customer"]), relationship(1, X, X, CLEAR), indicator("y", CLEAR)]
    assert hub.post(values, "alice", POOL).json["failure_count"] == 2
    for partner in ("alice", "bob", "eve"):
        assert [value["id"] for value in _objects(hub, partner)] == [Y]


@_check
def a_quarantine_is_for_who_posted_and_who_decides(hub: LeakHub) -> None:
    hub.apply(scene.POLICY + HELD)
    answer = hub.post([indicator("x", RED, labels=["customer"], name="SECRET")], "alice", POOL)
    entry = answer.json["failures"][0]["message"].rpartition("quarantine id ")[2].rstrip(")")
    path = f"/api1/collections/{POOL}/quarantine/"
    assert "SECRET" in hub.get(f"{path}{entry}/", "alice").text
    assert hub.get(path, "bob").json == {}
    assert hub.get(f"{path}{entry}/", "bob").status_code == 404
    assert hub.post([], "bob", POOL).status_code == 422
    # Whoever decides sees that it is there; what is in it, only if the policy lets it read that.
    assert "SECRET" not in hub.get(f"{path}{entry}/", "root").text


@_check
def a_release_opens_no_quarantine_before_its_time(hub: LeakHub) -> None:
    later = "not_before = 2026-01-02T00:00:00Z"
    hub.apply(scene.POLICY + HELD + _release(X, 'audience = ["root"]', more=later))
    answer = hub.post([indicator("x", RED, labels=["customer"], name="SECRET")], "alice", POOL)
    entry = answer.json["failures"][0]["message"].rpartition("quarantine id ")[2].rstrip(")")
    path = f"/api1/collections/{POOL}/quarantine/{entry}/"
    assert "SECRET" not in hub.get(path, "root").text
    _hours(hub, 25)
    assert "SECRET" in hub.get(path, "root").text
