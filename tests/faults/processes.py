"""Processes of the server that end, with and without notice."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from tests.e2e.server import wait_until
from tests.faults.fault import Fault, Scene
from tests.faults.servers import SINGLE, SQLITE, THREE


def kill_workers(scene: Scene) -> None:
    """kill -9 of one worker, then of all at once, in the middle of POSTs and polls.

    On MongoDB what a killed worker had begun keeps others waiting for five seconds: less often in the short form.
    """
    server = scene.site.server
    for number in range(scene.either(3 if scene.site.kind == SQLITE else 1, 12)):
        time.sleep(scene.pause())
        if number % 3 == 2:
            wanted, before = len(server.workers()), server.workers()
            for pid in before:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda w=wanted, b=before: len(now := server.workers()) >= w and not set(now) & set(b))
        else:
            server.kill_worker(scene.random.choice(server.workers()))
        scene.load.wait_for(20)


def kill_server(scene: Scene) -> None:
    """kill -9 of everything, and of the parent alone; started again."""
    for number in range(scene.either(2, 6)):
        time.sleep(scene.pause())
        if number % 2:
            scene.site.server.kill_parent()
        else:
            scene.site.server.kill_all()
        scene.site.server.start()
        scene.load.wait_for(50)


def restart(scene: Scene) -> None:
    """SIGTERM in the middle of page walks and of POSTs; started again, with another number of workers."""
    for number in range(scene.either(1, 4)):
        time.sleep(scene.pause())
        status = scene.site.server.stop()
        if status != 0:
            raise RuntimeError(f"the server ends with status {status}")
        scene.site.server.start(workers=1 + (number + 1) % 3)
        scene.load.wait_for(50)


FAULTS = [
    Fault("kill -9 of workers", (SQLITE, SINGLE, THREE), kill_workers, quick=(SQLITE, THREE)),
    Fault("kill -9 of the server", (SQLITE, SINGLE, THREE), kill_server, quick=(SQLITE,)),
    Fault("restart in mid-walk and mid-POST", (SQLITE, SINGLE), restart, quick=(SQLITE,)),
]
