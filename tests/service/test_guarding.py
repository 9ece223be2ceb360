"""Guards at POST, on both stores: what is refused, what is held, what refers to it, and what a release brings back."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from taxii_server.errors import Conflict, StorageUnavailable
from taxii_server.model import Actor
from taxii_server.service import posting, review
from taxii_server.service.post import Added
from taxii_server.service.query import Filters
from taxii_server.storage.base import Store
from taxii_server.storage.quarantine import STATES, Entry, EntryQuery
from tests.service.site import Site, marked, report
from tests.world import OPEN_POLICY, malware, new_id, relationship

HELD = """
[[guard]]
id = "no-customers"
why = "customer data never leaves"
collection = "alice-box"
what = { label = "customer" }
act = "quarantine"
"""
REFUSED = """
[[guard]]
id = "no-persons"
why = "personal data"
collection = ["alice-box", "all"]
what = { type = "identity", identity_class = "individual" }
act = "refuse"
"""


@pytest.fixture
def guarded(site: Site) -> Site:
    """A site whose boxes are guarded."""
    site.apply(policy=OPEN_POLICY + HELD + REFUSED)
    return site


def customer(id_: str | None = None, modified: str = "2020-01-01T00:00:00.000Z", **more: Any) -> dict[str, Any]:
    """An identity that is labelled as a customer, unless told otherwise."""
    return {
        "type": "identity",
        "spec_version": "2.1",
        "id": id_ or new_id("identity"),
        "created": "2018-01-01T00:00:00.000Z",
        "modified": modified,
        "name": "Harbour Water plc",
        "identity_class": "organization",
        "labels": ["customer"],
        **more,
    }


def entries(site: Site) -> list[Entry]:
    return site.hub.store.quarantine.page(EntryQuery(1000))


def release(site: Site, entry: Entry) -> Entry:
    hub = site.hub
    return review.release(hub.store, hub.writer, hub.snapshot.catalog, entry, "alice")


def drop(site: Site, entry: Entry) -> None:
    review.drop(site.hub.store, site.hub.snapshot.catalog, entry, "alice")


def became(results: list[Added]) -> list[str]:
    return [added.stopped or ("stored" if added.ok else "failed") for added in results]


# ---- what is stopped


def test_what_is_refused_leaves_nothing_behind_and_is_told_by_which_rule(guarded: Site) -> None:
    person, fine = customer(identity_class="individual"), malware()
    refused, stored = guarded.post("alice", "alice-box", person, fine)
    assert refused == Added(
        person["id"],
        person["modified"],
        "refused by guard 'no-persons': personal data. Nothing of it is stored; post it without what it names",
        ok=False,
        stopped="refused",
    )
    assert (stored.ok, stored.message, stored.stopped) == (True, None, None)
    assert entries(guarded) == []
    assert guarded.ids("alice") == [fine["id"]]


def test_what_is_held_is_read_by_nobody_and_kept_as_it_was_posted(guarded: Site) -> None:
    held = customer()
    (added,) = guarded.post("alice", "alice-box", held)
    (entry,) = entries(guarded)
    assert (added.ok, added.stopped, added.version) == (False, "quarantined", held["modified"])
    assert added.message == (
        "held in quarantine by guard 'no-customers': customer data never leaves. Nobody reads it there; the owner of"
        f" the collection can release it or drop it (quarantine id {entry.id})"
    )
    assert (entry.object_id, entry.submitter, entry.guard, entry.state) == (held["id"], "alice", "no-customers", "held")
    found = guarded.hub.store.quarantine.entry(entry.id)
    assert found is not None
    assert json.loads(found.content) == held
    for partner in ("alice", "bob", "carol"):
        assert guarded.ids(partner) == []


def test_the_same_again_is_the_same_entry(guarded: Site) -> None:
    held = customer()
    first = guarded.post("alice", "alice-box", held)
    # The order of members makes no other object.
    again = guarded.post("alice", "alice-box", dict(reversed(list(held.items()))), held)
    assert [added.message for added in again] == [first[0].message] * 2
    assert len(entries(guarded)) == 1


def test_another_version_and_another_content_are_held_on_their_own(guarded: Site) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held, customer(held["id"], "2021-01-01T00:00:00.000Z"), held | {"name": "x"})
    assert len(entries(guarded)) == 3


def test_a_guard_watches_its_collections_only(guarded: Site) -> None:
    guarded.store("bob", "bob-box", customer(), customer(identity_class="individual"))
    guarded.store("alice", "alice-two", customer())
    assert became(guarded.post("bob", "all", customer(identity_class="individual"), customer())) == [
        "refused",
        "stored",
    ]


def test_without_a_guard_over_the_collection_a_post_asks_no_quarantine(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Store) -> None:
        raise AssertionError("nothing to ask here")

    monkeypatch.setattr(type(guarded.hub.store), "quarantine", property(refuse))
    guarded.store("bob", "bob-box", customer(), malware())


def test_what_is_invalid_is_refused_for_that_and_never_held(guarded: Site) -> None:
    odd: list[Any] = [
        customer("identity--x"),
        customer() | {"id": 3},
        customer() | {"created": 7},
        customer() | {"type": ["identity"]},
        {"labels": ["customer"]},
        5,
    ]
    assert became(guarded.post("alice", "alice-box", *odd)) == ["failed"] * len(odd)
    assert entries(guarded) == []


def test_a_held_marking_definition_gives_a_marking_no_meaning(guarded: Site) -> None:
    marking = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": new_id("marking-definition"),
        "created": "2018-01-01T00:00:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": "x"},
        "labels": ["customer"],
    }
    before = guarded.hub.store.state().log_length
    assert became(guarded.post("alice", "alice-box", marking)) == ["quarantined"]
    assert guarded.hub.store.state().log_length == before


# ---- what refers to what is stopped


def test_what_refers_to_a_customer_is_held_with_it_wherever_it_stands_in_the_body(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PORTION", 2)
    held, bot = customer(), malware()
    targets = relationship(bot["id"], held["id"])
    listed = report([bot["id"], targets["id"]], new_id("report"))
    results = guarded.post("alice", "alice-box", listed, targets, bot, malware(), held)
    assert became(results) == ["quarantined", "quarantined", "stored", "stored", "quarantined"]
    assert results[1].message is not None
    assert results[1].message.startswith(
        f"held in quarantine by guard 'no-customers', as it refers to {held['id']}, which that guard stopped:"
    )


def test_what_refers_to_what_is_refused_is_refused(guarded: Site) -> None:
    person = customer(identity_class="individual")
    both = report([person["id"]], new_id("report"), labels=["customer"])
    assert became(guarded.post("alice", "alice-box", both, person)) == ["refused", "refused"]


def test_who_made_it_is_no_reference(guarded: Site) -> None:
    held = customer()
    assert became(guarded.post("alice", "alice-box", malware(created_by_ref=held["id"]), held)) == [
        "stored",
        "quarantined",
    ]


def test_what_refers_to_something_in_quarantine_is_held_until_that_is_released(guarded: Site) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held)
    first, second, third = (relationship(malware()["id"], held["id"]) for _ in range(3))
    assert became(guarded.post("alice", "alice-box", first)) == ["quarantined"]
    release(guarded, entries(guarded)[0])
    assert became(guarded.post("alice", "alice-box", second)) == ["stored"]
    # A later version is held, and with it what refers to it from now on.
    guarded.post("alice", "alice-box", customer(held["id"], "2021-01-01T00:00:00.000Z"))
    assert became(guarded.post("alice", "alice-box", third)) == ["quarantined"]


def test_what_refers_to_something_dropped_is_held_until_a_newer_version_was_let_in(guarded: Site) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held)
    drop(guarded, entries(guarded)[0])
    targets = relationship(malware()["id"], held["id"])
    assert became(guarded.post("alice", "alice-box", targets)) == ["quarantined"]
    older = customer(held["id"], "2019-01-01T00:00:00.000Z", labels=["other"])
    guarded.store("alice", "alice-box", older)
    assert became(guarded.post("alice", "alice-box", relationship(malware()["id"], held["id"]))) == ["quarantined"]
    guarded.store("alice", "alice-box", customer(held["id"], "2021-01-01T00:00:00.000Z", labels=["former"]))
    assert became(guarded.post("alice", "alice-box", relationship(malware()["id"], held["id"]))) == ["stored"]


def test_the_quarantine_of_others_tells_nothing(guarded: Site) -> None:
    guarded.apply(policy=OPEN_POLICY + HELD.replace('"alice-box"', '"all"'))
    held = customer()
    assert became(guarded.post("alice", "all", held)) == ["quarantined"]
    assert became(guarded.post("bob", "all", relationship(malware()["id"], held["id"]))) == ["stored"]
    # Its own copy of the same object is its own entry.
    mine = guarded.post("bob", "all", held)
    assert became(mine) == ["quarantined"]
    assert {entry.submitter for entry in entries(guarded)} == {"alice", "bob"}


# ---- release and drop


def test_a_release_stores_it_as_the_post_of_its_submitter(guarded: Site) -> None:
    held = customer(**marked("green"))
    guarded.post("alice", "alice-box", held)
    (entry,) = entries(guarded)
    done = release(guarded, entry)
    assert (done.state, done.decided_by, done.content) == ("released", "alice", b"")
    assert guarded.hub.store.quarantine.entry(entry.id) == done
    for partner in ("alice", "bob", "carol"):
        assert guarded.ids(partner) == [held["id"]]
    (record,) = guarded.hub.store.lookup([held["id"]])[held["id"]]
    assert (record.submitter, record.version) == ("alice", held["modified"])
    # Posted again it is no news, and releasing it again changes nothing.
    assert became(guarded.post("alice", "alice-box", held)) == ["stored"]
    assert release(guarded, entry) == done
    assert len(guarded.hub.store.lookup([held["id"]])[held["id"]]) == 1


def test_a_release_changes_no_byte_also_of_stix_2_0(guarded: Site) -> None:
    old = {key: value for key, value in customer().items() if key != "spec_version"}
    raw = json.dumps(old, indent=None).replace('"Harbour Water plc"', '"Harbour \\u0057ater"').encode()
    place = guarded.hub.snapshot.catalog.collections["alice-box"]
    body = b'{"type":"bundle","id":"bundle--1","spec_version":"2.0","objects":[' + raw + b"]}"
    (added,) = guarded.hub.writer.add("alice", place, body)
    assert added.stopped == "quarantined"
    (entry,) = entries(guarded)
    assert entry.spec_version == "2.0"
    release(guarded, entry)
    (record,) = guarded.walk("alice", filters=Filters(spec_versions=("2.0",)))
    assert (record.content, record.spec_version) == (raw, "2.0")


def test_what_was_released_is_still_under_the_policy(guarded: Site) -> None:
    held = customer(**marked("red"))
    guarded.post("alice", "alice-box", held)
    release(guarded, entries(guarded)[0])
    assert guarded.ids("alice") == [held["id"]]
    assert guarded.ids("bob") == guarded.ids("carol") == []


def test_what_is_dropped_is_gone_and_stays_known(guarded: Site) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held)
    (entry,) = entries(guarded)
    drop(guarded, entry)
    drop(guarded, entry)
    found = guarded.hub.store.quarantine.entry(entry.id)
    assert found is not None
    assert (found.state, found.decided_by, found.content, found.digest) == ("dropped", "alice", b"", entry.digest)
    with pytest.raises(Conflict, match="its content is gone"):
        release(guarded, entry)
    (again,) = guarded.post("alice", "alice-box", held)
    assert (again.stopped, len(entries(guarded))) == ("refused", 1)
    assert again.message is not None
    assert "The same was dropped on " in again.message
    assert guarded.ids("alice") == []


def test_what_was_released_cannot_be_dropped(guarded: Site) -> None:
    guarded.post("alice", "alice-box", customer())
    (entry,) = entries(guarded)
    release(guarded, entry)
    with pytest.raises(Conflict, match="was released"):
        drop(guarded, entry)


def test_what_cannot_be_stored_stays_held(guarded: Site) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held)
    (entry,) = entries(guarded)
    # The same version with other content got in, since the guard was out for a while.
    guarded.apply(policy=OPEN_POLICY)
    guarded.store("alice", "alice-box", held | {"name": "another"})
    guarded.apply(policy=OPEN_POLICY + HELD)
    with pytest.raises(Conflict, match="cannot be stored"):
        release(guarded, entry)
    # Meanwhile the rules became stricter.
    other = customer()
    guarded.post("alice", "alice-box", other)
    guarded.apply(policy=OPEN_POLICY + HELD.replace('"quarantine"', '"refuse"'))
    with pytest.raises(Conflict, match="refused by guard 'no-customers'"):
        release(guarded, entries(guarded)[1])
    assert [each.state for each in entries(guarded)] == ["held", "held"]
    drop(guarded, entry)


def test_nothing_is_released_for_who_may_not_post_any_more(guarded: Site) -> None:
    guarded.post("alice", "alice-box", customer())
    (entry,) = entries(guarded)
    box = guarded.files["collections/alice-box.toml"]
    guarded.apply(alice_box=box.replace('writers = ["alice"]', 'writers = ["bob"]'))
    with pytest.raises(Conflict, match="alice may not post to this collection any more"):
        release(guarded, entry)
    policy = OPEN_POLICY + REFUSED.replace('"alice-box", ', "")
    guarded.apply(policy=policy, alice_box=None, all=guarded.files["collections/all.toml"].replace('"alice-box", ', ""))
    with pytest.raises(Conflict, match="not declared any more"):
        release(guarded, entry)
    drop(guarded, entry)


@pytest.mark.parametrize("stored", [False, True], ids=["before the record", "after the record"])
def test_a_release_that_broke_off_is_finished_by_the_next_one(
    guarded: Site, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held)
    (entry,) = entries(guarded)
    restore = guarded.hub.writer.restore

    def break_off(*arguments: Any) -> Added:
        if stored:
            restore(*arguments)
        raise StorageUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(guarded.hub.writer, "restore", break_off)
        with pytest.raises(StorageUnavailable):
            release(guarded, entry)
    assert [each.state for each in entries(guarded)] == ["releasing"]
    assert became(guarded.post("alice", "alice-box", held)) == ["quarantined"]
    with pytest.raises(Conflict):
        drop(guarded, entry)
    assert release(guarded, entry).state == "released"
    assert guarded.ids("bob") == [held["id"]]
    assert len(guarded.hub.store.lookup([held["id"]])[held["id"]]) == 1


def test_a_post_that_breaks_off_may_be_made_again(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    held, fine = customer(), malware()

    def break_off(*_: object) -> None:
        raise StorageUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(guarded.hub.store), "write", break_off)
        with pytest.raises(StorageUnavailable):
            guarded.post("alice", "alice-box", held, fine)
    assert guarded.ids("alice") == []
    assert became(guarded.post("alice", "alice-box", held, fine)) == ["quarantined", "stored"]
    assert len(entries(guarded)) == 1


def test_other_workers_and_a_restart_find_what_is_held(guarded: Site) -> None:
    held = customer()
    guarded.post("alice", "alice-box", held)
    other = guarded.worker()
    (entry,) = other.store.quarantine.page(EntryQuery(9, states=STATES))
    review.release(other.store, other.writer, other.snapshot.catalog, entry, "alice")
    guarded.hub.book.sync()
    assert guarded.ids("bob") == [held["id"]]


def test_the_audit_line_of_a_post_counts_what_guards_stopped(guarded: Site, caplog: pytest.LogCaptureFixture) -> None:
    place = guarded.hub.snapshot.catalog.collections["alice-box"]
    objects = [customer(), customer(), customer(identity_class="individual"), malware()]
    with caplog.at_level(logging.INFO, "taxii_server.audit"):
        guarded.hub.visit(Actor("alice", "c", "test")).add(place, json.dumps({"objects": objects}).encode())
        release(guarded, entries(guarded)[0])
        drop(guarded, entries(guarded)[1])
    facts = {record.event: record.facts for record in caplog.records}  # type: ignore[attr-defined]
    assert facts["add"] | {"refused_by_guard": 1, "quarantined": 2, "failure": 3, "success": 1} == facts["add"]
    for event in ("quarantine-released", "quarantine-dropped"):
        assert facts[event]["guard"] == "no-customers"
        assert facts[event]["partner"] == "alice"
    assert "Harbour" not in caplog.text
