"""What a change would give and take is what it then gives and takes; asking changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from taxii_server.catalog import check_catalog
from taxii_server.errors import NotFound
from taxii_server.model import Draft, PageQuery
from taxii_server.service import labelling
from taxii_server.service.comparing import Difference, compare
from taxii_server.service.explaining import who_can
from taxii_server.service.rehearsing import Rehearsal
from taxii_server.storage.base import Plan
from tests.service.site import ALL_V, EVERYBODY, IDS, PARTNERS, Site, marked, report, versions
from tests.service.test_applying import NAMED, V1, V2, V3, Case, forbidding
from tests.world import OPEN_POLICY, audiences, collection, malware, new_id, relationship

GROUPS = "[groups]\nfriends = {}\nothers = {}\n"
#: Everybody reads what is CLEAR, friends read it all.
BY_GROUP = """
schema = 1
name = "by group"
[defaults]
unmarked = "tlp:green"
[[permit]]
id = "clear"
what = { tlp = "clear" }
[[permit]]
id = "for-friends"
to = { group = "friends" }
"""


def partners(alice: str = "", bob: str = "", carol: str = "", clearance: str = "amber", **more: str) -> str:
    """The usual three, with further lines; carol has this clearance."""
    return audiences(
        {
            "alice": f'kind = "vendor"\nclearance = "red"\n{alice}\n',
            "bob": f'kind = "cert"\nclearance = "red"\n{bob}\n',
            "carol": f'kind = "cert"\nclearance = "{clearance}"\n{carol}\n',
            **more,
        }
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A hub whose policy lets everybody read everything, on SQLite."""
    made = Site(str(tmp_path / "hub.db"))
    yield made
    made.close()


def changed(site: Site, **texts: str | None) -> dict[str, Difference]:
    """What the change would mean by partner; holds it against what it does when it is applied, and applies it."""
    before = _stored(site)
    old = check_catalog(site.files)
    readable = _readable(site)
    held = dict(site.files)
    for name, text in texts.items():
        file = f"config/{name}.toml" if f"config/{name}.toml" in held else f"collections/{name.replace('_', '-')}.toml"
        held.pop(file, None)
        if text is not None:
            held[file] = text
    found = {each.audience: each for each in compare(site.worker().store, old, check_catalog(held))}
    assert _stored(site) == before, "nothing was written"
    site.apply(**texts)
    now = _readable(site)
    assert set(found) == {*readable, *now}
    for audience, difference in found.items():
        was, is_ = readable.get(audience, set()), now.get(audience, set())
        assert (difference.before, difference.after) == (len(was), len(is_)), audience
        assert (difference.gained.objects, difference.lost.objects) == (len(is_ - was), len(was - is_)), audience
        for change in (difference.gained, difference.lost):
            assert change.objects == sum(reason.objects for reason in change.reasons)
            assert change.labels == sum(reason.labels for reason in change.reasons)
            assert [r.objects for r in change.reasons] == sorted((r.objects for r in change.reasons), reverse=True)
    return found


def _readable(site: Site) -> dict[str, set[int]]:
    """The positions of the records whose label each partner reads under the catalog in force."""
    site.hub.book.sync()
    snapshot = site.hub.snapshot
    return {
        audience: {
            record.position
            for record in site.hub.store.page(
                PageQuery(tuple(snapshot.sights.of(audience).access), (), 0, 10_000, content=False)
            ).records
        }
        for audience in snapshot.catalog.policy.audiences
    }


def _stored(site: Site) -> Any:
    """All that the database holds."""
    if site.url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](site.url) as client:
            database = client.get_default_database()
            return {name: list(database[name].find()) for name in sorted(database.list_collection_names())}
    with closing(sqlite3.connect(site.url)) as db:
        return list(db.iterdump())


def decided(change: Any) -> list[tuple[str, int]]:
    """The reasons with their counts."""
    return [(reason.words, reason.objects) for reason in change.reasons]


# ---- changes


def test_a_clearance_that_is_raised(site: Site) -> None:
    strict = [malware(**marked("amber+strict")) for _ in range(3)]
    site.store("alice", "alice-box", *strict, malware(**marked("amber")), malware(**marked("red")))
    found = changed(site, partners=partners(clearance="amber+strict"))
    assert decided(found["carol"].gained) == [("permitted: everybody", 3)]
    assert (found["carol"].gained.labels, found["carol"].lost.labels) == (1, 0)
    assert (found["carol"].before, found["carol"].after) == (1, 4)
    assert found["alice"].is_none()
    assert found["bob"].is_none()
    back = changed(site, partners=partners(clearance="clear"))["carol"]
    assert decided(back.lost) == [("above its clearance", 4)]
    assert back.lost.labels == 2


def test_a_rule_that_is_removed_and_comes_back(site: Site) -> None:
    site.apply(policy=forbidding('type = "malware"'))
    site.store("alice", "alice-box", malware(), malware(), report([], new_id("report")) | {"object_refs": [new_id()]})
    found = changed(site, policy=OPEN_POLICY)
    assert decided(found["carol"].gained) == [("permitted: everybody", 2)]
    assert all(found[name].is_none() for name in ("alice", "bob"))
    again = changed(site, policy=forbidding('type = "malware"'))
    assert decided(again["carol"].lost) == [("forbidden: not-carol", 2)]


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_for_the_first_time_is_told_apart_by_the_records(site: Site, name: str) -> None:
    case = Case(site, name)
    site.store("alice", "alice-box", case.hidden(V1), case.hidden(V2), case.shown(V1))
    site.store("bob", "bob-box", case.hidden(V1), case.shown(V3))
    found = changed(site, policy=case.policy)
    assert decided(found["carol"].lost) == [("forbidden: not-carol", 3)]
    assert found["carol"].after == 2
    assert found["alice"].is_none()


def test_an_older_version_goes_with_the_newest_one_behind_a_coarse_label(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In portions of two, so that the versions of one id are met on several pages."""
    monkeypatch.setattr(labelling, "PORTION", 2)
    for number in range(7):
        id_ = new_id("malware")
        newer = malware(id_, V2, labels=["victim" if number % 2 else "y"])
        site.store("alice", "alice-box", malware(id_, V1, labels=["x"]), newer)
    found = changed(site, policy=forbidding('label = "victim"'))["carol"]
    assert decided(found.lost) == [("forbidden: not-carol", 3), ("its newest version is hidden: not-carol", 3)]
    assert (found.before, found.after) == (14, 8)


def test_progress_is_told_for_coarse_labels_only(site: Site) -> None:
    site.store("alice", "alice-box", *(malware(labels=["x"]) for _ in range(5)), malware())
    old = check_catalog(site.files)
    told: list[tuple[int, int]] = []
    compare(site.hub.store, old, old, lambda done, total: told.append((done, total)))
    assert told == []
    new = check_catalog({**site.files, "config/policy.toml": forbidding('label = "victim"')})
    compare(site.hub.store, old, new, lambda done, total: told.append((done, total)))
    assert told == [(5, 5)]


def test_two_configurations_of_which_neither_is_in_force(site: Site) -> None:
    """Both name what the store does not tell apart yet."""
    site.store("alice", "alice-box", malware(labels=["a"]), malware(labels=["b"]), malware(labels=["c"]))
    old, new = (
        check_catalog({**site.files, "config/policy.toml": forbidding(f'label = "{label}"')}) for label in ("a", "b")
    )
    found = {each.audience: each for each in compare(site.hub.store, old, new)}
    assert decided(found["carol"].gained) == [("permitted: everybody", 1)]
    assert decided(found["carol"].lost) == [("forbidden: not-carol", 1)]
    assert found["bob"].is_none()


def test_a_partner_changes_its_group(site: Site) -> None:
    with_groups = partners(carol='groups = ["friends"]', alice='groups = ["friends"]', clearance="green")
    site.apply(policy=BY_GROUP, partners=GROUPS + with_groups)
    site.store("bob", "bob-box", malware(), malware(), malware(**marked("clear")))
    found = changed(
        site, partners=GROUPS + with_groups.replace('"friends"', '"others"', 2).replace("others", "friends", 1)
    )
    assert decided(found["carol"].lost) == [("no rule permits it", 2)]
    assert found["alice"].is_none()
    assert found["bob"].is_none()


def test_a_collection_loses_a_reader(site: Site) -> None:
    site.store("alice", "alice-box", malware(), malware())
    site.store("carol", "carol-box", malware())
    text = site.files["collections/all.toml"].replace('["alice", "bob", "carol"]', '["alice", "bob"]', 1)
    found = changed(site, all=text)
    assert decided(found["carol"].lost) == [("no collection that it reads shows it", 2)]
    assert (found["carol"].before, found["carol"].after) == (3, 1)
    assert found["bob"].is_none()


def test_a_collection_that_goes_and_one_that_comes(site: Site) -> None:
    site.store("bob", "bob-box", malware())
    without = site.files["collections/all.toml"].replace('"bob-box", ', "")
    site.apply(all=without)
    found = changed(site, bob_box=None)
    assert decided(found["bob"].lost) == [("no collection that it reads shows it", 1)]
    back = changed(site, bob_box=collection(IDS["bob-box"], "Back", readers=["carol"], writers=["bob"]))
    assert decided(back["carol"].gained) == [("permitted: everybody", 1)]
    assert back["bob"].is_none()


def test_partners_that_come_and_go_and_are_suspended(site: Site) -> None:
    site.store("alice", "alice-box", malware(), malware(**marked("red")))
    everybody = site.files["collections/all.toml"].replace('["alice", "bob", "carol"]', '["*"]', 1)
    site.apply(all=everybody)
    added = changed(site, partners=partners(dave='kind = "cert"\nclearance = "green"\n'))
    assert added["dave"].status == "added"
    assert decided(added["dave"].gained) == [("permitted: everybody", 1)]
    assert added["bob"].is_none()
    suspended = changed(site, partners=partners(carol="suspended = true", dave='kind = "cert"\nclearance = "green"\n'))
    assert decided(suspended["carol"].lost) == [("partner is suspended", 1)]
    assert suspended["carol"].status == "kept"
    removed = changed(site, partners=partners(carol="suspended = true"))
    assert removed["dave"].status == "removed"
    assert decided(removed["dave"].lost) == [("is no partner", 1)]
    assert not removed["dave"].is_none()


def test_the_unmarked_level_and_gains_beside_losses_most_objects_first(site: Site) -> None:
    site.store("alice", "alice-box", malware(), *(malware(**marked("green")) for _ in range(2)), malware(labels=["x"]))
    policy = forbidding('label = "x"').replace('unmarked = "tlp:clear"', 'unmarked = "deny"')
    found = changed(site, policy=policy)
    assert decided(found["carol"].lost) == [("has no TLP level", 2)]
    lost = changed(
        site, policy=forbidding('label = "x"').replace("everybody", "all"), partners=partners(clearance="clear")
    )
    assert decided(lost["carol"].gained) == [("permitted: all", 1)]
    assert decided(lost["carol"].lost) == [("above its clearance", 2)]


def test_an_empty_store_and_one_without_a_policy(tmp_path: Path) -> None:
    made = Site(str(tmp_path / "hub.db"))
    catalog = check_catalog(made.files)
    assert all(each.is_none() and not each.after for each in compare(made.hub.store, catalog, catalog))
    made.close()


def test_the_same_on_mongodb(mongo_database_url: str) -> None:
    made = Site(mongo_database_url)
    try:
        made.store("alice", "alice-box", malware(labels=["victim"]), malware(labels=["x"]), malware())
        made.store("alice", "alice-box", malware(**marked("amber+strict")))
        found = changed(made, policy=forbidding('label = "victim"'), partners=partners(clearance="red"))
        assert decided(found["carol"].lost) == [("forbidden: not-carol", 1)]
        assert decided(found["carol"].gained) == [("permitted: everybody", 1)]
    finally:
        made.close()


# ---- the rehearsal


def test_a_rehearsal_keeps_to_the_records_of_its_beginning(site: Site) -> None:
    first, second = malware(labels=["x"]), malware(**marked("green"))
    site.store("alice", "alice-box", first)
    rehearsal = Rehearsal(site.hub.store)
    length = rehearsal.state().log_length
    site.store("alice", "alice-box", second)
    assert list(rehearsal.lookup([first["id"], second["id"]])) == [first["id"]]
    assert rehearsal.append_log([("label", "{}"), ("label", "{}")])[1].number == length + 1
    assert rehearsal.append_log([("label", "{}")])[0].number == length + 1
    every = tuple(range(length + 2))
    assert [r.id for r in rehearsal.page(PageQuery(every, (), 0, 10)).records] == [first["id"]]
    assert sum(rehearsal.count_by_label().values()) == 1


def test_pages_of_a_rehearsal_have_the_labels_that_records_have_there(site: Site) -> None:
    objects = [malware(labels=["x"]) for _ in range(6)]
    site.store("alice", "alice-box", *objects)
    rehearsal = Rehearsal(site.hub.store)
    ids = [each["id"] for each in objects]
    records = [rehearsal.lookup([id_])[id_][0] for id_ in ids]
    old = records[0].label
    (entry,) = rehearsal.append_log([("label", "{}")])
    moved = {records[place].position: entry.number for place in (0, 1, 2, 4)}
    rehearsal.write(ids, lambda present, length: Plan(relabels=moved))

    def page(label: int, after: int = 0) -> list[str]:
        return [r.id for r in rehearsal.page(PageQuery((label,), (), after, 2, content=False)).records]

    assert page(old) == [ids[3], ids[5]]
    assert page(entry.number) == ids[:2]
    assert page(entry.number, records[1].position) == [ids[2], ids[4]]
    assert rehearsal.count_by_label() == {old: 2, entry.number: 4}
    assert site.hub.store.count_by_label() == {old: 6}


def test_a_rehearsal_refuses_what_is_not_a_rehearsal(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_))
    rehearsal = Rehearsal(site.hub.store)
    (record,) = rehearsal.lookup([id_])[id_]
    draft = Draft("c", "alice", new_id(), "malware", "2.1", None, None, b"{}", b"")
    for plan in (Plan(deletes=[record.position]), Plan(inserts=[(draft, record.label)])):
        with pytest.raises(NotImplementedError):
            rehearsal.write([id_], lambda present, length, plan=plan: plan)  # type: ignore[misc]
    with pytest.raises(NotImplementedError):
        rehearsal.apply_catalog({}, "", "")
    with pytest.raises(NotImplementedError):
        rehearsal.revoke_credential("x")
    assert rehearsal.catalog() == site.hub.store.catalog()
    assert rehearsal.secret() == site.hub.store.secret()


# ---- who can


def test_who_can_says_what_polls_give(site: Site) -> None:
    """References, copies, versions, doors, suspended partners: all that stands between a rule and a page."""
    more = audiences(
        {"dave": 'kind = "cert"\nclearance = "red"\nsuspended = true\n', "eve": 'kind = "soc"\nclearance = "red"\n'}
    )
    site.apply(policy=forbidding('label = "secret"'), partners=PARTNERS + more)
    hidden, shown, twin, strict = (malware(new_id("malware")) for _ in range(4))
    hidden["labels"] = ["secret"]
    strict |= marked("amber+strict")
    between = relationship(shown["id"], hidden["id"])
    listed = report([between["id"], shown["id"]], new_id("report"))
    newer = malware(shown["id"], "2021-01-01T00:00:00.000Z", labels=["secret"])
    site.store("alice", "alice-box", hidden, shown, between, listed, strict, twin)
    site.store("bob", "bob-box", twin, newer)
    site.store("carol", "carol-box", strict)
    snapshot = site.hub.snapshot
    ids = {each["id"] for each in (hidden, shown, between, listed, twin, strict)}
    reasons: dict[str, set[str]] = {}
    before = _stored(site)
    for id_ in ids:
        for access in who_can(site.hub, id_):
            polled = {
                name: sum(got == id_ for got in site.ids(access.audience, name, versions(ALL_V)))
                for name, place in snapshot.catalog.collections.items()
                if snapshot.catalog.rights(place, access.audience).read
            }
            where = [name for name, count in polled.items() if count]
            assert list(access.collections) == sorted(where), (id_, access)
            assert bool(access.versions) == bool(where)
            assert (access.decision.verdict == "read") == bool(where)
            assert access.stored == sum(r.id == id_ for r in site.hub.store.lookup([id_])[id_])
            reasons.setdefault(access.audience, set()).add(access.decision.reason)
    assert _stored(site) == before
    assert reasons["dave"] == {"suspended"}
    assert reasons["eve"] == {"no-door"}
    assert {"forbid", "hidden-reference", "permit", "submitter"} <= reasons["carol"]
    assert set(reasons) == {*EVERYBODY, "dave", "eve"}


def test_who_can_of_an_unknown_object(site: Site) -> None:
    with pytest.raises(NotFound):
        who_can(site.hub, new_id())


def test_an_outcome_names_what_is_in_the_way(site: Site) -> None:
    site.apply(policy=forbidding('label = "secret"'))
    hidden, shown = malware(labels=["secret"]), malware()
    between = relationship(shown["id"], hidden["id"])
    site.store("alice", "alice-box", hidden, shown, between)
    carol = {access.audience: access for access in who_can(site.hub, between["id"])}["carol"]
    assert carol.decision.text == f"it refers to something hidden: {hidden['id']}"
    assert (carol.versions, carol.stored, carol.collections) == (0, 1, ())
