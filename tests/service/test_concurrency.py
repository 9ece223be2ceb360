"""Several threads in several workers post the same objects at once: one record each, seen once, in order."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from taxii_server.errors import StorageUnavailable
from taxii_server.service import book
from taxii_server.service.hub import Hub
from taxii_server.service.post import Added
from tests.service.site import ALL_V, Site, marked, statement, versions
from tests.world import malware, new_id, relationship

THREADS = 8
LEVELS = ("clear", "green", "amber")
JOIN_S = 60


@contextmanager
def running(*works: Callable[[], None]) -> Iterator[None]:
    """Threads that do this; ended, and without an error, when the block ends."""
    failed: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(JOIN_S)
    assert not failed
    assert not any(thread.is_alive() for thread in threads)


class Follower:
    """Polls by position, like a client that remembers X-TAXII-Date-Added-Last."""

    def __init__(self, site: Site, hub: Hub) -> None:
        self.site, self.hub = site, hub
        self.seen: list[tuple[str, str]] = []
        self.last = 0
        self.stop = threading.Event()

    def __call__(self) -> None:
        while not self.stop.is_set():
            self.poll()
            self.stop.wait(0.002)

    def poll(self) -> None:
        """Everything that is new, page by page."""
        token = None
        while True:
            found = self.site.page(
                "carol", hub=self.hub, added_after=self.last, limit=7, next=token, filters=versions(ALL_V)
            )
            self.seen += [(record.id, record.version) for record in found.records]
            if found.records:
                assert found.records[0].position > self.last
                self.last = found.records[-1].position
            token = found.next
            if token is None:
                return


def test_eight_threads_in_two_workers_post_overlapping_sets(site: Site) -> None:
    hubs = [site.hub, site.worker()]
    objects = _objects()
    followers = [Follower(site, hub) for hub in (*hubs, site.worker())]
    answers: list[Added] = []
    writers = [_writer(site, hubs[number % 2], objects, number, answers) for number in range(THREADS)]
    with running(*followers):
        try:
            with running(*writers):
                pass
        finally:
            for follower in followers:
                follower.stop.set()
    versions_posted = {(each["id"], each["modified"]) for each in objects}
    assert all(answer.ok for answer in answers)
    assert Counter(answer.message for answer in answers) == {
        None: len(objects),
        "already present": (THREADS - 1) * len(objects),
    }
    assert {(answer.id, answer.version) for answer in answers} == versions_posted
    stored = [
        record for records in site.hub.store.lookup([i for i, _ in versions_posted]).values() for record in records
    ]
    assert sorted((record.id, record.version) for record in stored) == sorted(versions_posted)
    for follower in followers:
        follower.poll()
        assert Counter(follower.seen) == Counter(versions_posted)
        in_order = sorted(stored, key=lambda record: record.position)
        assert follower.seen == [(record.id, record.version) for record in in_order]
    # What each record's label says about newest, oldest and copies is what a relabelling would say.
    labels = {record.position: record.label for record in stored}
    site.hub.writer.labelling._relabel_ids({i for i, _ in versions_posted})
    again = {
        r.position: r.label
        for records in site.hub.store.lookup([i for i, _ in versions_posted]).values()
        for r in records
    }
    assert again == labels


def _objects() -> list[dict[str, Any]]:
    ids = [new_id("malware") for _ in range(12)]
    return [
        malware(id_, f"2020-01-0{version}T00:00:00.000Z", labels=[f"l{version}"], **marked(LEVELS[version % 3]))
        for id_ in ids
        for version in (1, 2, 3, 4)
    ]


def _writer(site: Site, hub: Hub, objects: list[dict[str, Any]], seed: int, answers: list[Added]) -> Callable[[], None]:
    mixed = list(objects)
    random.Random(seed).shuffle(mixed)

    def write() -> None:
        for start in range(0, len(mixed), 5):
            answers.extend(site.post("alice", "alice-box", *mixed[start : start + 5], hub=hub))

    return write


def test_writers_that_all_bring_new_labels_do_not_keep_each_other_from_writing(site: Site) -> None:
    """Each post needs labels that nobody had before, so each of them moves the log under the others."""
    hubs = [site.hub, site.worker()]

    def writer(number: int) -> Callable[[], None]:
        def write() -> None:
            for _ in range(8):
                mark = new_id("marking-definition")
                site.store(
                    "alice", "alice-box", statement(mark), malware(object_marking_refs=[mark]), hub=hubs[number % 2]
                )

        return write

    with running(*(writer(number) for number in range(THREADS))):
        pass
    for hub in (*hubs, site.worker()):
        assert len(site.ids("carol", hub=hub, limit=50)) == 8 * THREADS * 2


def test_a_reader_never_sees_what_refers_to_something_while_it_is_hidden(site: Site) -> None:
    """The target turns red and back again; what points at it is seen only when the target is."""
    target = new_id("malware")
    link = relationship(target, target)
    other = site.worker()
    site.store("alice", "alice-box", malware(target, "2020-01-01T00:00:00.000Z", **marked("green")), link)
    stop = threading.Event()

    def flip() -> None:
        try:
            for number in range(1, 15):
                newer = malware(target, f"2020-02-01T00:00:00.{number:03}Z", **marked("red"))
                site.store("alice", "alice-box", newer)
                site.delete("alice", "alice-box", target, versions(ALL_V, spec_versions=("2.1",)))
                site.store("alice", "alice-box", malware(target, "2020-01-01T00:00:00.000Z", **marked("green")))
        finally:
            stop.set()

    def look() -> None:
        while not stop.is_set():
            assert site.ids("carol", hub=other) in ([target, link["id"]], [link["id"], target], [link["id"]], [])

    with running(flip, look):
        pass
    assert sorted(site.ids("carol", hub=other)) == sorted([target, link["id"]])


def test_while_the_store_hangs_no_thread_waits_for_all_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    refused: list[str] = []
    monkeypatch.setattr(book, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(site.hub.store, "log_after", lambda number: released.wait(JOIN_S) and [])

    def sync() -> None:
        try:
            site.hub.book.sync()
        except StorageUnavailable as error:
            refused.append(str(error))
            if len(refused) == THREADS - 1:
                released.set()

    with running(*[sync] * THREADS):
        assert released.wait(JOIN_S)
    assert len(refused) == THREADS - 1
    monkeypatch.undo()
    site.hub.book.sync()
