"""What another thread, or another worker, does between two steps of this one (see also test_concurrency.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taxii_server.catalog import parse_catalog
from taxii_server.cli.serve import apply_again
from taxii_server.errors import StorageUnavailable
from taxii_server.service import visit as visit_module
from taxii_server.service.comparing import compare
from taxii_server.service.explaining import census, explain
from taxii_server.service.granting import Granting
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings, load
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.interrupting import interrupted
from tests.service.site import ALL_V, Site, marked, statement, versions
from tests.service.test_late_grants import Poller, without
from tests.service.test_time import HOUR, Clock, when
from tests.world import OPEN_POLICY, malware, new_id, world

OLD, NEW, NEWEST = (f"202{n}-01-01T00:00:00.000Z" for n in (1, 2, 3))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(store_url: str, clock: Clock) -> Iterator[Site]:
    """A site whose store has this clock."""
    kind: Any = MongoStore if store_url.startswith("mongodb") else SQLiteStore
    made = Site(store_url, store=kind(store_url, now=clock))
    yield made
    made.close()


def test_a_date_is_not_forgotten_when_two_threads_look_for_it_under_two_policies(timed: Site, clock: Clock) -> None:
    """One that began before a change writes down what it found after the other one did."""
    undated = timed.hub.snapshot
    until = f"until = {when(clock.us + HOUR)}\n"
    timed.apply(policy=without('label = "hot"').replace("[[forbid]]", "[[embargo]]") + until)
    dated = timed.hub.snapshot
    lines = 0
    for line in range(1, 20):
        # Both come by for the first time since the log told something.
        hub = Hub(timed.hub.settings, timed.hub.store)
        hub.book, hub._snapshot = timed.hub.book, dated

        def other(hub: Hub = hub) -> None:
            hub._snapshot = undated
            hub._next_moment()
            hub._snapshot = dated

        with interrupted("Hub._next_moment", other, at=line) as done:
            hub._next_moment()
        assert hub._next_moment() == clock.us + HOUR, line
        lines += done()
    assert lines > 3


def test_who_reads_something_is_asked_again_when_a_meaning_came_meanwhile(site: Site) -> None:
    """Whether a write brings something back is told by who read it before: not by who did before the meaning came."""
    hub, other = site.worker(), site.worker()
    lines = 0
    for line in range(1, 20):
        mark = new_id("marking-definition")
        site.store("alice", "alice-box", malware(object_marking_refs=[mark]))
        hub.book.sync()
        facets = next(each.key.facets for each in hub.book.labels.values() if each.key.facets.markings == (mark,))

        def define(mark: str = mark) -> None:
            site.store("alice", "alice-box", statement(mark), hub=other)
            hub.book.sync()

        with interrupted("Sights.readers", define, at=line) as done:
            hub.snapshot.sights.readers(facets, None)
        if done():
            assert set(hub.snapshot.sights.readers(facets, None)) == {"alice", "bob", "carol"}, line
        lines += done()
    assert lines > 3


def test_an_older_version_is_granted_with_the_newer_one_that_came_while_the_change_was_worked_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one is hidden and takes it out of sight; both come with the change."""
    site.apply(policy=without('label = "secret"'))
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, modified=OLD))
    worker = site.worker()
    prepare = Granting.prepare

    def slow(granting: Granting) -> None:
        prepare(granting)
        site.store("alice", "alice-box", malware(id_, modified=NEW, labels=["secret"]), hub=worker)

    monkeypatch.setattr(Granting, "prepare", slow)
    everything = Poller(site, filters=versions(ALL_V))
    site.apply(policy=OPEN_POLICY)
    assert everything.poll() == [id_, id_]
    assert [record.version for record in site.walk("carol", filters=versions(ALL_V))] == [OLD, NEW]


def test_which_vocabulary_was_in_force_can_be_asked_while_the_log_brings_another_one(site: Site) -> None:
    hub, number = site.worker(), 0
    for line in range(1, 20):

        def grow(line: int = line) -> None:
            site.apply(policy=without(f'label = "secret-{line}"'))
            hub.book.sync()

        with interrupted("Book.vocabulary_at", grow, at=line) as done:
            hub.book.vocabulary_at(hub.book.length + 1)
        number += done()
    assert number > 1


def test_an_object_is_explained_and_counted_while_a_version_with_a_new_label_comes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.store("alice", "alice-box", malware(id_ := new_id("malware"), modified=OLD))
    hub, other = site.worker(), site.worker()
    lookup = hub.store.lookup
    coming = [
        malware(id_, modified=NEW, labels=["new"]),
        malware(id_, modified=NEWEST, labels=["newest"], revoked=True),
    ]

    def slow(wanted: Any) -> Any:
        if coming:
            site.store("alice", "alice-box", coming.pop(0), hub=other)
        return lookup(wanted)

    monkeypatch.setattr(hub.store, "lookup", slow)
    left = coming[1:]
    del coming[1:]
    assert [each.record.version for each in explain(hub, "carol", id_)] == [OLD, NEW]
    coming += left
    found = census(hub, "carol", "all")
    assert (found.visible, found.hidden) == (1, 0)
    assert not coming


def test_files_that_were_read_before_others_edited_them_do_not_come_into_force_after_them(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher works on an edit; meanwhile it is corrected, and somebody sends SIGHUP."""
    with world(tmp_path, store_url) as made:
        policy = tmp_path / "config/policy.toml"
        relabel = Hub._relabel

        def read() -> Settings:
            return load(tmp_path / "config/server.toml", environment={}, flags={"store": store_url})

        def slow(hub: Hub, *arguments: Any) -> None:
            monkeypatch.setattr(Hub, "_relabel", relabel)
            policy.write_text(OPEN_POLICY + "# corrected\n")
            apply_again(made.settings, read, "SIGHUP")
            relabel(hub, *arguments)

        monkeypatch.setattr(Hub, "_relabel", slow)
        policy.write_text(OPEN_POLICY + "# a slip\n")
        apply_again(made.settings, read, "edited files")
        applied = made.store.catalog()
        assert applied is not None
        assert applied.files["config/policy.toml"].endswith("# corrected\n")


def test_a_rehearsal_counts_no_records_of_labels_that_came_after_it_began(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that is made in the rehearsal gets the number that one of the real log has by then."""
    site.store("alice", "alice-box", malware(labels=["secret"]))
    old = site.hub.snapshot.catalog
    counted, other = site.hub.store.count_by_label, site.worker()
    coming = [malware(**marked(level)) for level in ("clear", "green", "amber")]

    def slow() -> dict[int, int]:
        while coming:
            site.store("alice", "alice-box", coming.pop(), hub=other)
        return counted()

    monkeypatch.setattr(site.hub.store, "count_by_label", slow)
    files = {**site.files, "config/policy.toml": without('label = "secret"')}
    (carol,) = (each for each in compare(site.hub.store, old, parse_catalog(files)) if each.audience == "carol")
    assert (carol.before, carol.after, carol.lost.objects) == (1, 0, 1)


@pytest.mark.parametrize("late", [3, 10_000])
def test_a_catalog_that_is_read_later_than_the_log_that_tells_of_it_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """What a majority has of the one may be older, for a moment, where another server has become the primary."""
    hub, old = site.worker(), site.hub.store.catalog()
    site.store("alice", "alice-box", shown := malware())
    site.apply(policy=without('label = "secret"'))
    catalog, looks = hub.store.catalog, iter(range(late))
    monkeypatch.setattr(hub.store, "catalog", lambda: catalog() if next(looks, None) is None else old)
    monkeypatch.setattr(visit_module, "PAUSE_S", 0.0)
    if late > 100:
        with pytest.raises(StorageUnavailable, match="not to be had"):
            site.page("carol", hub=hub)
    else:
        assert [item.id for item in site.page("carol", hub=hub).items] == [shown["id"]]
