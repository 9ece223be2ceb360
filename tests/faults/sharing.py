"""Several servers on one database, and a policy that changes while everybody reads and writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.check import Outcome, late_ones
from tests.faults.fault import Fault, Scene
from tests.faults.load import LATE, LATE_READER, Shape
from tests.faults.servers import SINGLE, SQLITE, THREE, Site, SteppedServer
from tests.world import OPEN_POLICY

#: LATE_READER does not read half of what is posted.
CLOSED = f"""{OPEN_POLICY}
[[forbid]]
id = "not-yet"
to = {{ audience = "{LATE_READER}" }}
what = {{ label = "{LATE}" }}
"""
#: The same, with a word that the vocabulary does not know: records are labelled anew under load.
_FINER = CLOSED + '\n[[forbid]]\nid = "never-seen"\nto = { audience = "nn" }\nwhat = { label = "new-WORD" }\n'


def apply(server: SteppedServer, policy: str) -> None:
    (server.folder / "config/policy.toml").write_text(policy)
    server.cli("reload")


@contextmanager
def closed_at_first(site: Site) -> Iterator[None]:
    apply(site.server, CLOSED)
    try:
        yield
    finally:
        apply(site.server, OPEN_POLICY)


@contextmanager
def two_servers(site: Site) -> Iterator[None]:
    """A second server with a clock that is late."""
    with closed_at_first(site), site.second() as other:
        apply(other, CLOSED)
        other.step(-7.0)
        yield


def grant(scene: Scene) -> None:
    """In the middle of its walks LATE_READER is granted what lies behind it."""
    server = scene.site.servers[-1]
    time.sleep(scene.pause() + scene.either(0, 3))
    if scene.long:
        apply(server, _FINER.replace("WORD", str(scene.random.randrange(10**6))))
        scene.load.wait_for(100)
    apply(server, OPEN_POLICY)
    scene.load.wait_for(100 if not scene.long else 1000)

    def everything_was_granted(outcome: Outcome) -> None:
        read = {id_ for _, id_ in scene.load.order(LATE_READER)}
        late = late_ones(scene.load)
        outcome.lost += len(late - read)
        outcome.notes.append(f"{len(late)} objects granted late or after the grant")
        if not late:
            outcome.errors.append("nothing needed a grant")

    scene.afterwards.append(everything_was_granted)


_SHAPE = Shape(posters=4, by_next=1, by_date=1, look_ups=1, late=4)

FAULTS = [
    Fault("late grant in mid-walk", (SQLITE, SINGLE, THREE), grant, _SHAPE, around=closed_at_first, quick=()),
    Fault("two servers, reload", (SQLITE, SINGLE, THREE), grant, _SHAPE, around=two_servers, quick=(SQLITE, THREE)),
]
