"""Our hub on each store, in this process, and what its mirrors need."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from taxii_server.mirror.run import Report, Surroundings
from taxii_server.mirror.running import job_of
from taxii_server.mirror.schema import Mirror, make_mirror
from tests.e2e.server import lanes
from tests.mongo import with_database
from tests.world import COLLECTIONS, World, world

LANES = 60


class Hub:
    """A hub whose collections lane-0, lane-1 ... belong to one test each; rw, admin and partner_b read and write."""

    def __init__(self, made: World, folder: Path) -> None:
        self.world = made
        self.folder = folder
        self._lanes = itertools.count()

    def lane(self) -> int:
        """The number of a collection that no other test uses."""
        return next(self._lanes)

    def mirror(self, kind: str, url: str, lane: int, **values: Any) -> Mirror:
        """A mirror between this URL and a lane, as admin and without a pause worth speaking of."""
        given = {"url": url, "collection": f"lane-{lane}", "partner": "admin", "overlap_s": 0, "attempts": 3} | values
        return make_mirror("test", kind, given, self.folder, "test")

    def run(self, mirror: Mirror, *, from_start: bool = False, **more: Any) -> Report:
        """One run of it."""
        return job_of(self.world.hub, mirror, Surroundings(**more.pop("around", {})), **more).run(from_start=from_start)

    def pull(self, url: str, lane: int, **values: Any) -> Report:
        return self.run(self.mirror("pull", url, lane, **values))

    def stored(self, lane: int, partner: str = "rw", query: str = "") -> dict[str, dict[str, Any]]:
        """What the lane shows, by id."""
        of = self.world.hub.snapshot.catalog.collections[f"lane-{lane}"].id
        found = self.world.walk(partner, of, query=query, limit=1000, root="api2")
        return {each["id"]: each for each in found}


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Our hub on each store."""
    yield from _hub(request, tmp_path_factory, mongodb=request.param == "mongodb")


@pytest.fixture(scope="module")
def small_hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Our hub on SQLite, where the store does not matter."""
    yield from _hub(request, tmp_path_factory, mongodb=False)


def _hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, *, mongodb: bool) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    name = f"taxii_mirror_{uuid.uuid4().hex[:16]}"
    uri = request.getfixturevalue("mongo_uri") if mongodb else ""
    with world(folder, with_database(uri, name) if mongodb else None, collections=COLLECTIONS | lanes(LANES)) as made:
        yield Hub(made, folder)
    if mongodb:
        with MongoClient[dict[str, object]](uri) as client:
            client.drop_database(name)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are as short as can be."""
    none: Callable[[int], float] = lambda attempt: 0.001  # noqa: E731
    monkeypatch.setattr("taxii_server.mirror.connection.pause_s", none)
