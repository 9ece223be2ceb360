"""Load with a memory: posters that keep what was acknowledged, pollers that keep what they were given, look-ups.

Every client does what a good client does after an error or a broken connection: the same request again.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.client import Address, Client, Tally
from tests.world import LAST, indicator

#: Label of the objects that partner LATE_READER may not read before a grant.
LATE = "late"
LATE_READER = "partner_b"
#: How long posters go on with what was never answered, and pollers look for what they were not given.
SETTLE_S = 60.0
#: A poller that was told so often that there is no more is told the truth, or something is lost.
_IDLE = 50


@dataclass(frozen=True, slots=True)
class Shape:
    """How many clients of which kind. Pollers follow `next`, or only the date header."""

    posters: int = 4
    by_next: int = 2
    by_date: int = 2
    look_ups: int = 1
    #: pollers of a partner that cannot read half of the objects before a grant
    late: int = 0
    limit: int = 40
    largest_body: int = 20
    #: a poster rests this long after each body
    rest_s: float = 0.0

    @property
    def clients(self) -> int:
        return self.posters + self.by_next + self.by_date + self.look_ups + self.late


@dataclass(slots=True)
class Body:
    """One POST: what was in it, when it was first sent, and when it was acknowledged (monotonic; 0: never)."""

    poster: int
    ids: tuple[str, ...]
    begun: float
    acknowledged: float = 0.0


class Posted:
    """The ledger of a run: every body that was sent, in the order of sending of each poster."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.names: dict[str, str] = {}
        self._acknowledged: list[str] = []
        self._lock = threading.Lock()

    def begin(self, poster: int, objects: Sequence[Mapping[str, Any]]) -> Body:
        body = Body(poster, tuple(each["id"] for each in objects), time.monotonic())
        with self._lock:
            self.bodies.append(body)
            self.names.update((each["id"], each["name"]) for each in objects)
        return body

    def acknowledge(self, body: Body) -> None:
        with self._lock:
            body.acknowledged = time.monotonic()
            self._acknowledged += body.ids

    @property
    def count(self) -> int:
        """How many objects are acknowledged."""
        return len(self._acknowledged)

    def acknowledged(self) -> list[str]:
        """Their ids, in the order in which the acknowledgements came."""
        with self._lock:
            return list(self._acknowledged)

    def some(self, random_: random.Random) -> str | None:
        """Any acknowledged id."""
        return random_.choice(self._acknowledged) if self._acknowledged else None


def make(id_: str, name: str) -> dict[str, Any]:
    """The object of this id; a function of both, so that whoever gets it can see whether it is whole."""
    kinds = [LATE] if name.endswith(LATE) else ["early"]
    return indicator(id_, name=name, labels=kinds, description=name * (1 + len(name) % 7))


@dataclass(slots=True)
class Poll:
    """What one poller was given: ids in the order of arrival."""

    partner: str
    by: str
    seen: list[str] = field(default_factory=list)


class Load:
    """Clients on one collection. `where` gives the address for each new connection."""

    def __init__(
        self, where: Callable[[], Address], path: str, tokens: Mapping[str, str], shape: Shape, seed: int
    ) -> None:
        self.shape = shape
        self.posted = Posted()
        self.tally = Tally()
        self.polls: list[Poll] = []
        #: ids that were acknowledged and then not found, or found damaged
        self.missing: list[str] = []
        self.damaged: list[str] = []
        self.errors: list[str] = []
        #: where the server is when nothing stands in between
        self.directly = where
        self._where, self._path, self._tokens, self._seed = where, path, tokens, seed
        self._closing = threading.Event()
        self._posted_all = threading.Event()
        self._deadline = float("inf")
        self._threads: list[threading.Thread] = []
        self._posters: list[threading.Thread] = []

    # ---- life

    def start(self) -> None:
        shape = self.shape
        for number in range(shape.posters):
            self._posters.append(self._begin(self._post, number))
        polls = [("rw", "next")] * shape.by_next + [("admin", "date")] * shape.by_date
        polls += [(LATE_READER, ("next", "date")[number % 2]) for number in range(shape.late)]
        for number, (partner, by) in enumerate(polls):
            poll = Poll(partner, by)
            self.polls.append(poll)
            self._begin(self._poll, poll, number)
        for number in range(shape.look_ups):
            self._begin(self._look_up, number)

    def _begin(self, run: Callable[..., None], *arguments: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                run(*arguments)
            except Exception as error:  # noqa: BLE001 - told at the end; the others go on
                self.errors.append(f"{run.__name__}{arguments}: {error!r}")

        thread = threading.Thread(target=guarded, name=f"{run.__name__}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def wait_for(self, objects: int, timeout_s: float = 60.0) -> None:
        """Return when so many more objects are acknowledged. Raises RuntimeError when that does not happen."""
        wanted = self.posted.count + objects
        deadline = time.monotonic() + timeout_s
        while self.posted.count < wanted:
            if self.errors or time.monotonic() > deadline:
                raise RuntimeError(f"no progress in {timeout_s:g} s: {self.errors or self.tally}")
            time.sleep(0.01)

    def finish(self) -> None:
        """Let posters end what they began, then pollers, and wait for all of them."""
        self._deadline = time.monotonic() + SETTLE_S
        self._closing.set()
        for thread in self._posters:
            thread.join(2 * SETTLE_S)
        self._deadline = time.monotonic() + SETTLE_S
        self._posted_all.set()
        for thread in self._threads:
            thread.join(2 * SETTLE_S)
            if thread.is_alive():
                self.errors.append(f"{thread.name} does not end")

    def client(self, partner: str) -> Client:
        return Client(self._where, self._tokens[partner], self.tally)

    # ---- the clients

    def _post(self, number: int) -> None:
        random_ = random.Random(f"{self._seed}-post-{number}-{self._path}")
        client = self.client("rw")
        sent = 0
        again: bytes | None = None
        while not self._closing.is_set():
            if again is not None and random_.random() < 0.1:
                self._send(client, again, None)  # a repeated POST changes nothing
            objects = []
            for _ in range(random_.randint(1, self.shape.largest_body)):
                late = LATE if self.shape.late and random_.random() < 0.5 else "early"
                id_ = f"indicator--{uuid.UUID(int=random_.getrandbits(128), version=4)}"
                objects.append(make(id_, f"{number}/{sent}/{late}"))
                sent += 1
            body = self.posted.begin(number, objects)
            again = json.dumps({"objects": objects}).encode()
            if not self._send(client, again, body):
                break
            time.sleep(self.shape.rest_s)
        client.close()

    def _send(self, client: Client, content: bytes, body: Body | None) -> bool:
        """Post until it is acknowledged; False when the run is over before."""
        while time.monotonic() < self._deadline:
            answer = client.request("POST", self._path, content)
            if answer is not None and answer.status == 202:
                status = answer.json()
                if status["success_count"] != status["total_count"]:
                    raise AssertionError(f"valid objects are refused: {status}")
                if body is not None:
                    self.posted.acknowledge(body)
                return True
            if answer is not None and answer.status < 500 and answer.status != 429:
                raise AssertionError(f"a valid POST is answered {answer.status}: {answer.body[:300]!r}")
            client.rest(answer)
        return False

    def _poll(self, poll: Poll, number: int) -> None:
        client = self.client(poll.partner)
        after, next_ = "", ""
        got: set[str] = set()
        idle = 0
        while time.monotonic() < self._deadline and idle < _IDLE:
            all_is_there = self._posted_all.is_set()
            query = f"limit={self.shape.limit}&match[version]=all"
            query += f"&added_after={after}" if after else ""
            answer = client.request("GET", f"{self._path}?{query}" + (f"&next={next_}" if next_ else ""))
            if answer is None or answer.status >= 429:
                client.rest(answer)
                continue
            if answer.status != 200:
                raise AssertionError(f"a poll is answered {answer.status}: {answer.body[:300]!r}")
            page = answer.json()
            for each in page.get("objects", []):
                poll.seen.append(each["id"])
                got.add(each["id"])
                self._examine(each)
            next_ = page.get("next", "") if poll.by == "next" else ""
            if not next_:
                # A walk by `next` keeps the added_after with which it began.
                after = answer.headers[LAST.lower()]
            if not page.get("more"):
                if all_is_there and (poll.partner == LATE_READER or got.issuperset(self.posted.acknowledged())):
                    break
                idle += all_is_there
                time.sleep(0.02)
        client.close()

    def _look_up(self, number: int) -> None:
        random_ = random.Random(f"{self._seed}-look-{number}")
        client = self.client("rw")
        while not self._posted_all.is_set():
            id_ = self.posted.some(random_)
            if id_ is None:
                time.sleep(0.02)
                continue
            answer = client.request("GET", f"{self._path}{id_}/")
            if answer is None or answer.status >= 429:
                client.rest(answer)
            elif answer.status == 200 and (found := answer.json().get("objects")):
                self._examine(found[0])
            else:
                self.missing.append(id_)
            time.sleep(0.02)
        client.close()

    def _examine(self, given: Mapping[str, Any]) -> None:
        name = self.posted.names.get(given["id"])
        if name is not None and given != make(given["id"], name):
            self.damaged.append(given["id"])

    # ---- afterwards

    def order(self, partner: str) -> list[tuple[str, str]]:
        """(date_added, id) of everything that the partner reads: the whole collection in its order."""
        client = Client(self.directly, self._tokens[partner], self.tally)
        found: list[tuple[str, str]] = []
        next_ = ""
        deadline = time.monotonic() + SETTLE_S
        path = self._path.replace("/objects/", "/manifest/") + "?limit=1000&match[version]=all"
        while time.monotonic() < deadline:
            answer = client.request("GET", path + (f"&next={next_}" if next_ else ""))
            if answer is None or answer.status >= 429:
                client.rest(answer)
                continue
            page = answer.json()
            found += [(each["date_added"], each["id"]) for each in page.get("objects", [])]
            next_ = page.get("next", "")
            if not next_:
                client.close()
                return found
        raise RuntimeError(f"the collection cannot be read in {SETTLE_S:g} s: {self.tally}")
