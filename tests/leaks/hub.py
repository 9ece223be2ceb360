"""A hub whose clock, steps, secret and status times are fixed, so that two of them can be compared byte for byte."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from werkzeug.test import TestResponse

from taxii_server.app import create_app
from taxii_server.auth.secrets import new_token
from taxii_server.model import POSITION_UNIT
from taxii_server.service.hub import Hub
from taxii_server.storage.base import Store
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.world import MT, World

#: 2026-01-01T00:00:00Z; every scripted act is ten milliseconds after the one before.
EPOCH_US = 1_767_225_600_000_000
TICK_US = 10_000
_SECRET = bytes(range(32))
_VOLATILE_HEADERS = frozenset({"date"})

Value = dict[str, Any]


class Clock:
    """The time of one hub, in µs. Acts set it by their number, whether or not an act before them took place."""

    def __init__(self) -> None:
        self.now = EPOCH_US

    def __call__(self) -> int:
        return self.now

    def at(self, act: int) -> None:
        """It is now the time of this act."""
        self.now = EPOCH_US + act * TICK_US


class LeakHub(World):
    """One hub for leak hunts: `texts` are its policy, partners and collections."""

    def __init__(self, folder: Path, texts: Texts, mongo_url: str | None = None, settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clock = Clock()
        server = f'title = "Hub"\n{settings}\n[api_roots.api1]\ntitle = "One"\n[api_roots.api2]\ntitle = "Two"\n'
        url = mongo_url or str(folder / "hub.sqlite")
        self.settings = self._write(folder, texts.policy, texts.partners, texts.collections, server, url)
        self.store: Store = self._open(url, is_mongo=mongo_url is not None)
        self.store.prepare()
        self.hub = Hub(self.settings, self.store)
        self.apply()
        self.tokens = {}
        for partner in self.hub.snapshot.catalog.policy.audiences:
            credential, secret = new_token(partner)
            self.store.save_credential(credential)
            self.tokens[partner] = secret
        self.app = create_app(self.settings, self.store, background=False)
        self.client = self.app.test_client()
        #: status ids of the posts so far, by the number of the act
        self.statuses: dict[int, str] = {}

    def _open(self, url: str, *, is_mongo: bool) -> Store:
        store = MongoStore(url, now=self.clock) if is_mongo else SQLiteStore(url, now=self.clock)
        store.secret = lambda: _SECRET  # type: ignore[method-assign]
        return store

    def apply(self, policy: str | None = None) -> None:
        """As World.apply, with foreseeable steps: a change of policy takes a place in the order, too."""
        with _fixed(self.clock):
            super().apply(policy)

    def request(self, *arguments: Any, **more: Any) -> TestResponse:
        """As World.request, under this hub's clock and with foreseeable steps."""
        with _fixed(self.clock):
            answer = super().request(*arguments, **more)
        if answer.status_code == 500:
            # Not an assertion: a hub that breaks down must not pass for one that is wrong on purpose.
            raise RuntimeError(f"the server failed: {arguments}")
        return answer

    def act(self, number: int, act: Act) -> TestResponse:
        """Do what the act says, at its time. Every object of a post has to be stored."""
        self.clock.at(number)
        if act.delete is not None:
            answer = self.delete(f"/api1/collections/{act.into}/objects/{act.delete}/", act.partner)
            assert answer.status_code == 200, (act, answer.text)
            return answer
        answer = self.post(list(act.objects), act.partner, act.into)
        assert answer.status_code == 202, (act, answer.text)
        assert not answer.json.get("failures"), (act, answer.text)
        self.statuses[number] = answer.json["id"]
        return answer


@dataclass(frozen=True)
class Texts:
    """The configuration of a hub."""

    policy: str
    partners: str
    collections: Mapping[str, str]


@dataclass(frozen=True)
class Act:
    """Something that a partner does before the comparison: a post, or the deletion of an object."""

    partner: str
    into: str
    objects: tuple[Value, ...] = ()
    delete: str | None = None


@contextmanager
def _fixed(clock: Clock) -> Iterator[None]:
    """Steps between positions drawn from the clock, and the time of requests taken from it."""

    def steps(count: int) -> list[int]:
        return random.Random(clock.now).choices((1, 2, 3), k=count)

    choices = SimpleNamespace(choices=lambda _steps, k: [POSITION_UNIT * step for step in steps(k)])
    tokens = SimpleNamespace(token_bytes=lambda count: bytes(step - 1 for step in steps(count)))
    with ExitStack() as stack:
        stack.enter_context(patch("taxii_server.storage.positions.secrets", tokens))
        stack.enter_context(patch("taxii_server.storage.bands._random", choices))
        stack.enter_context(patch("taxii_server.service.visit.now_position", clock))
        yield


@dataclass(frozen=True)
class Answer:
    """All of a response that its receiver gets to see, except what is new in each response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer_of(response: TestResponse) -> Answer:
    """The comparable part: no Date, and one constant for `error_id`, the id of a status, the id and time of a token."""
    body = response.get_data()
    if (response.mimetype or "").endswith("json") and body:
        parsed = json.loads(body)
        fresh = parsed.get("error_id") or (parsed.get("id") if "request_timestamp" in parsed else None)
        if fresh is not None:
            uuid.UUID(fresh)
            body = body.replace(fresh.encode(), b"0" * 36)
        credential = parsed.get("credential")
        if credential is not None:
            # Tokens are new on every hub.
            for fact in (credential["id"], credential["created"]):
                body = body.replace(fact.encode(), b"0" * len(fact))
    headers = tuple((name, value) for name, value in response.headers if name.lower() not in _VOLATILE_HEADERS)
    return Answer(response.status_code, headers, body)


class Pair:
    """The same hub twice: `full` with everything, `bare` without what the audience may not read."""

    def __init__(self, full: LeakHub, bare: LeakHub, audience: str) -> None:
        self.full, self.bare, self.audience = full, bare, audience
        self._acts = 10_000
        self.asked = 0

    def ask(self, method: str, path: str, **more: Any) -> Answer:
        """The answer of both, which has to be the same one."""
        return self.compare(f"{method} {path}", lambda hub: hub.request(method, path, self.audience, **more))

    def get(self, path: str, **more: Any) -> Answer:
        """GET from both."""
        return self.ask("GET", path, **more)

    def post(self, into: str, *objects: Value | bytes) -> Answer:
        """A post of the audience."""
        body = json.dumps({"objects": list(objects)}).encode()
        path = f"/api1/collections/{into}/objects/"
        return self.ask("POST", path, data=body, headers={"Content-Type": MT})

    def compare(self, what: str, ask: Callable[[LeakHub], TestResponse]) -> Answer:
        """What `ask` gets from both hubs, at the same time on both."""
        self._acts += 1
        self.asked += 1
        answers = []
        for hub in (self.full, self.bare):
            hub.clock.at(self._acts)
            answers.append(answer_of(ask(hub)))
        full, bare = answers
        assert full == bare, (
            f"{self.audience}: {what}\nwith the hidden objects:    {full}\nwithout the hidden objects: {bare}"
        )
        return full

    def walk(self, path: str, limit: int = 3) -> list[Answer]:
        """All pages, following `next`."""
        mark = "&" if "?" in path else "?"
        pages = [self.get(f"{path}{mark}limit={limit}")]
        while pages[-1].status == 200 and pages[-1].json.get("more"):
            pages.append(self.get(f"{path}{mark}limit={limit}&next={pages[-1].json['next']}"))
        return pages

    def walk_dates(self, path: str, limit: int = 3) -> list[Answer]:
        """All pages, following X-TAXII-Date-Added-Last."""
        mark = "&" if "?" in path else "?"
        pages = [self.get(f"{path}{mark}limit={limit}")]
        while pages[-1].status == 200 and pages[-1].json.get("more"):
            after = dict(pages[-1].headers)["X-TAXII-Date-Added-Last"]
            pages.append(self.get(f"{path}{mark}limit={limit}&added_after={after}"))
        return pages
