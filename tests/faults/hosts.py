"""What the host does to a server: a full disk, a clock that steps, too many clients."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.server import wait_until
from tests.faults.fault import Fault, Scene
from tests.faults.load import Shape
from tests.faults.servers import SINGLE, SQLITE, THREE, Site, open_site

_SIZE_MB = {SQLITE: 24, SINGLE: 400}
_FILLER = "filler"
#: Memory that a worker may gain under load: caches of labels and pages in flight, not one client's share of anything.
MAY_GROW_MB = 80.0


# ---- a full disk


@contextmanager
def small_disk(kind: str, folder: Path, *, long: bool) -> Iterator[Site]:
    """A site whose database lies on a small file system of its own, if this process may mount one."""
    data = folder / "disk"
    data.mkdir(parents=True)
    size = f"size={_SIZE_MB[kind]}m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", data], check=False, capture_output=True)
    try:
        with open_site(kind, folder, long=long, data=data) as site:
            yield site
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", data], check=True)


def fill_disk(scene: Scene) -> None:
    """No room for a while: everything is refused or done whole, and goes on when there is room again."""
    for _ in range(scene.either(1, 5)):
        time.sleep(scene.pause())
        refused = scene.load.tally.refused
        with _full(scene):
            wait_until(lambda r=refused: scene.load.tally.refused > r + 5, 60, "refusals")
            time.sleep(scene.pause(2.0))
            node = scene.site.single
            if node is not None:
                wait_until(lambda n=node: not n.is_running(), 60, "the end of mongod")
        if scene.site.single is not None:
            scene.site.single.start()
        scene.load.wait_for(50)


@contextmanager
def _full(scene: Scene) -> Iterator[None]:
    data = scene.site.data
    assert data is not None
    if os.path.ismount(data):
        filler = data / _FILLER
        try:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(16384))
            yield
        finally:
            filler.unlink(missing_ok=True)
        return
    # No right to mount: nobody may write beyond what the database has now. A mongod has made its journal larger than
    # it needs: for that, hardly anything is allowed.
    node, server = scene.site.single, scene.site.server
    size = max(each.stat().st_size for each in data.rglob("*") if each.is_file()) if node is None else 0
    limit = size + 65536
    assert server.process is not None
    pids = [server.process.pid, *server.workers()] if node is None else [node.process.pid]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, before[1]))
        yield
    finally:
        for pid in {*pids, *(server.workers() if node is None else ())}:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


# ---- a clock that steps


def step_clock(scene: Scene) -> None:
    """The clock of the server steps back an hour, on a day, back again, and jitters."""
    for seconds in (-3600.0, 86400.0, 0.0, *(scene.random.uniform(-5, 5) for _ in range(scene.either(3, 40)))):
        scene.site.server.step(seconds)
        scene.load.wait_for(60)
    scene.site.server.step(0)


# ---- load


def stand(scene: Scene) -> None:
    """Nothing but load: memory must stay within bounds, and nobody waits in vain."""
    scene.load.wait_for(scene.either(100, 2000))
    before = scene.site.server.memory_mb()
    time.sleep(scene.either(3, 120))
    after = scene.site.server.memory_mb()
    scene.notes.append(f"memory of the largest process {before:.0f} MB, then {after:.0f} MB")
    if after - before > MAY_GROW_MB:
        raise RuntimeError(f"memory grows: {before:.0f} MB, then {after:.0f} MB")


_CROWD = Shape(posters=20, by_next=16, by_date=16, look_ups=12, limit=100, rest_s=0.05)

FAULTS = [
    Fault("disk full", (SQLITE, SINGLE), fill_disk, site=small_disk),
    Fault("clock steps", (SQLITE, SINGLE, THREE), step_clock, quick=(SQLITE, THREE)),
    Fault(f"{_CROWD.clients} clients", (SQLITE, SINGLE, THREE), stand, _CROWD, quick=(SQLITE,)),
]
