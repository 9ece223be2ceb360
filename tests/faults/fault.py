"""A fault as data, and one run of it: load, the fault in the middle of it, and the comparison afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.check import Outcome, judge
from tests.faults.client import Address
from tests.faults.load import Load, Shape
from tests.faults.servers import Site, open_site

SHAPE = Shape()


@dataclass(slots=True)
class Scene:
    """One run: what is struck, under which load. Everything random comes from the seed."""

    site: Site
    load: Load
    random: random.Random
    #: for the reader of the table
    notes: list[str] = field(default_factory=list)
    #: looked at when the load has ended; may add to the outcome
    afterwards: list[Callable[[Outcome], None]] = field(default_factory=list)

    @property
    def long(self) -> bool:
        return self.site.long

    def either(self, short: int, long: int) -> int:
        """How often, in this form."""
        return long if self.long else short

    def pause(self, most_s: float = 0.4) -> float:
        """A moment that no client is prepared for."""
        return self.random.uniform(0.0, most_s)


@contextmanager
def _directly(site: Site) -> Iterator[Callable[[], Address]]:
    yield site.where


@contextmanager
def _whole(site: Site) -> Iterator[None]:
    yield


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, on which stores, and under which load. `strike` returns when the fault is over."""

    name: str
    kinds: tuple[str, ...]
    strike: Callable[[Scene], None]
    shape: Shape = SHAPE
    #: the kinds of the short form; None: all
    quick: tuple[str, ...] | None = None
    #: opens a site for this fault alone
    site: Callable[..., AbstractContextManager[Site]] | None = None
    #: where the clients connect to while it lasts
    route: Callable[[Site], AbstractContextManager[Callable[[], Address]]] = _directly
    #: what surrounds the load
    around: Callable[[Site], AbstractContextManager[object]] = _whole

    def kinds_of(self, long: bool) -> tuple[str, ...]:
        return self.kinds if long or self.quick is None else self.quick

    @contextmanager
    def open(self, kind: str, folder: Path, *, long: bool) -> Iterator[Site]:
        """A site of this fault's own."""
        with (self.site or open_site)(kind, folder, long=long) as site:
            yield site


def run(fault: Fault, site: Site, seed: int) -> Outcome:
    """One run. Never raises for what the server does: that is in the outcome, with the seed."""
    server = site.server
    tokens = {name: server.token(name) for name in ("rw", "admin", "partner_b")}
    path = f"/api2/collections/{site.lane()}/objects/"
    with fault.around(site), fault.route(site) as where:
        load = Load(where, path, tokens, fault.shape, seed)
        load.directly = site.where
        scene = Scene(site, load, random.Random(seed))
        errors: list[str] = []
        load.start()
        try:
            load.wait_for(100)
            fault.strike(scene)
            load.wait_for(100)
        except Exception as error:  # noqa: BLE001 - part of the outcome
            errors.append(f"{fault.name} on {site.kind}, seed {seed}: {error!r}")
        finally:
            load.finish()
        # The policy of the run is still in force, and its servers are still there.
        outcome = _judge(scene, errors)
    outcome.notes += scene.notes
    if not outcome.clean:
        outcome.notes.append(f"seed {seed}; the end of the log without what is usual:\n{_unusual(server.stderr())}")
    return outcome


def _unusual(log: str) -> str:
    lines = [line for line in log.splitlines() if " INFO taxii_server." not in line]
    return "\n".join(line[:300] for line in lines[-80:])


def _judge(scene: Scene, errors: list[str]) -> Outcome:
    try:
        outcome = judge(scene.load)
        for look in scene.afterwards:
            look(outcome)
    except Exception as error:  # noqa: BLE001 - part of the outcome
        return Outcome(errors=[*errors, *scene.load.errors, f"the outcome cannot be read: {error!r}"])
    outcome.errors += errors
    return outcome
