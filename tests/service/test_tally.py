"""How much is hidden from whom, and why: what operators see in the metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from taxii_server.service.hub import Hub
from taxii_server.service.tally import tally
from taxii_server.telemetry.counts import Counter
from tests.service.site import ALL_V, EVERYBODY, Site, marked, versions
from tests.world import OPEN_POLICY, indicator


def test_what_is_visible_is_what_a_partner_gets_and_the_rest_has_a_reason(site: Site) -> None:
    site.post("alice", "alice-box", *(indicator() for _ in range(3)))
    site.post("bob", "bob-box", *(indicator(**marked("red")) for _ in range(2)), indicator())
    site.post("carol", "carol-box", indicator())
    found = tally(site.hub)
    for partner in EVERYBODY:
        got = site.ids(partner, "all", versions(ALL_V))
        assert found.visible[partner] == len(got), partner
        hidden = sum(count for (whose, _), count in found.hidden.items() if whose == partner)
        assert found.visible[partner] + hidden == 7
    assert found.hidden["alice", "tlp-red-not-named"] == 2
    assert found.hidden["carol", "tlp"] == 2


def test_it_is_counted_under_the_policy_in_force_now(site: Site) -> None:
    site.post("alice", "alice-box", indicator(), indicator())
    assert tally(site.hub).visible["bob"] == 2
    other = site.worker()
    site.apply(other, policy=OPEN_POLICY + '\n[[forbid]]\nid = "not-bob"\nto = { audience = "bob" }\n')
    found = tally(site.hub)
    assert found.visible["bob"] == 0
    assert found.hidden == {("bob", "forbid"): 2}
    pauses: list[int] = []
    tally(site.hub, lambda: pauses.append(1))
    assert not pauses, "a few decisions stop nobody"


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    made = Site(str(tmp_path / "hub.db"))
    made.post("alice", "alice-box", indicator())
    made.hub.settings = replace(made.hub.settings, count_minutes=10)
    return made.hub


def test_one_worker_counts_and_all_of_them_tell(hub: Hub, tmp_path: Path) -> None:
    first, second = Counter(hub, tmp_path), Counter(hub, tmp_path)
    assert second.latest() is None
    assert first.tick()
    assert not second.tick(), "it is not time again"
    told = second.latest()
    assert told is not None
    assert told.visible == {"alice": 1, "bob": 1, "carol": 1}


def test_nobody_counts_while_another_worker_does(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Counter(hub, tmp_path), Counter(hub, tmp_path)
    seen: list[bool] = []
    count = Counter._count

    def counting(self: Counter) -> None:
        seen.append(second.tick())
        count(self)

    monkeypatch.setattr(Counter, "_count", counting)
    assert first.tick()
    assert seen == [False]


def test_it_is_counted_again_when_it_is_time(hub: Hub, tmp_path: Path) -> None:
    counter = Counter(hub, tmp_path)
    assert counter.tick()
    hub.settings = replace(hub.settings, count_minutes=0)
    assert counter.tick()
