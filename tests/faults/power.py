"""The power fails: what a disk would hold at some moment, opened again.

All processes of the server are stopped for the moment of a copy, so that the copy is what a disk holds at one point in
time, as after a failure. Then the log of the copy is cut short and its end is spoilt, at any place behind what was
committed at the copy before: what a failure may do to bytes that nobody has been promised.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from taxii_server.model import PageQuery
from taxii_server.storage import open_store
from tests.e2e.server import wait_until
from tests.faults.check import Outcome
from tests.faults.fault import Fault, Scene
from tests.faults.servers import SQLITE, SteppedServer

_WAL_HEADER, _FRAME_HEADER = 32, 24
#: Where the -shm file counts the frames that a checkpoint has put into the database file, and those that it was about
#: to (nBackfill and nBackfillAttempted of WalCkptInfo): before it began, it wrote the log through to the disk so far.
_BACKFILL_AT = (96, 128)


@dataclass(frozen=True, slots=True)
class Copy:
    """A database as it was at one moment, and what was acknowledged before that."""

    folder: Path
    acknowledged: list[str]
    #: names the run of the log, and where the last commit in it ends
    salt: bytes
    end: int
    #: up to here the log may be in the database file
    backfilled: int


@contextmanager
def stopped(server: SteppedServer) -> Iterator[None]:
    pids = server.workers()
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(map(_stands, pids)), what="all workers stand still")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _stands(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def fail(scene: Scene) -> None:
    """Copies during load; each is opened when the load is over."""
    copies: list[Copy] = []
    for number in range(scene.either(4, 20)):
        time.sleep(scene.pause(0.3))
        copies.append(take(scene, scene.site.folder / f"copy-{scene.random.randrange(10**9)}-{number}"))
    scene.afterwards.append(lambda outcome: examine(scene, copies, outcome))


def take(scene: Scene, folder: Path) -> Copy:
    folder.mkdir()
    path = Path(scene.site.server.store)
    acknowledged = scene.load.posted.acknowledged()
    with stopped(scene.site.server):
        shutil.copy(path, folder / "hub.db")
        wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
        shutil.copy(wal, folder / "hub.db-wal")
        counts = shm.read_bytes()
        backfilled = max(struct.unpack_from("=I", counts, at)[0] for at in _BACKFILL_AT)
    salt, page_size, end = last_commit((folder / "hub.db-wal").read_bytes())
    return Copy(folder, acknowledged, salt, end, _WAL_HEADER + backfilled * (page_size + _FRAME_HEADER))


def last_commit(wal: bytes) -> tuple[bytes, int, int]:
    """Salt and page size of a write-ahead log, and where its last commit ends."""
    if len(wal) < _WAL_HEADER:
        return b"", 4096, 0
    page_size, salt = struct.unpack_from(">I", wal, 8)[0], wal[16:24]
    end, place = _WAL_HEADER, _WAL_HEADER
    while place + _FRAME_HEADER + page_size <= len(wal) and wal[place + 8 : place + 16] == salt:
        (size_after_commit,) = struct.unpack_from(">I", wal, place + 4)
        place += _FRAME_HEADER + page_size
        if size_after_commit:
            end = place
    return salt, page_size, end


def examine(scene: Scene, copies: list[Copy], outcome: Outcome) -> None:
    """Every copy opens and holds what was acknowledged before it; all that it holds is a prefix of the collection."""
    now = [id_ for _, id_ in scene.load.order("rw")]
    cuts = 0
    for number, copy in enumerate(copies):
        _open(copy.folder, copy.acknowledged, now, outcome)
        before = copies[number - 1] if number else copy
        promised = before if before.salt == copy.salt else copy
        for each in range(scene.either(2, 5)):
            folder = copy.folder.with_name(f"{copy.folder.name}-{each}")
            shutil.copytree(copy.folder, folder)
            _spoil(folder / "hub.db-wal", max(promised.end, copy.backfilled), scene.random)
            _open(folder, promised.acknowledged, now, outcome)
            shutil.rmtree(folder)
            cuts += 1
    for copy in copies:
        shutil.rmtree(copy.folder)
    outcome.notes.append(f"{len(copies)} copies and {cuts} with a torn log")


def _spoil(wal: Path, keep: int, random_: random.Random) -> None:
    """Cut the log anywhere behind `keep`, and write nonsense into what is left of its last page."""
    data = bytearray(wal.read_bytes())
    cut = random_.randint(min(keep, len(data)), len(data))
    del data[cut:]
    torn = random_.randint(max(min(keep, cut), cut - 4096), cut)
    data[torn:] = random_.randbytes(cut - torn)
    wal.write_bytes(data)


def _open(folder: Path, acknowledged: list[str], now: list[str], outcome: Outcome) -> None:
    """Open a copy as a server does, and compare."""
    path = folder / "opened"
    shutil.copytree(folder, path)
    with closing(sqlite3.connect(path / "hub.db")) as db:
        ((verdict,),) = db.execute("PRAGMA integrity_check(1)").fetchall()
        if verdict != "ok":
            outcome.errors.append(f"{folder}: {verdict}")
    store = open_store(str(path / "hub.db"))
    try:
        store.prepare()
        labels = tuple(range(1, store.state().log_length + 1))
        found = {record.id for records in store.lookup(acknowledged).values() for record in records}
        page = store.page(PageQuery(labels=labels, collections=(), after=0, limit=1_000_000, content=False))
    finally:
        store.close()
    outcome.lost += len(set(acknowledged) - found)
    places = {id_: place for place, id_ in enumerate(now)}
    here = [places[record.id] for record in page.records if record.id in places]
    # A prefix of the commits: in their order, and none left out.
    outcome.disorder += here != list(range(len(here)))
    shutil.rmtree(path)


FAULTS = [Fault("power fails", (SQLITE,), fail)]
