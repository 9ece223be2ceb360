"""MongoDB nodes that die, stand still, or hand over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.e2e.server import wait_until
from tests.faults.fault import Fault, Scene
from tests.faults.load import Shape
from tests.faults.servers import SINGLE, THREE
from tests.mongo import Node, ReplicaSet

#: A POST can take 30 s before it is refused; more posters than threads would only queue.
_SHAPE = Shape(posters=4, by_next=2, by_date=2, look_ups=2)


def kill_primary(scene: Scene) -> None:
    """kill -9 of the primary, another one is elected; the dead one comes back and catches up."""
    for primary in _primaries(scene):
        begun = time.monotonic()
        primary.kill()
        _note_when_acknowledged(scene, begun)
        primary.start()
        scene.load.wait_for(50)


def pause_primary(scene: Scene) -> None:
    """SIGSTOP of the primary for longer than an election takes, then SIGCONT: it must not believe that it still is."""
    for primary in _primaries(scene):
        begun = time.monotonic()
        primary.pause()
        try:
            _note_when_acknowledged(scene, begun)
            time.sleep(max(0.0, begun + 2 * scene.site.election_s - time.monotonic()))
        finally:
            primary.resume()
        scene.load.wait_for(200)


def step_down(scene: Scene) -> None:
    """replSetStepDown: the primary hands over, connections and transactions of it end."""
    three = _three(scene)
    for _ in range(scene.either(2, 6)):
        time.sleep(scene.pause())
        primary = three.primary()
        with (
            MongoClient[dict[str, object]](primary.address, directConnection=True) as client,
            suppress(PyMongoError),  # it may close the connection before it has answered
        ):
            client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=2, force=True)
        scene.load.wait_for(50)


def kill_single(scene: Scene) -> None:
    """kill -9 of the only node; started again on its files."""
    node = _single(scene)
    for _ in range(scene.either(1, 4)):
        time.sleep(scene.pause())
        node.kill()
        time.sleep(scene.pause())
        node.start()
        scene.load.wait_for(50)


def pause_single(scene: Scene) -> None:
    """SIGSTOP of the only node, SIGCONT later."""
    node = _single(scene)
    node.pause()
    try:
        time.sleep(scene.either(3, 45))
    finally:
        node.resume()
    _note_when_acknowledged(scene, time.monotonic())
    refused = scene.load.tally.refused
    time.sleep(scene.either(0, 20))
    scene.notes.append(f"{scene.load.tally.refused - refused} refusals after that")


def _primaries(scene: Scene) -> Iterator[Node]:
    """The primary of the moment, some times; whoever was struck follows again before the next one is."""
    three = _three(scene)
    for _ in range(scene.either(1, 3)):
        time.sleep(scene.pause())
        primary = three.primary()
        yield primary
        wait_until(lambda p=primary: _is_settled(p), 60, "the struck node follows again")


def _note_when_acknowledged(scene: Scene, begun: float) -> None:
    scene.load.wait_for(50)
    scene.notes.append(f"acknowledged again after {time.monotonic() - begun:.1f} s")


def _three(scene: Scene) -> ReplicaSet:
    assert scene.site.three is not None
    return scene.site.three


def _single(scene: Scene) -> Node:
    assert scene.site.single is not None
    return scene.site.single


def _is_settled(node: Node) -> bool:
    """Whether the node is a primary or a secondary that has what the others have."""
    try:
        with MongoClient[dict[str, object]](
            node.address, directConnection=True, serverSelectionTimeoutMS=2000, socketTimeoutMS=2000
        ) as client:
            return client.admin.command("replSetGetStatus")["myState"] in (1, 2)
    except PyMongoError:
        return False


FAULTS = [
    Fault("kill -9 of the primary", (THREE,), kill_primary, _SHAPE),
    Fault("primary stopped past an election", (THREE,), pause_primary, _SHAPE),
    Fault("primary steps down", (THREE,), step_down, _SHAPE),
    Fault("kill -9 of the only mongod", (SINGLE,), kill_single, _SHAPE, quick=()),
    Fault("only mongod stands still", (SINGLE,), pause_single, _SHAPE, quick=()),
]
