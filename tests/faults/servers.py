"""What faults strike: servers with real workers on a store of one of three kinds, and everything under them.

Whoever opens a site closes it, and then no process of it is left, whatever state a fault left it in.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from tests.e2e.server import Server, is_running, lane, lanes, wait_until
from tests.faults.client import Address
from tests.faults.proxy import Proxy
from tests.mongo import Node, ReplicaSet, make_primary, with_database

SQLITE, SINGLE, THREE = "sqlite", "mongodb", "mongodb x3"
_STEPPED = Path(__file__).with_name("stepped.py")
#: Collections of a site: one for each run.
LANES = 80
#: The election timeout of the short form; the long one has MongoDB's own.
QUICK_ELECTION_S, REAL_ELECTION_S = 1.5, 10.0


class SteppedServer(Server):
    """A server whose clock can be stepped, and that can be killed in every way."""

    def __init__(self, folder: Path, store: str | None = None, **files: Any) -> None:
        super().__init__(folder, store, **files)
        self.clock = folder / "wrong-by"
        self.clock.write_text("0")

    def command(self, *arguments: str) -> list[str]:
        program, *rest = super().command(*arguments)
        return [sys.executable, str(_STEPPED), str(self.clock), *rest] if "serve" in arguments else [program, *rest]

    def step(self, seconds: float) -> None:
        """From now on its clock is wrong by so much."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.clock)

    def kill_worker(self, pid: int) -> None:
        """kill -9, and wait for the one that takes its place."""
        wanted = len(self.workers())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in (now := self.workers()) and len(now) >= wanted, what="a new worker")

    def kill_all(self) -> None:
        """kill -9 of the parent and all workers, as when the machine goes."""
        assert self.process is not None
        workers = self.workers()
        for pid in (self.process.pid, *workers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        wait_until(lambda: not any(map(is_running, workers)), what="the end of the workers")
        self.process = None

    def kill_parent(self) -> None:
        """kill -9 of the parent alone; its workers find out by themselves and end."""
        assert self.process is not None
        workers = self.workers()
        self.process.kill()
        self.process.wait(30)
        try:
            wait_until(lambda: not any(map(is_running, workers)), 40, what="the end of workers without a parent")
        finally:
            for pid in filter(is_running, workers):
                os.kill(pid, signal.SIGKILL)
        self.process = None

    def memory_mb(self) -> float:
        """The resident memory of its largest process."""
        assert self.process is not None
        return max(_resident_mb(pid) for pid in (self.process.pid, *self.workers()))


class Site:
    """A store of one kind and the servers on it; each run gets a collection of its own."""

    def __init__(
        self, kind: str, folder: Path, *, long: bool, store: str | None = None, data: Path | None = None, **files: Any
    ) -> None:
        """`store`: one that somebody else keeps; `data`: where the database lies, elsewhere than in `folder`."""
        self.kind, self.folder, self.long, self.data = kind, folder, long, data
        #: what the server reaches its database through, when something
        self.proxy: Proxy | None = None
        self.single: Node | None = None
        self.three: ReplicaSet | None = None
        self.servers: list[SteppedServer] = []
        self._lanes, self._turns = count(), count()
        try:
            if store is None and kind == SINGLE:
                self.single = Node((data or folder) / "mongod")
                make_primary(self.single.address, self.single.replica_set)
                store = self.single.uri
            elif store is None and kind == THREE:
                self.three = ReplicaSet(folder, election_timeout_s=self.election_s)
                store = self.three.uri
            elif store is None and data is not None:
                store = str(data / "hub.db")
            if kind != SQLITE and store is not None:
                store = with_database(store, f"taxii_faults_{uuid.uuid4().hex[:12]}")
            self.servers.append(SteppedServer(folder / "hub", store, collections=lanes(LANES), **files))
            self.server.start()
        except BaseException:
            self.close()
            raise

    @property
    def server(self) -> SteppedServer:
        return self.servers[0]

    @property
    def election_s(self) -> float:
        """How long the nodes of a set do without a primary before they elect another one."""
        return REAL_ELECTION_S if self.long else QUICK_ELECTION_S

    def where(self) -> Address:
        """An address to connect to: those of all servers in turn."""
        servers = list(self.servers)
        return "127.0.0.1", servers[next(self._turns) % len(servers)].port

    def lane(self) -> str:
        """The id of a collection that no run has used."""
        return lane(next(self._lanes) % LANES)

    @contextmanager
    def second(self) -> Iterator[SteppedServer]:
        """Another server on the same store, with files and a clock of its own, while this lasts."""
        folder = self.folder / f"other-{uuid.uuid4().hex[:6]}"
        other = SteppedServer(folder, self.server.store, collections=lanes(LANES))
        other.tokens = self.server.tokens
        try:
            other.start()
            self.servers.append(other)
            yield other
        finally:
            if other in self.servers:
                self.servers.remove(other)
            other.kill()

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        if self.single is not None:
            self.single.kill()
        if self.three is not None:
            self.three.close()


@contextmanager
def open_site(kind: str, folder: Path, *, long: bool, **more: Any) -> Iterator[Site]:
    """A site, closed at the end."""
    site = Site(kind, folder, long=long, **more)
    try:
        yield site
    finally:
        site.close()


def _resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)
