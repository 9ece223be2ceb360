"""Hubs for the web tests.

Making a hub costs a third of a second, so most tests share one and keep out of each other's way:

* `hub`: the fixtures of the checklist. Tests may post to RW, WO and ALIAS objects with ids of their own; EMPTY stays
  empty, and LIBRARY holds FT6 and MIX, which nobody changes.
* `room`: an empty collection for one test alone, in a hub with many of them.
* `make_hub`: a hub for one test alone, with settings, a policy or collections of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.web.data import MIX
from tests.web.rooms import LIBRARY, InspectedWorld, MakeHub, Room
from tests.world import COLLECTIONS, FT6, World, collection

_ROOMS_PER_HUB = 120


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The fixtures of the checklist behind a Flask client."""
    library = collection(LIBRARY, "Library", readers=["ro"], writers=["admin"], accepts=["2.0", "2.1"])
    made = InspectedWorld(tmp_path_factory.mktemp("hub"), collections=COLLECTIONS | {"library": library})
    assert made.post(FT6, "admin", LIBRARY).json["failure_count"] == 0
    status = made.post(MIX, "admin", LIBRARY).json
    assert status["failure_count"] == 0, status
    yield made
    made.close()


@pytest.fixture(scope="session")
def free_rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Room]]:
    """Collections that no test has used yet."""
    with ExitStack() as stack:

        def rooms() -> Iterator[Room]:
            while True:
                ids = [str(uuid.uuid4()) for _ in range(_ROOMS_PER_HUB)]
                made = InspectedWorld(
                    tmp_path_factory.mktemp("rooms"),
                    collections={f"room-{id_}": _room(id_) for id_ in ids},
                )
                stack.callback(made.close)
                yield from (Room(made, id_) for id_ in ids)

        yield rooms()


def _room(id_: str) -> str:
    return collection(
        id_,
        f"Room {id_}",
        readers=["rw", "partner_b", "ro"],
        writers=["rw", "partner_b", "wo"],
        accepts=["2.0", "2.1"],
    )


@pytest.fixture
def room(free_rooms: Iterator[Room]) -> Room:
    """An empty collection for this test alone."""
    return next(free_rooms)


@pytest.fixture
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHub]:
    """Makes hubs for this test alone; arguments as World takes them."""
    with ExitStack() as stack:

        def make(**more: Any) -> InspectedWorld:
            made = InspectedWorld(tmp_path_factory.mktemp("own"), **more)
            stack.callback(made.close)
            return made

        yield make
