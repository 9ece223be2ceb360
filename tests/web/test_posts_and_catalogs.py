"""A POST is judged by the configuration that is in force when it comes, though no worker asks for it before.

The worker that answers here has never heard of the change: nothing in it follows the store. The change comes either
before the request, or between its arrival and its transaction.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from taxii_server.app import create_app
from taxii_server.service import posting
from taxii_server.settings import load
from taxii_server.storage import open_store
from taxii_server.storage.base import Planner
from taxii_server.storage.quarantine import EntryQuery
from tests.interrupting import interrupted
from tests.storage.samples import query
from tests.web.data import statement
from tests.web.rooms import InspectedWorld
from tests.world import MT, OPEN_POLICY, RW, audiences, collection, indicator, malware, new_id

URL = f"/api1/collections/{RW}/objects/"
MOST = 20_000
KIND = 'kind = "cert"\nclearance = "red"\n'
GUARD = """
[[guard]]
id = "no-customers"
what = { label = "customer" }
act = "%s"
"""
REFUSING, HOLDING = OPEN_POLICY + GUARD % "refuse", OPEN_POLICY + GUARD % "quarantine"


def place(*, readers: tuple[str, ...] = ("rw",), writers: tuple[str, ...] = ("rw",), **more: object) -> str:
    return collection(RW, "Read write", readers=readers, writers=writers, **more)


OPEN, READ_ONLY, CLOSED = place(), place(writers=("other",)), place(readers=("other",), writers=("other",))


class Stale:
    """A hub, and a worker of it with a store of its own that hears of nothing by itself."""

    def __init__(self, hub: InspectedWorld) -> None:
        self.hub = hub
        self.store = open_store(hub.settings.store)
        app = create_app(hub.settings, self.store, background=False)
        self.worker = app.extensions["taxii_server"]
        app.extensions["taxii_server.refresher"].tick = lambda: None
        self._client = app.test_client()

    def apply(
        self, place: str = OPEN, policy: str = OPEN_POLICY, partners: str | None = None, most: int = MOST
    ) -> None:
        """Put in force what the worker will not have heard of."""
        folder = self.hub.folder
        (folder / "collections/rw.toml").write_text(place)
        (folder / "config/policy.toml").write_text(policy)
        if partners is not None:
            (folder / "config/partners.toml").write_text(partners)
        server = folder / "config/server.toml"
        server.write_text(re.sub(r"max_content_length = \d+", f"max_content_length = {most}", server.read_text()))
        self.hub.settings = load(server, environment={}, flags={"store": self.hub.settings.store})
        self.hub.apply()
        assert self.worker.snapshot.epoch < self.hub.hub.snapshot.epoch

    def in_between(self, *changes: Callable[[], None]) -> None:
        """Make each change when the worker has decided all that it decides before one of its next transactions."""
        write, left = self.store.write, list(changes)

        def changed(ids: Any, planner: Planner) -> tuple[int, ...]:
            if left:
                left.pop(0)()
            return write(ids, planner)

        self.store.write = changed  # type: ignore[method-assign]

    def post(self, *objects: Any, body: bytes | None = None, **headers: str) -> TestResponse:
        body = json.dumps({"objects": objects}).encode() if body is None else body
        sent = {"Accept": MT, "Content-Type": MT, "Authorization": self.hub.basic("rw")}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        more = {"CONTENT_LENGTH": sent.pop("Content-Length")} if "Content-Length" in sent else {}
        return self._client.post(URL, headers=sent, data=body, environ_overrides=more)

    def poll(self) -> TestResponse:
        return self._client.get(URL, headers={"Accept": MT, "Authorization": self.hub.basic("rw")})

    def accepted(self, *objects: Any) -> tuple[int, int]:
        """How many of them were stored, and how many were not."""
        answer = self.post(*objects)
        assert answer.status_code == 202, answer.text
        return answer.json["success_count"], answer.json["failure_count"]

    def stored(self) -> list[str]:
        return [record.id for record in self.hub.store.page(_every(self.hub)).records]

    def held(self) -> list[str]:
        return [entry.object_id for entry in self.hub.store.quarantine.page(EntryQuery(limit=99))]

    def traces(self) -> tuple[object, ...]:
        """All that a POST may leave behind."""
        self.hub.hub.book.sync()
        log = [entry.kind for entry in self.hub.store.log_after(0) if entry.kind in ("label", "marking")]
        return log, self.stored(), self.held(), self.hub.store.recent_statuses(9, 0)


def _every(hub: InspectedWorld) -> Any:
    hub.hub.book.sync()
    return query(*hub.hub.book.labels, collections=(RW,))


@pytest.fixture(params=["sqlite", "mongodb"])
def stale(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Stale]:
    url = None if request.param == "sqlite" else request.getfixturevalue("mongo_database_url")
    hub = InspectedWorld(
        tmp_path,
        url,
        collections={"rw": OPEN},
        partners=audiences({"rw": KIND, "other": KIND}),
        max_content_length=MOST,
    )
    made = Stale(hub)
    yield made
    made.store.close()
    hub.close()


def customer(**more: Any) -> dict[str, Any]:
    return malware(labels=["customer"], **more)


# ---- a right that is gone


@dataclass(frozen=True)
class Sent:
    """A request, as Stale.post takes it."""

    objects: tuple[Any, ...] = ()
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def to(self, stale: Stale) -> TestResponse:
        return stale.post(*self.objects, body=self.body, **dict(self.headers))


#: What is wrong with them if anything is, and how they are answered by whom may post.
REQUESTS = {
    "fine": (Sent((indicator(labels=["new"]),)), 202),
    "a definition": (Sent((statement(new_id("marking-definition")),)), 202),
    "bad objects": (Sent(({"type": "x"}, 5)), 202),
    "not JSON": (Sent(body=b"{"), 422),
    "a wrong type": (Sent((indicator(),), headers=(("Content_Type", "text/plain"),)), 415),
    "a wrong Accept": (Sent((indicator(),), headers=(("Accept", "text/plain"),)), 406),
    "a wrong encoding": (Sent((indicator(),), headers=(("Content_Encoding", "br"),)), 415),
    "too large": (Sent(body=b"x" * (MOST + 1)), 413),
    "too large when decoded": (
        Sent(body=gzip.compress(b"x" * (MOST + 1)), headers=(("Content_Encoding", "gzip"),)),
        413,
    ),
    "cut": (Sent(body=b"{}", headers=(("Content_Length", "9"),)), 400),
}


def test_a_right_that_was_taken_away_is_gone_whatever_is_posted(stale: Stale) -> None:
    for name, (sent, status) in REQUESTS.items():
        before = stale.traces()
        stale.apply(READ_ONLY)
        # Visible, the form of the request, then the right: as everywhere.
        assert sent.to(stale).status_code == (406 if status == 406 else 403), name
        stale.apply(CLOSED)
        assert sent.to(stale).status_code == 404, name
        assert stale.traces() == before, name
        stale.apply(OPEN)
        assert sent.to(stale).status_code == status, name


@pytest.mark.parametrize(("changed", "status", "reason"), [(READ_ONLY, 403, "forbidden"), (CLOSED, 404, "not-visible")])
def test_a_right_that_is_taken_away_before_the_transaction_is_gone(
    stale: Stale, changed: str, status: int, reason: str
) -> None:
    assert stale.accepted(indicator(labels=["known"])) == (1, 0)
    before = stale.traces()
    stale.in_between(lambda: stale.apply(changed))
    assert stale.post(indicator(labels=["known"])).status_code == status
    assert stale.traces() == before
    (entry,) = stale.hub.store.ledger.latest("rw", 1)
    facts = json.loads(entry.facts)
    assert (facts["status"], facts["reason"], facts["epoch"]) == (status, reason, stale.hub.hub.snapshot.epoch)


def test_a_door_that_was_closed_stays_closed(stale: Stale) -> None:
    there = KIND + 'addresses = ["192.0.2.0/24"]\n'
    before = stale.traces()
    stale.apply(partners=audiences({"rw": there, "other": KIND}))
    assert stale.post(indicator()).status_code == 401
    assert stale.traces() == before
    stale.apply(partners=audiences({"rw": KIND, "other": KIND}))
    assert stale.accepted(indicator()) == (1, 0)


@pytest.mark.parametrize("asks", ["post", "poll"])
def test_a_door_that_closes_while_somebody_passes_is_closed(stale: Stale, asks: str) -> None:
    """The worker hears of it when it has looked who asks, and has not yet made the visit."""
    elsewhere = audiences({"rw": KIND + 'addresses = ["198.51.100.0/24"]\n', "other": KIND})
    assert stale.accepted(malware()) == (1, 0)

    def close() -> None:
        stale.apply(partners=elsewhere)
        stale.worker.follow()

    lines = 0
    for line in range(1, 9):
        with interrupted("_new_visit", close, at=line) as done:
            answer = stale.post(malware()) if asks == "post" else stale.poll()
        assert answer.status_code == (401 if done() else 202 if asks == "post" else 200), line
        lines += done()
        if done():
            stale.apply(partners=audiences({"rw": KIND, "other": KIND}))
            stale.worker.follow()
    assert lines > 3


def test_a_partner_that_was_suspended_posts_nothing(stale: Stale) -> None:
    before = stale.traces()
    stale.apply(partners=audiences({"rw": KIND + "suspended = true\n", "other": KIND}))
    assert stale.post(indicator()).status_code == 404
    assert stale.traces() == before


# ---- guards


def test_a_guard_that_is_new_stops_what_it_is_for(stale: Stale) -> None:
    stale.apply(policy=REFUSING)
    assert stale.accepted(customer(), fine := malware()) == (1, 1)
    assert stale.stored() == [fine["id"]]
    stale.apply(policy=HOLDING)
    assert stale.accepted(held := customer()) == (0, 1)
    assert (stale.stored(), stale.held()) == ([fine["id"]], [held["id"]])


def test_a_guard_that_comes_before_the_transaction_stops_what_it_is_for(stale: Stale) -> None:
    stale.in_between(lambda: stale.apply(policy=HOLDING))
    assert stale.accepted(held := customer(), fine := malware()) == (1, 1)
    assert (stale.stored(), stale.held()) == ([fine["id"]], [held["id"]])


def test_a_guard_that_is_gone_stops_nothing(stale: Stale) -> None:
    for policy, known in ((HOLDING, 0), (REFUSING, 1)):
        stale.apply(policy=policy)
        assert stale.accepted(malware()) == (1, 0), "now the worker knows the guard"
        stale.apply()
        assert stale.accepted(customer()) == (1, 0)
        assert (len(stale.stored()), stale.held()) == (2 * known + 2, [])


# ---- what the collection takes


def test_what_a_collection_takes_is_what_it_takes_now(stale: Stale) -> None:
    stale.apply(place(accepts=["2.0"]))
    assert stale.accepted(indicator()) == (0, 1)
    stale.apply()
    assert stale.accepted(indicator()) == (1, 0)
    stale.in_between(lambda: stale.apply(place(accepts=["2.0"])))
    assert stale.accepted(indicator()) == (0, 1)


def test_the_number_of_objects_is_limited_as_it_is_now(stale: Stale) -> None:
    limited = place() + "[limits]\nmax_objects = 1\n"
    stale.apply(limited)
    assert stale.post(indicator(), indicator()).status_code == 422
    stale.apply()
    assert stale.accepted(indicator(), indicator()) == (2, 0)
    stale.in_between(lambda: stale.apply(limited))
    assert stale.post(indicator(), indicator()).status_code == 422
    assert len(stale.stored()) == 2


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_size_of_a_body_is_limited_as_it_is_now(stale: Stale, encoding: str) -> None:
    def post() -> int:
        body = json.dumps({"objects": [indicator(description="x" * 1000)]}).encode()
        if encoding == "gzip":
            body = gzip.compress(body)
        return stale.post(body=body, Content_Encoding=encoding).status_code

    stale.apply(most=1024)
    assert post() == 413
    stale.apply()
    assert post() == 202
    stale.in_between(lambda: stale.apply(most=1024))
    assert post() == 413
    assert len(stale.stored()) == 1


# ---- what is on its way


def test_a_body_of_several_portions_is_judged_by_one_catalog(stale: Stale, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PORTION", 1)
    assert stale.accepted(malware(), customer()) == (2, 0), "now they have labels"
    stale.in_between(lambda: None, lambda: stale.apply(READ_ONLY, policy=REFUSING))
    body = [malware(), customer(), {"type": "x"}]
    assert stale.accepted(*body) == (2, 1)
    assert stale.stored()[2:] == [each["id"] for each in body[:2]]
    assert stale.post(indicator()).status_code == 403


def test_a_portion_in_which_nothing_can_be_stored_settles_nothing(
    stale: Stale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PORTION", 1)
    before = stale.traces()
    stale.in_between(lambda: stale.apply(READ_ONLY))
    assert stale.post({"type": "x"}, indicator()).status_code == 403
    assert stale.traces() == before


def test_a_change_that_comes_while_another_one_is_taken_over_counts_as_well(stale: Stale) -> None:
    before = stale.traces()
    stale.in_between(lambda: stale.apply(place(description="new")), lambda: stale.apply(place(accepts=["2.0"])))
    assert stale.accepted(indicator(), customer()) == (0, 2)
    assert stale.traces()[:3] == before[:3]
