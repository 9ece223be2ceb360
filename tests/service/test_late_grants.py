"""What becomes readable later reaches whoever polls with `added_after` or an old `next` (policy design, C20)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taxii_server.service.query import Filters
from tests.service.site import ALL_V, COLLECTIONS, PARTNERS, Site, at, marked, report, versions
from tests.world import OPEN_POLICY, collection, indicator, malware, new_id, relationship


@pytest.fixture(params=["sqlite", "mongodb"])
def site(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Site]:
    url = str(tmp_path / "hub.db") if request.param == "sqlite" else request.getfixturevalue("mongo_database_url")
    made = Site(url)
    yield made
    made.close()


def without(condition: str) -> str:
    """The open policy, with a forbid rule on top."""
    return OPEN_POLICY + f'\n[[forbid]]\nid = "not"\nto = {{ audience = "carol" }}\nwhat = {{ {condition} }}\n'


class Poller:
    """A client that polls one view with added_after, as clients do, and keeps what it got."""

    def __init__(self, site: Site, partner: str = "carol", of: str = "all", limit: int = 2, **more: Any) -> None:
        self.site, self.partner, self.of, self.limit, self.more = site, partner, of, limit, more
        self.after = 0
        self.got: list[str] = []

    def poll(self) -> list[str]:
        """The ids that are new since the last poll, in order."""
        fresh = []
        while True:
            found = self.site.page(self.partner, self.of, added_after=self.after, limit=self.limit, **self.more)
            places = [item.at for item in found.items]
            assert places == sorted(set(places))
            assert all(place > self.after for place in places)
            fresh += [item.id for item in found.items]
            if places:
                self.after = places[-1]
            if found.next is None:
                self.got += fresh
                return fresh


def ids(*objects: Any) -> list[str]:
    return [each["id"] for each in objects]


def walked(site: Site, partner: str = "carol", **more: Any) -> list[str]:
    return site.ids(partner, **more)


def test_a_clearance_that_is_raised(site: Site) -> None:
    first, *amber = indicator(**marked("green")), *(indicator(**marked("amber")) for _ in range(5))
    site.apply(partners=PARTNERS.replace('clearance = "amber"', 'clearance = "green"'))
    site.store(
        "alice",
        "alice-box",
        first := indicator(**marked("green")),
        *(amber := [indicator(**marked("amber")) for _ in range(5)]),
    )
    carol, bob = Poller(site), Poller(site, "bob")
    assert carol.poll() == ids(first)
    order = walked(site, "bob")
    bob.poll()
    site.apply(partners=PARTNERS)
    site.store("alice", "alice-box", last := indicator(**marked("green")))
    assert carol.poll() == ids(*amber, last)
    assert carol.poll() == []
    assert walked(site) == ids(first, *amber, last)
    assert walked(site, "bob") == order + ids(last)
    assert bob.poll() == ids(last)


def test_an_old_next_goes_on_to_what_was_granted(site: Site) -> None:
    site.apply(policy=without('label = "secret"'))
    secret = [malware(labels=["secret"]) for _ in range(3)]
    shown = [malware() for _ in range(3)]
    site.store("alice", "alice-box", *secret, *shown)
    page = site.page("carol", limit=2)
    site.apply(policy=OPEN_POLICY)
    rest = [item.id for item in site.page("carol", next=page.next).items]
    assert rest == ids(shown[2], *secret)


def test_several_grants_keep_their_order_and_each_object_stands_once(site: Site) -> None:
    a, b, c = (malware(labels=[name]) for name in "abc")
    site.apply(policy=without('label = ["a", "b", "c"]'))
    site.store("alice", "alice-box", a, b, c)
    carol = Poller(site)
    assert carol.poll() == []
    site.apply(policy=without('label = ["a", "c"]'))
    assert carol.poll() == ids(b)
    site.store("alice", "alice-box", between := malware())
    site.apply(policy=without('label = "a"'))
    assert carol.poll() == ids(between, c)
    site.apply(policy=without('label = ["a", "b"]'))
    assert walked(site) == ids(between, c)
    site.apply(policy=OPEN_POLICY)
    assert carol.poll() == ids(a, b)
    assert walked(site) == ids(between, c, a, b)
    assert walked(site, "bob") == ids(a, b, c, between)


def test_what_refers_to_something_granted_comes_with_it(site: Site) -> None:
    site.apply(policy=without('label = "secret"'))
    target, other = malware(labels=["secret"]), malware()
    link = relationship(other["id"], target["id"])
    listing = report([link["id"]], new_id("report"))
    plain = report([other["id"]], new_id("report"))
    site.store("alice", "alice-box", other, link, listing, plain)
    site.store("bob", "bob-box", {**link, "id": new_id("relationship")})
    site.store("alice", "alice-box", target)
    carol = Poller(site)
    assert carol.poll() == ids(other, plain)
    site.apply(policy=OPEN_POLICY)
    fresh = carol.poll()
    assert fresh[0] == target["id"]
    assert {link["id"], listing["id"]} < set(fresh)
    assert len(fresh) == 4
    assert carol.poll() == []
    later = relationship(other["id"], target["id"])
    site.store("alice", "alice-box", later)
    assert carol.poll() == ids(later)
    assert sorted(walked(site)) == sorted(carol.got)


def test_a_view_that_gets_a_source(site: Site) -> None:
    site.apply(all=COLLECTIONS["all"].replace('"bob-box", ', ""))
    mine, others = malware(), malware()
    site.store("bob", "bob-box", others)
    site.store("alice", "alice-box", mine)
    carol = Poller(site)
    assert carol.poll() == ids(mine)
    site.apply(all=COLLECTIONS["all"])
    assert carol.poll() == ids(others)
    assert walked(site) == ids(mine, others)
    assert site.ids("bob", "bob-box") == ids(others)


def test_a_door_that_opens_shows_what_refers_to_what_lies_behind_it(site: Site) -> None:
    box = "eeeeeeee-0000-4000-8000-000000000001"
    closed = collection(box, "Closed", readers=["alice"], writers=["alice"], strictness="structure")
    site.files["collections/closed.toml"] = closed
    site.apply()
    target = malware()
    link = relationship(target["id"], target["id"])
    site.store("alice", "closed", target)
    site.store("alice", "alice-box", link)
    carol = Poller(site)
    assert carol.poll() == []
    site.apply(closed=closed.replace('readers = ["alice"]', 'readers = ["alice", "carol"]'))
    assert carol.poll() == ids(link)
    assert site.ids("carol", "closed") == ids(target)


def test_a_suspended_partner_misses_nothing_when_it_comes_back(site: Site) -> None:
    first, while_away = malware(), malware()
    site.store("alice", "alice-box", first)
    carol = Poller(site)
    assert carol.poll() == ids(first)
    site.apply(partners=PARTNERS.replace('country = "PL"', 'country = "PL"\nsuspended = true'))
    site.store("alice", "alice-box", while_away)
    site.apply(partners=PARTNERS)
    assert carol.poll() == ids(while_away)
    assert walked(site) == ids(first, while_away)


def test_filters_and_single_objects_find_what_was_granted(site: Site) -> None:
    site.apply(policy=without('label = "secret"'))
    secret = [malware(labels=["secret"]), indicator(labels=["secret"]), malware(labels=["secret"])]
    site.store("alice", "alice-box", *secret, shown := malware())
    carol, by_type = Poller(site), Poller(site, filters=Filters(types=("malware",)))
    assert carol.poll() == by_type.poll() == ids(shown)
    site.apply(policy=OPEN_POLICY)
    mark = by_type.after
    assert by_type.poll() == ids(secret[0], secret[2])
    wanted = Filters(ids=tuple(ids(secret[2], shown)))
    assert site.ids("carol", filters=wanted) == ids(shown, secret[2])
    (found,) = site.page("carol", resource="manifest", filters=wanted, added_after=mark).items
    (alone,) = site.page("carol", resource="object", object_id=secret[2]["id"]).items
    assert found.at == alone.at == by_type.after
    (bobs,) = site.page("bob", resource="object", object_id=secret[2]["id"]).items
    assert bobs.at == bobs.record.position < alone.at


def test_an_object_posted_under_the_new_policy_stands_at_its_own_place(site: Site) -> None:
    site.apply(policy=without('label = "secret"'))
    site.store("alice", "alice-box", malware(labels=["secret"]))
    site.apply(policy=OPEN_POLICY)
    site.store("alice", "alice-box", new := malware(labels=["secret"]))
    (item,) = site.page("carol", resource="object", object_id=new["id"]).items
    assert item.at == item.record.position


def test_a_new_version_of_something_granted_is_found_once(site: Site) -> None:
    site.apply(policy=without('label = "secret"'))
    old = malware(labels=["secret"])
    site.store("alice", "alice-box", old, shown := malware())
    carol = Poller(site, filters=versions(ALL_V))
    assert carol.poll() == ids(shown)
    site.apply(policy=OPEN_POLICY)
    new = {**old, "modified": "2021-01-01T00:00:00.000Z"}
    site.store("alice", "alice-box", new)
    assert carol.poll() == ids(old, new)
    assert walked(site) == ids(shown, new)


def test_a_policy_that_tells_more_apart_does_not_move_what_was_granted(site: Site) -> None:
    site.apply(policy=without('label = "secret"'))
    old = malware(labels=["secret", "other"])
    site.store("alice", "alice-box", old, shown := malware())
    carol = Poller(site)
    assert carol.poll() == ids(shown)
    site.apply(policy=OPEN_POLICY)
    site.apply(policy=OPEN_POLICY + '\n[[forbid]]\nid = "n"\nto = { audience = "bob" }\nwhat = { label = "other" }\n')
    assert carol.poll() == ids(old)
    assert walked(site) == ids(shown, old)


# ---- writes that bring something back


def test_an_older_version_comes_back_when_the_hidden_newest_one_is_deleted(site: Site) -> None:
    old = malware(**marked("green"))
    new = {**old, "modified": "2021-01-01T00:00:00.000Z", **marked("red")}
    site.store("alice", "alice-box", new, other := malware(**marked("green")))
    site.store("alice", "alice-box", old)
    link = relationship(old["id"], other["id"], **marked("green"))
    site.store("alice", "alice-box", link)
    carol = Poller(site)
    assert carol.poll() == ids(other)
    site.delete("alice", "alice-box", old["id"], versions(at("2021-01-01T00:00:00Z")))
    assert sorted(carol.poll()) == sorted(ids(old, link))
    assert carol.poll() == []


def test_what_refers_to_an_object_comes_when_a_version_of_it_can_be_read(site: Site) -> None:
    hidden = malware(**marked("red"))
    link = relationship(hidden["id"], hidden["id"], **marked("green"))
    site.store("alice", "alice-box", hidden, link, other := malware(**marked("green")))
    carol, bob = Poller(site), Poller(site, "bob")
    assert carol.poll() == bob.poll() == ids(other)
    shown = {**hidden, "modified": "2021-01-01T00:00:00.000Z", **marked("green")}
    site.store("alice", "alice-box", shown)
    assert carol.poll() == ids(shown, link)
    assert carol.poll() == []
    assert walked(site) == ids(other, shown, link)


def test_what_refers_to_a_deleted_object_comes_although_it_is_posted_again_at_once(site: Site) -> None:
    hidden = malware(**marked("red"))
    link = relationship(hidden["id"], hidden["id"], **marked("green"))
    site.store("alice", "alice-box", hidden, link, other := malware(**marked("green")))
    carol = Poller(site)
    assert carol.poll() == ids(other)
    site.delete("alice", "alice-box", hidden["id"], versions(ALL_V))
    site.store("alice", "alice-box", shown := {**hidden, **marked("green")})
    assert sorted(carol.poll()) == sorted(ids(shown, link))
    assert carol.poll() == []
    site.delete("alice", "alice-box", hidden["id"], versions(ALL_V))
    site.store("alice", "alice-box", hidden)
    assert walked(site) == ids(other)


def test_a_new_version_that_opens_nothing_makes_no_event(site: Site) -> None:
    first = malware(**marked("green"))
    site.store("alice", "alice-box", first, relationship(first["id"], first["id"], **marked("green")))
    before = site.hub.store.state().log_length
    for number in range(3):
        site.store("alice", "alice-box", {**first, "modified": f"202{number}-02-01T00:00:00.000Z"})
    entries = site.hub.store.log_after(before)
    assert not [entry for entry in entries if entry.kind == "event"]


@pytest.mark.parametrize("knows_the_log", [False, True])
def test_a_write_of_a_process_that_has_not_heard_of_the_policy_grants_by_it(site: Site, knows_the_log: bool) -> None:
    """What comes into sight by a write is told by the readers of the catalog in force, whoever writes."""
    site.apply(policy=without('label = ["one", "two"]'))
    hidden = indicator(labels=["one"])
    link = relationship(hidden["id"], hidden["id"])
    site.store("alice", "alice-box", hidden, link, seen := indicator())
    late = site.worker()
    carol = Poller(site)
    site.apply(policy=without('label = ["one"]'))
    assert carol.poll() == ids(seen)
    if knows_the_log:
        late.book.sync()
    newer = {**hidden, "modified": "2021-01-01T00:00:00.000Z", "labels": ["two"]}
    site.store("alice", "alice-box", newer, hub=late)
    assert sorted(carol.poll()) == sorted(ids(newer, link))
    assert sorted(walked(site)) == sorted(ids(seen, newer, link))
