"""A hub and the model side by side: whatever two partners post, read, page, delete and ask, both say the same.

Read in three ways besides: a view of the collection shows what the collection shows; a client that polls with
added_after has, after each poll, everything that it may read; and what was read before stays byte for byte the same.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from werkzeug.test import TestResponse

from tests.fuzz.model import AUDIENCES, LEVELS, OWN, PARTNERS, POLICY, SHARED, VERSIONS, Model, Post, Query
from tests.world import FIRST, LAST, World, collection

_ROOMS = 60
#: The middle of every id of the model. In a room another one takes its place: versions of an id are compared over all
#: collections of a hub, and no room may know of another.
_ANYWHERE = "-0000-4000-8000-00000000"
_EPOCH = "1970-01-01T00:00:00.000000Z"
EVERY = Query(versions=("all",))

partners = st.sampled_from(PARTNERS)
ids = st.sampled_from([*OWN["alice"], *OWN["bob"], *SHARED, *SHARED])


def _some(values: Any, most: int = 3) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(values, min_size=1, max_size=most, unique=True).map(tuple)


choices = (
    st.none()
    | st.just(("all",))
    | st.just(("first",))
    | st.lists(st.sampled_from(["first", "last", *VERSIONS]), min_size=1, max_size=3, unique=True).map(tuple)
)
specs = st.sampled_from([None, None, None, ("2.1",), ("2.0",), ("2.0", "2.1")])
queries = st.builds(Query, ids=_some(ids), types=_some(st.sampled_from(["indicator", "malware"]), 2), versions=choices,
                    specs=specs)  # fmt: skip
limits = st.sampled_from([None, 1, 2, 3, 5])


@st.composite
def posts(draw: st.DrawFn) -> tuple[str, list[Post]]:
    """A partner and what it posts: its own ids and the shared ones, few enough to meet again."""
    partner = draw(partners)
    one = st.builds(
        Post,
        id=st.sampled_from([*OWN[partner], *SHARED, *SHARED]),
        version=st.sampled_from(VERSIONS),
        level=st.sampled_from(LEVELS),
        secret=st.sampled_from([False, False, False, True]),
        name=st.sampled_from(["one", "one", "one", "\u00e9\U0001f480"]),
    )
    return partner, draw(st.lists(one, min_size=1, max_size=5))


class Rooms:
    """Collections that no run has used yet, each with a view of it, on one store."""

    def __init__(self, folder: Path, store: str | None) -> None:
        self._folder, self._store = folder, store
        self._worlds: list[World] = []
        self._free: Iterator[tuple[World, str, str]] = iter(())

    def take(self) -> tuple[World, str, str]:
        """A hub, a collection in it, and a view of that."""
        for room in self._free:
            return room
        self._free = self._more()
        return next(self._free)

    def _more(self) -> Iterator[tuple[World, str, str]]:
        files, rooms = {}, []
        for number in range(_ROOMS):
            box, view = str(uuid.uuid4()), str(uuid.uuid4())
            both = list(PARTNERS)
            files[f"box-{number}"] = collection(
                box, f"Box {number}", readers=both, writers=both, accepts=["2.0", "2.1"]
            )
            files[f"view-{number}"] = collection(
                view, f"View {number}", readers=both, sources=[f"box-{number}"], accepts=["2.0", "2.1"]
            )
            rooms.append((box, view))
        for world in self._worlds:
            world.close()
        folder = self._folder / str(len(self._worlds))
        folder.mkdir()
        world = World(folder, self._store, policy=POLICY, partners=AUDIENCES, collections=files)
        self._worlds.append(world)
        for box, view in rooms:
            yield world, box, view

    def close(self) -> None:
        if self._worlds:
            self._worlds[-1].close()


class Answer:
    """An answer with the ids of the model in it."""

    def __init__(self, answer: TestResponse, here: str) -> None:
        self.status_code, self.headers = answer.status_code, answer.headers
        self.text = answer.text.replace(here, _ANYWHERE)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class HubAndModel(RuleBasedStateMachine):
    """Every rule does the same to both and compares; after each step both partners read everything."""

    rooms: Rooms

    @initialize(first=st.lists(posts(), min_size=3, max_size=6))
    def begin(self, first: list[tuple[str, list[Post]]]) -> None:
        self.world, self.box, self.view = self.rooms.take()
        self.here = f"-{self.box[:4]}-4000-8000-{self.box[24:32]}"
        self.model = Model()
        self.statuses: list[tuple[str, dict[str, Any]]] = []
        #: what a poller of each partner has got and may still read, and where it stands
        self.polled: dict[str, set[tuple[str, str]]] = {partner: set() for partner in PARTNERS}
        self.after: dict[str, str] = dict.fromkeys(PARTNERS, _EPOCH)
        #: what everybody reads now: (id, version) -> date_added, in order
        self.dates: dict[str, dict[tuple[str, str], str]] = {partner: {} for partner in PARTNERS}
        for each in first:
            self._post(*each)

    # ---- writing

    @rule(what=posts())
    def post(self, what: tuple[str, list[Post]]) -> None:
        self._post(*what)

    def _post(self, partner: str, objects: list[Post]) -> None:
        body = json.dumps({"objects": [each.text() for each in objects]}).replace(_ANYWHERE, self.here)
        answer = Answer(self.world.post(body.encode(), partner, self.box), self.here)
        assert answer.status_code == 202, answer.text
        status = answer.json
        expected = self.model.post(partner, objects)
        details = {"stored": [], "failure": []}
        details["stored"] = [each for each, what in zip(objects, expected, strict=True) if what != "failure"]
        details["failure"] = [each for each, what in zip(objects, expected, strict=True) if what == "failure"]
        assert (status["success_count"], status["failure_count"]) == tuple(map(len, details.values())), status
        for key, found in zip(("successes", "failures"), details.values(), strict=True):
            assert [(each["id"], each["version"]) for each in status.get(key, [])] == [
                (each.id, each.version) for each in found
            ]
        present = [each.get("message") == "already present" for each in status.get("successes", [])]
        assert present == [what == "already present" for what in expected if what != "failure"]
        assert all("other content" in each["message"] for each in status.get("failures", []))
        self.statuses.append((partner, status))
        self._forget()

    @rule(partner=partners, id_=ids, versions=choices, spec=specs)
    def delete(self, partner: str, id_: str, versions: tuple[str, ...] | None, spec: tuple[str, ...] | None) -> None:
        query = Query(versions=versions, specs=spec)
        path = f"/api1/collections/{self.box}/objects/{id_}/?{query.text()}".replace(_ANYWHERE, self.here)
        answer = self.world.delete(path, partner)
        assert answer.status_code == self.model.delete(partner, id_, query), answer.text
        self._forget()

    def _forget(self) -> None:
        """What nobody can read any more has to be delivered again when it comes back."""
        for partner, got in self.polled.items():
            got &= {(post.id, post.version) for post in self.model.readable(partner)}

    # ---- reading

    @rule(partner=partners, some=st.lists(queries, min_size=2, max_size=5), limit=limits, since=st.integers(0, 12),
          resource=st.sampled_from(["objects", "manifest"]), through_view=st.booleans())  # fmt: skip
    def read(
        self, partner: str, some: list[Query], limit: int | None, since: int, resource: str, through_view: bool
    ) -> None:
        after = self._instant(partner, since)
        for query in some:
            expected = self.model.found(partner, query)
            found = self._walk(partner, resource, query, limit, after, of=self.view if through_view else self.box)
            assert found == self._in_order(partner, expected, after)

    @rule(partner=partners, id_=ids, versions=choices, spec=specs, limit=limits, since=st.integers(0, 12))
    def read_object(
        self, partner: str, id_: str, versions: tuple[str, ...] | None, spec: tuple[str, ...] | None,
        limit: int | None, since: int,
    ) -> None:  # fmt: skip
        query = Query(versions=versions, specs=spec)
        if self.model.object_status(partner, id_, versions) == 404:
            assert self._get(partner, f"objects/{id_}/?{query.text()}").status_code == 404
            return
        expected = self.model.found(partner, Query((id_,), None, versions, spec))
        after = self._instant(partner, since)
        found = self._walk(partner, f"objects/{id_}", query, limit, after)
        assert found == self._in_order(partner, expected, after)

    @rule(partner=partners, id_=ids, spec=specs, limit=limits)
    def read_versions(self, partner: str, id_: str, spec: tuple[str, ...] | None, limit: int | None) -> None:
        if self.model.object_status(partner, id_, ("all",)) == 404:
            assert self._get(partner, f"objects/{id_}/versions/").status_code == 404
            return
        expected = self.model.found(partner, Query((id_,), None, ("all",), spec))
        found = self._walk(partner, f"objects/{id_}/versions", Query(specs=spec), limit, None)
        assert found == [version for id_, version in self.dates[partner] if (id_, version) in expected]

    @precondition(lambda self: self.statuses)
    @rule(data=st.data(), partner=partners)
    def status(self, data: st.DataObject, partner: str) -> None:
        owner, status = data.draw(st.sampled_from(self.statuses))
        answer = Answer(self.world.get(f"/api1/status/{status['id']}/", partner), self.here)
        assert answer.status_code == (200 if partner == owner else 404)
        assert partner != owner or answer.json == status

    @rule(partner=partners, limit=limits)
    def poll(self, partner: str, limit: int | None) -> None:
        """A client that keeps X-TAXII-Date-Added-Last: what it lacks afterwards, it would lack for ever."""
        path = f"objects/?match[version]=all&limit={limit or 100}&added_after="
        while True:
            answer = self._get(partner, path + self.after[partner])
            got = [(each["id"], each["modified"]) for each in answer.json.get("objects", [])]
            self.polled[partner] |= set(got)
            self.after[partner] = answer.headers[LAST]
            if not answer.json.get("more"):
                break
            assert got
        # Who posts under an id that somebody else uses brings nothing of the other's into sight: see reopening.py.
        lost = {key for key in self.dates[partner] if key not in self.polled[partner] and key[0] not in SHARED}
        assert not lost, lost

    @rule(partner=partners, token=st.sampled_from(["x", "A" * 200, "\u00e9"]), limit=limits)
    def ask_nonsense(self, partner: str, token: str, limit: int | None) -> None:
        for query in (f"next={token}", "limit=0", "added_after=never", "match[version]=all,first"):
            assert self._get(partner, f"objects/?{query}").status_code == 400

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        for partner in PARTNERS:
            posts = self.model.readable(partner)
            records = self._get(partner, "manifest/?match[version]=all").json.get("objects", [])
            dates = {(each["id"], each["version"]): each["date_added"] for each in records}
            assert list(dates.values()) == sorted(set(dates.values()))
            assert set(dates) == {(post.id, post.version) for post in posts}
            for key, date in dates.items():
                # Save what a partner posted itself, and deleted: there what another one posted before shows again.
                assert key[0] in SHARED or date >= self.dates[partner].get(key, ""), "moved back"
            texts = {(post.id, post.version): post.text() for post in posts}
            served = self._get(partner, "objects/?match[version]=all").json.get("objects", [])
            assert served == [texts[key] for key in dates]
            self.dates[partner] = dates

    # ---- requests

    def _get(self, partner: str, tail: str, of: str | None = None) -> Answer:
        path = f"/api1/collections/{of or self.box}/{tail}".replace(_ANYWHERE, self.here)
        return Answer(self.world.get(path, partner), self.here)

    def _in_order(self, partner: str, keys: set[tuple[str, str]], after: str | None) -> list[tuple[str, str]]:
        return [key for key, date in self.dates[partner].items() if key in keys and date > (after or "")]

    def _instant(self, partner: str, number: int) -> str | None:
        """None, or the date_added of something that the partner reads, in turns."""
        dates = [None, *self.dates[partner].values()]
        return dates[number % len(dates)]

    def _walk(
        self, partner: str, resource: str, query: Query, limit: int | None, after: str | None, of: str | None = None
    ) -> list[Any]:
        """Every item, by way of `next`; each page full but the last, its headers those of its items."""
        parts = [query.text(), f"limit={limit}" if limit else "", f"added_after={after}" if after else ""]
        path = f"{resource}/?{'&'.join(filter(None, parts))}"
        dates = self.dates[partner]
        found: list[Any] = []
        while True:
            answer = self._get(partner, path, of)
            assert answer.status_code == 200, answer.text
            page = answer.json
            if resource.endswith("/versions"):
                items = page.get("versions", [])
                at = [dates[resource.split("/")[1], each] for each in items]
            else:
                items = [(each["id"], each.get("modified", each.get("version"))) for each in page.get("objects", [])]
                at = [dates[each] for each in items]
            first, last = (at[0], at[-1]) if at else (after or _EPOCH,) * 2
            assert (answer.headers[FIRST], answer.headers[LAST]) == (first, last)
            found += items
            assert ("next" in page) == bool(page.get("more"))
            if not page.get("more"):
                assert limit is None or len(items) <= limit
                return found
            assert len(items) == limit
            # A token carries its query, unless that is long: docs/taxii.md.
            beside = f"&{query.text()}" if len(query.text()) > 100 else ""
            path = f"{resource}/?limit={limit}&next={page['next']}{beside}"


def run(folder: Path, store: str | None, examples: int, steps: int, seed_: int, *, shrink: bool = True) -> None:
    """So many stories of so many steps. Raises the first failure, made small, with the seed in a note."""
    rooms = Rooms(folder, store)
    machine = type("Machine", (HubAndModel,), {"rooms": rooms})
    try:
        run_state_machine_as_test(
            seed(seed_)(machine),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
                print_blob=False,
            ),
        )
    except BaseException as error:
        error.add_note(f"state machine, seed {seed_}")
        raise
    finally:
        rooms.close()
