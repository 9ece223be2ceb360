"""Releases that partners file: what may be filed, and that none is lost, whoever changes what at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taxii_server.errors import BadContent, ConfigError, Conflict, NotFound, StorageUnavailable
from taxii_server.service import hub as hub_module
from taxii_server.service.hub import Hub
from taxii_server.service.releasing import (
    MAX_NAMES,
    MAX_OBJECTS,
    ReleaseRefused,
    Request,
    addressable,
    file_release,
    releases_of,
    withdraw_release,
)
from taxii_server.times import now_position
from tests.service.site import PARTNERS, Site
from tests.storage.samples import at_once
from tests.world import OPEN_POLICY, malware, new_id

FILE = "releases/alice.toml"
#: A claim that every release to bob breaks.
RED_STAYS = '\n[[never]]\nid = "bob-sees-red"\nto = { audience = "bob" }\nwhat = { tlp = "red" }\n'
HOUR = 3_600_000_000
#: alice, bob and carol see each other in `all`; dave is in a group with alice, erin is somewhere else.
MORE_PARTNERS = """
[groups]
europe = {}
france = { within = ["europe"] }
secret = {}
[audience.dave]
kind = "cert"
clearance = "red"
groups = ["europe"]
[audience.erin]
kind = "cert"
clearance = "red"
groups = ["secret"]
"""
WITH_GROUPS = PARTNERS.replace('country = "FR"', 'country = "FR"\ngroups = ["france"]') + MORE_PARTNERS


@pytest.fixture
def grouped(site: Site) -> Site:
    site.apply(partners=WITH_GROUPS)
    return site


@pytest.fixture
def posted(grouped: Site) -> str:
    """The id of an object that alice posted."""
    value = malware()
    grouped.store("alice", "alice-box", value)
    return str(value["id"])


def asked(*objects: str, **more: Any) -> Request:
    return Request(**({"objects": objects, "audiences": ("bob",)} | more))


def ids(hub: Hub, partner: str = "alice") -> list[str]:
    hub.load()
    return [each.local_id for each in releases_of(hub.snapshot.catalog, partner)]


def test_a_filed_release_is_in_force_for_every_worker(grouped: Site, posted: str) -> None:
    other = grouped.worker()
    until = now_position() + HOUR
    request = asked(posted, groups=("europe",), not_before=until - HOUR, until=until, why="a case", id="case-1")
    filed = file_release(grouped.hub, "alice", request, "alice")
    assert (filed.id, filed.local_id, filed.is_filed) == ("alice/case-1", "case-1", True)
    other.load()
    for hub in (grouped.hub, other, grouped.worker()):
        assert releases_of(hub.snapshot.catalog, "alice") == (filed,)
        (rule,) = hub.snapshot.catalog.policy.releases
        assert (rule.id, rule.by, rule.objects) == ("alice/case-1", "alice", {posted})
        assert (rule.audiences, rule.groups) == ({"bob"}, {"europe"})
        assert releases_of(hub.snapshot.catalog, "bob") == ()


def test_withdrawn_is_as_if_never_filed(grouped: Site, posted: str) -> None:
    digest = grouped.hub.snapshot.catalog.digest
    file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    file_release(grouped.hub, "alice", asked(posted, id="b"), "alice")
    withdraw_release(grouped.hub, "alice", "a", "alice")
    assert ids(grouped.hub) == ids(grouped.worker()) == ["b"]
    withdraw_release(grouped.hub, "alice", "b", "alice")
    assert grouped.hub.snapshot.catalog.digest == digest
    with pytest.raises(NotFound):
        withdraw_release(grouped.hub, "alice", "b", "alice")


def test_nobody_withdraws_what_others_filed(grouped: Site, posted: str) -> None:
    file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    for partner in ("bob", "alice/a", ""):
        with pytest.raises(NotFound):
            withdraw_release(grouped.hub, partner, "a", partner)
    assert ids(grouped.hub) == ["a"]


def test_ids_are_made_in_order_and_belong_to_the_partner(grouped: Site, posted: str) -> None:
    theirs = malware()
    grouped.store("bob", "bob-box", theirs)
    made = [file_release(grouped.hub, "alice", asked(posted, why=str(n)), "x").local_id for n in range(3)]
    year = made[0][:4]
    assert made == [f"{year}-001", f"{year}-002", f"{year}-003"]
    withdraw_release(grouped.hub, "alice", made[1], "x")
    assert file_release(grouped.hub, "alice", asked(posted, why="3"), "x").local_id == f"{year}-004"
    # The same id is free for another partner, and says nothing about this one.
    request = asked(theirs["id"], audiences=("alice",), id=made[0])
    assert file_release(grouped.hub, "bob", request, "x").id == f"bob/{made[0]}"


def test_filing_the_same_again_changes_nothing_and_something_else_is_a_conflict(grouped: Site, posted: str) -> None:
    first = file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    epoch = grouped.hub.snapshot.epoch
    assert file_release(grouped.worker(), "alice", asked(posted, id="a"), "alice") == first
    with pytest.raises(Conflict):
        file_release(grouped.hub, "alice", asked(posted, id="a", why="x"), "alice")
    assert grouped.hub.store.state().catalog_epoch == epoch


_FUTURE = now_position() + 1000 * HOUR
WRONG: dict[str, tuple[Callable[[str], Request], str]] = {
    "no object": (lambda id_: asked(), "objects: 1 to"),
    "too many objects": (lambda id_: asked(*(new_id() for _ in range(MAX_OBJECTS + 1))), "objects: 1 to"),
    "twice": (lambda id_: asked(id_, id_), "objects: the same value is given twice"),
    "no id": (lambda id_: asked("malware"), "is not the id of an object"),
    "unknown object": (lambda id_: asked(id_, new_id()), "was not posted by alice"),
    "nobody": (lambda id_: asked(id_, audiences=()), "to: nobody is named"),
    "too many": (lambda id_: asked(id_, audiences=tuple(map(str, range(MAX_NAMES + 1)))), "to.audience: 1 to"),
    "bob twice": (lambda id_: asked(id_, audiences=("bob", "bob")), "to.audience: the same value"),
    "ends first": (lambda id_: asked(id_, not_before=_FUTURE, until=_FUTURE), "until: ends before it begins"),
    "over": (lambda id_: asked(id_, until=1), "until: is over already"),
    "long why": (lambda id_: asked(id_, why="x" * 501), "why: "),
    "two lines": (lambda id_: asked(id_, why="a\nb"), "why: "),
    "empty id": (lambda id_: asked(id_, id=""), "id: "),
    "slash": (lambda id_: asked(id_, id="a/b"), "id: "),
    "dots": (lambda id_: asked(id_, id=".."), "id: "),
    "long id": (lambda id_: asked(id_, id="a" * 65), "id: "),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_changes_nothing(grouped: Site, posted: str, name: str) -> None:
    make, message = WRONG[name]
    before = grouped.hub.store.state()
    with pytest.raises(BadContent) as caught:
        file_release(grouped.hub, "alice", make(posted), "alice")
    assert message in str(caught.value)
    assert grouped.hub.store.state() == before


def test_nobody_releases_what_others_posted_and_none_is_told_that_it_exists(grouped: Site, posted: str) -> None:
    told = []
    for id_ in (posted, new_id("malware")):
        with pytest.raises(BadContent) as caught:
            file_release(grouped.hub, "bob", asked(id_, audiences=("carol",)), "bob")
        told.append(str(caught.value).replace(id_, "ID"))
    assert told[0] == told[1]
    # Also for an operator: a release is the originator's.
    with pytest.raises(BadContent):
        file_release(grouped.hub, "bob", asked(posted, audiences=("carol",)), "root", anybody=True)


# ---- whom a partner can address


def test_a_partner_addresses_its_groups_and_those_it_may_know(grouped: Site) -> None:
    catalog = grouped.hub.snapshot.catalog
    assert addressable(catalog, "alice") == ({"bob", "carol", "dave"}, {"europe", "france"})
    assert addressable(catalog, "bob") == ({"alice", "carol"}, frozenset())
    assert addressable(catalog, "dave") == ({"alice"}, {"europe"})
    assert addressable(catalog, "erin") == (frozenset(), {"secret"})


@pytest.mark.parametrize(
    ("key", "known", "unknown"),
    [("audience", "erin", "nobody"), ("audience", "alice", "nobody"), ("group", "secret", "nobody")],
)
def test_who_must_not_be_known_is_answered_like_who_does_not_exist(
    grouped: Site, posted: str, key: str, known: str, unknown: str
) -> None:
    told = []
    for name in (known, unknown):
        request = asked(
            posted, **({"audiences": (name,)} if key == "audience" else {"audiences": (), "groups": (name,)})
        )
        with pytest.raises(BadContent) as caught:
            file_release(grouped.hub, "alice", request, "alice")
        assert not isinstance(caught.value, ReleaseRefused)
        told.append(str(caught.value).replace(name, "NAME"))
    assert told[0] == told[1]


def test_a_suspended_partner_is_addressed_like_any_other(grouped: Site, posted: str) -> None:
    grouped.apply(
        partners=WITH_GROUPS.replace(
            'kind = "cert"\nclearance = "red"\ncountry = "DE"', 'kind = "cert"\nclearance = "red"\nsuspended = true'
        )
    )
    assert file_release(grouped.hub, "alice", asked(posted), "alice").audiences == ("bob",)


def test_an_operator_addresses_anybody_and_the_partner_sees_it(grouped: Site, posted: str) -> None:
    request = asked(posted, audiences=("erin",), groups=("secret",), id="by-root")
    file_release(grouped.hub, "alice", request, "root", anybody=True)
    (entry,) = releases_of(grouped.hub.snapshot.catalog, "alice")
    assert (entry.audiences, entry.groups, entry.is_filed) == (("erin",), ("secret",), True)
    for name in ("nobody", "alice"):
        with pytest.raises(BadContent, match=r"known: bob, carol, dave, erin"):
            file_release(grouped.hub, "alice", replace(request, audiences=(name,), id="x"), "root", anybody=True)


# ---- the policy as a whole


def test_a_release_that_the_policy_does_not_hold_with_is_refused_without_telling_why(
    grouped: Site, posted: str, caplog: pytest.LogCaptureFixture
) -> None:
    grouped.apply(policy=OPEN_POLICY + RED_STAYS)
    before = grouped.hub.store.state()
    with pytest.raises(ReleaseRefused) as caught:
        file_release(grouped.hub, "alice", asked(posted), "alice")
    assert str(caught.value) == "the policy of this hub does not allow this release"
    assert "bob-sees-red" in str(caught.value.problems[0])
    assert "bob-sees-red" in caplog.text
    assert grouped.hub.store.state() == before
    # The claim is about bob: what reaches carol alone does not break it.
    assert file_release(grouped.hub, "alice", asked(posted, audiences=("carol",)), "alice").is_filed


def test_when_the_policy_in_force_does_not_hold_the_release_is_not_blamed(grouped: Site, posted: str) -> None:
    broken = f'{OPEN_POLICY}\n[[never]]\nid = "no"\nto = {{ audience = "bob" }}\n'
    files = {**grouped.files, "config/policy.toml": broken}
    grouped.hub.store.apply_catalog(files, "forced", "somebody")
    with pytest.raises(ConfigError, match="no"):
        file_release(grouped.hub, "alice", asked(posted), "alice")


# ---- with the configuration on disk


def test_a_new_configuration_keeps_what_is_filed(grouped: Site, posted: str) -> None:
    file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    grouped.apply(policy=f'{OPEN_POLICY}\n[[forbid]]\nid = "no"\nto = {{ audience = "carol" }}\n')
    assert ids(grouped.hub) == ["a"]
    state = grouped.hub.store.state()
    grouped.apply()
    assert grouped.hub.store.state() == state


def test_a_configuration_that_breaks_a_filed_release_is_refused_until_it_is_withdrawn(
    grouped: Site, posted: str
) -> None:
    file_release(grouped.hub, "alice", asked(posted, audiences=(), groups=("france",), id="a"), "alice")
    before = grouped.hub.store.state()
    without = WITH_GROUPS.replace('france = { within = ["europe"] }\n', "").replace('["france"]', '["europe"]')
    with pytest.raises(ConfigError) as caught:
        grouped.apply(partners=without)
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (FILE, "release[1].to.group")
    assert "'taxii-server release withdraw alice/a'" in problem.message
    assert grouped.hub.store.state() == before
    withdraw_release(grouped.hub, "alice", "a", "root")
    grouped.apply()
    assert "france" not in grouped.hub.snapshot.catalog.policy.groups


def test_a_configuration_that_only_fails_because_of_what_is_filed_says_so(grouped: Site, posted: str) -> None:
    file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    with pytest.raises(ConfigError) as caught:
        grouped.apply(policy=OPEN_POLICY + RED_STAYS)
    assert [problem.file for problem in caught.value.problems] == ["config/policy.toml", "releases/"]
    assert "released by 'alice/a'" in caught.value.problems[0].message
    assert "taxii-server release list" in caught.value.problems[1].message
    withdraw_release(grouped.hub, "alice", "a", "alice")
    grouped.apply()
    assert [rule.id for rule in grouped.hub.snapshot.catalog.policy.rules] == ["everybody", "bob-sees-red"]


def test_releases_of_a_partner_that_is_gone_go_with_it(
    grouped: Site, posted: str, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = malware()
    grouped.store("carol", "carol-box", theirs)
    file_release(grouped.hub, "carol", asked(theirs["id"], id="c"), "carol")
    file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    files = grouped.files
    files["config/partners.toml"] = files["config/partners.toml"].replace("[audience.carol]", "[audience.zoe]")
    for name in files:
        files[name] = files[name].replace('"carol"', '"zoe"')
    grouped.apply()
    assert "'carol' are dropped" in caplog.text
    assert ids(grouped.hub) == ["a"]
    files["config/partners.toml"] = files["config/partners.toml"].replace("[audience.zoe]", "[audience.carol]")
    for name in files:
        files[name] = files[name].replace('"zoe"', '"carol"')
    grouped.apply()
    assert ids(grouped.hub, "carol") == []


def test_what_an_operator_wrote_is_shown_and_cannot_be_withdrawn(grouped: Site, posted: str) -> None:
    table = f'[[release]]\nid = "desk"\nby = "alice"\nobjects = "{posted}"\nto = {{ audience = "erin" }}\nwhy = "law"\n'
    grouped.apply(policy=OPEN_POLICY + table)
    (entry,) = releases_of(grouped.hub.snapshot.catalog, "alice")
    assert (entry.local_id, entry.is_filed, entry.why, entry.objects) == ("desk", False, "law", (posted,))
    with pytest.raises(Conflict):
        withdraw_release(grouped.hub, "alice", "desk", "alice")
    with pytest.raises(Conflict):
        file_release(grouped.hub, "alice", asked(posted, id="desk"), "alice")


# ---- at the same time


def test_releases_filed_at_the_same_time_are_all_kept(grouped: Site, posted: str) -> None:
    workers = [grouped.hub, grouped.worker(), grouped.worker()]
    calls = [
        lambda hub=hub, n=n: file_release(hub, "alice", asked(posted, why=f"{n}"), "alice")
        for n, hub in enumerate(workers * 2)
    ]
    filed = at_once(*calls)
    assert len({each.id for each in filed}) == len(filed)
    assert ids(grouped.worker()) == sorted(each.local_id for each in filed)


def test_the_same_release_filed_at_the_same_time_is_one(grouped: Site, posted: str) -> None:
    workers = [grouped.hub, grouped.worker()]
    calls = [lambda hub=hub: file_release(hub, "alice", asked(posted, id="a"), "x") for hub in workers]
    first, second = at_once(*calls)
    assert first == second
    assert ids(grouped.worker()) == ["a"]


def test_a_configuration_applied_while_a_release_is_filed_loses_neither(
    grouped: Site, posted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file comes in between, exactly after the filing has read what is in force."""
    other = grouped.worker()
    whole, came = hub_module.check_catalog, threading.Event()

    def check(files: Any, settings: Any = None) -> Any:
        if FILE in files and not came.is_set():
            came.set()
            grouped.apply(hub=other, policy=OPEN_POLICY.replace('name = "open"', 'name = "newer"'))
        return whole(files, settings)

    monkeypatch.setattr(hub_module, "check_catalog", check)
    file_release(grouped.hub, "alice", asked(posted, id="a"), "alice")
    assert came.is_set()
    for hub in (grouped.hub, grouped.worker()):
        assert ids(hub) == ["a"]
        assert hub.snapshot.catalog.policy.name == "newer"


def test_a_change_that_never_gets_its_turn_is_told_to_come_back(
    grouped: Site, posted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = grouped.worker()
    whole, number = hub_module.check_catalog, iter(range(1000))

    def check(files: Any, settings: Any = None) -> Any:
        if FILE in files:
            other.store.apply_catalog(grouped.files, f"{next(number)}", "somebody")
        return whole(files, settings)

    monkeypatch.setattr(hub_module, "check_catalog", check)
    with pytest.raises(StorageUnavailable):
        file_release(grouped.hub, "alice", asked(posted), "alice")
