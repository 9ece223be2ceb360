"""A new catalog: what its rules newly name is told apart before it is in force; till then the old one is exact."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from taxii_server.catalog import check_catalog
from taxii_server.errors import ConfigError
from taxii_server.service import labelling
from taxii_server.service.hub import Hub
from taxii_server.service.sight import wanted_vocabulary
from taxii_server.settings import Settings
from tests.service.site import ALICE_ID, ALL_V, IDS, Site, marked, versions
from tests.world import OPEN_POLICY, collection, malware, new_id

EXTENSION = "extension-definition--0e000000-0000-4000-8000-000000000001"
V1, V2, V3 = ("2020-01-01T00:00:00.000Z", "2020-02-01T00:00:00.000Z", "2020-03-01T00:00:00.000Z")
EVERY_VERSION = versions(ALL_V)


def forbidding(what: str, more: str = "") -> str:
    """The open policy, except that carol does not get this."""
    return f'{OPEN_POLICY}\n{more}\n[[forbid]]\nid = "not-carol"\nto = {{ audience = "carol" }}\nwhat = {{ {what} }}\n'


def _malware(id_: str, modified: str, **more: Any) -> dict[str, Any]:
    return malware(id_, modified, **more)


def _identity(id_: str, modified: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "identity",
        "spec_version": "2.1",
        "id": id_.replace("malware", "identity"),
        "created": "2018-01-01T00:00:00.000Z",
        "modified": modified,
        "name": "x",
        **more,
    }


#: What a policy newly names, and two objects: one that it hides, one that it does not.
NAMED: dict[str, tuple[str, Callable[..., dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "label": (forbidding('label = "victim"'), _malware, {"labels": ["victim", "y"]}, {"labels": ["y"]}),
    "type": (forbidding('type = "identity"'), _identity, {}, {}),
    "confidence": (forbidding("confidence_below = 50"), _malware, {"confidence": 49}, {"confidence": 50}),
    "extension": (
        forbidding(f'extension = "{EXTENSION}"'),
        _malware,
        {"extensions": {EXTENSION: {"extension_type": "property-extension"}}},
        {},
    ),
    "identity class": (
        forbidding('identity_class = "individual"'),
        _identity,
        {"identity_class": "individual"},
        {"identity_class": "class"},
    ),
    "creator": (
        forbidding('creator = "identity--c0ffee00-0000-4000-8000-000000000001"'),
        _malware,
        {"created_by_ref": "identity--c0ffee00-0000-4000-8000-000000000001"},
        {"created_by_ref": ALICE_ID},
    ),
    "facet": (
        forbidding('facet = { countries = "fr" }', '[facets.countries]\nlabel_prefix = "country:"'),
        _malware,
        {"labels": ["country:fr"]},
        {"labels": ["country:de"]},
    ),
    "facet of an extension": (
        forbidding(
            'facet = { crime = "enabled" }',
            f'[facets.crime]\nextension = {{ id = "{EXTENSION}", property = "crime" }}',
        ),
        _malware,
        {"extensions": {EXTENSION: {"extension_type": "property-extension", "crime": "enabled"}}},
        {"extensions": {EXTENSION: {"extension_type": "property-extension", "crime": "pure"}}},
    ),
}


class Case:
    """Two objects that a coming policy tells apart, in versions by several hands."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.policy, make, hidden, shown = NAMED[name]
        self.hidden_id, self.shown_id = new_id("malware"), new_id("malware")
        self.hidden = lambda time: make(self.hidden_id, time, **hidden)
        self.shown = lambda time: malware(self.shown_id, time, confidence=50) | (shown if make is _malware else {})
        if name == "identity class":
            self.shown = lambda time: make(self.shown_id, time, **shown)

    def ids(self) -> set[str]:
        return {self.hidden(V1)["id"], self.shown(V1)["id"]}

    def files(self) -> dict[str, str]:
        return {**self.site.files, "config/policy.toml": self.policy}

    def seen(self, hub: Hub | None = None, partner: str = "carol") -> set[str]:
        """The ids that the partner gets in any version."""
        return set(self.site.ids(partner, filters=EVERY_VERSION, hub=hub, limit=50))


@pytest.fixture(params=NAMED)
def case(site: Site, request: pytest.FixtureRequest) -> Case:
    return Case(site, str(request.param))


def test_a_crash_between_the_words_and_the_policy_leaves_the_old_policy_exact_and_the_next_apply_completes(
    case: Case, site: Site
) -> None:
    """Meanwhile another worker posts versions, copies and new objects under the old policy."""
    other = site.worker()
    site.store("alice", "alice-box", case.hidden(V2), case.shown(V2))
    crashed = site.worker()
    crashed.book.grow_vocabulary(wanted_vocabulary(check_catalog(case.files())))
    # Older and newer versions, a copy by another submitter: each of them labels the stored ones anew.
    site.store("alice", "alice-box", case.shown(V3), case.hidden(V1), hub=other)
    site.store("bob", "bob-box", case.hidden(V2), case.shown(V2), hub=other)
    for hub in (site.hub, other, crashed, site.worker()):
        assert case.seen(hub) == case.ids()
    site.apply(policy=case.policy)
    for hub in (site.hub, other, crashed):
        hub.load()
        assert case.seen(hub) == {case.shown(V1)["id"]}
        assert case.seen(hub, "bob") == case.ids()
        assert len(site.ids("alice", filters=EVERY_VERSION, hub=hub)) == 4
    assert site.hub.writer.labelling.relabel() == 0


def test_what_a_policy_cannot_judge_yet_is_hidden(case: Case, site: Site) -> None:
    """Nobody applies a policy like this; if it happened all the same, nothing would show that must not."""
    site.store("alice", "alice-box", case.hidden(V1), case.shown(V1))
    site.hub.store.apply_catalog(case.files(), "forced", "somebody")
    site.hub.load()
    assert case.hidden(V1)["id"] not in case.seen()
    site.apply(policy=case.policy)
    assert case.seen() == {case.shown(V1)["id"]}


def test_a_worker_that_has_not_heard_of_a_new_policy_labels_by_its_words(case: Case, site: Site) -> None:
    other = site.worker()
    site.store("alice", "alice-box", malware(labels=["a", "b"]), case.hidden(V1), case.shown(V1), hub=other)
    for each in (case.hidden(V1), case.shown(V1)):
        assert site.delete("alice", "alice-box", each["id"]) == 1
    site.apply(policy=case.policy)
    before = case.seen()
    site.store("alice", "alice-box", case.hidden(V1), case.shown(V1), hub=other)
    assert case.seen() - before == {case.shown(V1)["id"]}


def test_deleting_while_labels_are_coarse_does_not_make_them_look_exact(case: Case, site: Site) -> None:
    site.store("alice", "alice-box", case.hidden(V1), case.hidden(V2))
    other = site.worker()
    other.book.grow_vocabulary(wanted_vocabulary(check_catalog(case.files())))
    assert site.delete("alice", "alice-box", case.hidden(V1)["id"], None) == 2
    site.store("alice", "alice-box", case.hidden(V1), case.shown(V1))
    site.apply(policy=case.policy)
    assert case.seen() == {case.shown(V1)["id"]}


def test_a_relabelling_that_is_interrupted_goes_on_where_it_stopped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(site, "label")
    objects = [malware(labels=["victim"] if number % 2 else ["y"], name=str(number)) for number in range(30)]
    site.store("alice", "alice-box", *objects)
    shown = {each["id"] for each in objects[::2]}
    monkeypatch.setattr(labelling, "PORTION", 4)

    def interrupt(done: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.hub.apply(case.files(), "test", interrupt)
    assert len(case.seen()) == 30
    assert case.seen(site.worker()) == case.seen()
    told: list[int] = []
    site.hub.apply(case.files(), "test", told.append)
    assert told[-1] == 22
    assert case.seen() == shown


def test_what_is_posted_while_a_policy_is_applied_is_judged_by_it_afterwards(store_url: str) -> None:
    site = Site(store_url)
    other = site.worker()
    case = Case(site, "label")
    posted: list[str] = []
    failed: list[BaseException] = []
    stop = threading.Event()
    id_ = new_id("malware")

    def post() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                time = f"2020-01-01T00:00:{number % 60:02}.{number:06}Z"
                fine = malware(labels=["y"])
                site.store("alice", "alice-box", fine, malware(labels=["victim"]), hub=other)
                # An id that both submitters keep changing is labelled anew all the time.
                site.store("bob", "bob-box", malware(id_, time, labels=["victim"]), hub=other)
                posted.append(fine["id"])
                stop.wait(0.005)  # SQLite lets a waiting writer of another process in only when it looks
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)

    with_thread = threading.Thread(target=post)
    with_thread.start()
    try:
        for _ in range(3):
            before = len(posted)
            while len(posted) < before + 3 and not failed:
                stop.wait(0.005)
            site.hub.apply(case.files(), "test")
            assert id_ not in site.ids("carol", filters=EVERY_VERSION, limit=1000)
            site.hub.apply(site.files, "test")
            assert id_ in site.ids("carol", limit=1000)
        site.hub.apply(case.files(), "test")
        other.load()
        site.ids("carol", hub=other, limit=1000)
    finally:
        stop.set()
        with_thread.join(30)
    assert not failed
    for hub in (site.hub, other):
        assert site.ids("carol", hub=hub, limit=1000) == posted
    site.close()


def test_a_policy_that_does_not_hold_changes_nothing(site: Site) -> None:
    site.store("alice", "alice-box", shown := malware(labels=["victim"]))
    before, snapshot = site.hub.store.state(), site.hub.snapshot
    never = '\n[[never]]\nid = "no"\nto = { audience = "bob" }\nwhat = { label = "other" }\n'
    for policy in ("schema = 1\nwat = 2\n", forbidding('label = "victim"') + never, "not toml ["):
        with pytest.raises(ConfigError):
            site.hub.apply({**site.files, "config/policy.toml": policy}, "test")
    assert site.hub.store.state() == before
    assert site.hub.snapshot is snapshot
    assert site.ids("carol") == [shown["id"]]


def test_what_this_release_does_not_know_is_not_loaded_even_if_a_newer_release_applied_it(
    site: Site,
) -> None:
    other = site.worker()
    name = next(name for name in sorted(site.files) if name.startswith("collections/"))
    unknown = {**site.files, name: f"keep_secret = true\n{site.files[name]}"}
    site.hub.store.apply_catalog(unknown, "another digest", "a newer release")
    with pytest.raises(ConfigError):
        other.load()
    with pytest.raises(ConfigError):
        other.refresh(other.book.length, other.store.state().catalog_epoch)


def test_applying_the_same_files_again_changes_nothing(site: Site) -> None:
    before = site.hub.store.state()
    site.apply()
    assert site.hub.store.state() == before


def test_a_slow_thread_does_not_put_an_older_catalog_back_in_force(site: Site) -> None:
    other = site.worker()
    old = other.store.catalog()
    site.apply(policy=forbidding('label = "victim"'))
    other.load()
    newer = other.snapshot
    assert old is not None
    other.store.catalog = lambda: old  # type: ignore[method-assign]
    other.load()
    assert other.snapshot is newer


# ---- collections come and go


@pytest.fixture
def stocked(site: Site) -> tuple[Site, str]:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, V1, name="1"))
    return site, id_


def test_a_collection_whose_file_gets_another_name_keeps_its_objects(stocked: tuple[Site, str]) -> None:
    site, id_ = stocked
    text = site.files["collections/alice-box.toml"]
    site.files["collections/renamed.toml"] = text
    site.files["collections/all.toml"] = site.files["collections/all.toml"].replace("alice-box", "renamed")
    site.apply(alice_box=None)
    assert site.ids("carol") == [id_]
    assert site.ids("alice", "renamed") == [id_]
    site.store("alice", "renamed", malware(id_, V2, name="2"))
    assert site.names("carol") == ["2"]


def test_a_collection_whose_file_is_removed_is_hidden_and_not_lost(stocked: tuple[Site, str]) -> None:
    site, id_ = stocked
    before = dict(site.files)
    site.apply(alice_box=None, all=before["collections/all.toml"].replace('"alice-box", ', ""))
    for partner in ("alice", "carol"):
        assert site.ids(partner) == []
    site.files = before
    site.apply()
    assert site.ids("carol") == [id_]


def test_a_newest_version_in_a_removed_collection_still_hides_the_older_ones(stocked: tuple[Site, str]) -> None:
    site, id_ = stocked
    site.store("alice", "alice-two", malware(id_, V2, name="2", **marked("red")))
    assert site.ids("carol") == []
    site.apply(alice_two=None, all=site.files["collections/all.toml"].replace('"alice-two", ', ""))
    assert site.ids("carol", filters=EVERY_VERSION) == []


def test_what_is_posted_to_a_view_itself_is_shown_by_it_and_by_no_source(site: Site) -> None:
    site.files["collections/second.toml"] = collection(
        "eeeeeeee-0000-4000-8000-000000000009", "Second", readers=["carol"], sources=["all"]
    )
    site.apply()
    in_box, in_view = malware(), malware()
    site.store("alice", "alice-box", in_box)
    site.store("alice", "all", in_view)
    assert site.ids("carol") == [in_box["id"], in_view["id"]]
    assert site.ids("carol", "second") == [in_view["id"]]  # sources of sources are not followed
    assert site.ids("alice", "alice-box") == [in_box["id"]]
    assert IDS["all"] in site.hub.snapshot.catalog.feeds(site.hub.snapshot.catalog.collections["second"])


def test_a_configuration_without_the_partner_of_anonymous_requests_is_not_put_in_force(site: Site) -> None:
    hub = Hub(Settings(store=site.url, anonymous_partner="nobody"), site.hub.store)
    before = site.hub.store.catalog()
    with pytest.raises(ConfigError, match="nobody"):
        hub.apply(dict(site.files), "test")
    assert site.hub.store.catalog() == before
