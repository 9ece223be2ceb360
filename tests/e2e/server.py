"""`taxii-server serve` as a real process with real workers, its configuration on disk, and the real command line.

Whoever starts a server ends it, by process id. Should the tests be killed outright, the kernel ends the server
with them, and the workers follow their parent.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import requests

from taxii_server.auth.secrets import new_token
from taxii_server.catalog import read_files
from taxii_server.service.hub import Hub
from taxii_server.settings import load
from taxii_server.storage import open_store
from tests.ports import free_port
from tests.world import COLLECTIONS, MT, OPEN_POLICY, PARTNERS, SERVER, audiences, collection, with_limits

START_S = 60.0
STOP_S = 40.0
#: Within this time every worker knows a new credential, refuses a revoked one, and follows a new configuration.
KNOWN_S = 1.0
#: Readers and writers of a lane.
FRIENDS = ["rw", "admin", "partner_b"]
#: How many tests can have a collection of their own.
LANES = 120
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def lane(number: int) -> str:
    """The id of one of the collections in which a test is alone."""
    return str(uuid.UUID(int=0x7E57 << 64 | number, version=4))


def lanes(count: int, root: str = "api2", **more: object) -> dict[str, str]:
    """The files of so many collections, named lane-0, lane-1, ..."""
    return {
        f"lane-{number}": collection(
            lane(number), f"Lane {number}", root=root, readers=FRIENDS, writers=FRIENDS, accepts=["2.0", "2.1"], **more
        )
        for number in range(count)
    }


def write_files(
    folder: Path,
    *,
    policy: str = OPEN_POLICY,
    partners: str | None = None,
    collections: Mapping[str, str] | None = None,
    settings: str = "",
    max_content_length: int = 1_000_000,
) -> Path:
    """The configuration of tests/world.py with some lanes, as files; the path of server.toml."""
    admin = {"admin": 'kind = "cert"\nclearance = "red"\nadmin = true\n'}
    texts = {
        "config/server.toml": SERVER.format(settings=with_limits(settings), max_content_length=max_content_length),
        "config/policy.toml": policy,
        "config/partners.toml": partners or audiences(dict.fromkeys(PARTNERS, "") | admin),
    }
    for name, text in (COLLECTIONS | lanes(LANES) if collections is None else collections).items():
        texts[f"collections/{name}.toml"] = text
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "config/server.toml"


class Server:
    """One server: its files, its store, its process when it runs, and its command line."""

    def __init__(self, folder: Path, store: str | None = None, **files: Any) -> None:
        self.folder = folder
        self.config = write_files(folder, **files)
        self.store = store or str(folder / "hub.db")
        self.log = folder / "stderr.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.tokens: dict[str, str] = {}
        #: the file of the CA that the server's certificate comes from; None: plain HTTP
        self.ca: str | None = None
        #: the client certificate and its key that a server which requires one is asked with
        self.cert: tuple[str, str] | None = None

    # ---- the command line

    def command(self, *arguments: str) -> list[str]:
        """The words that run `taxii-server` on these files and this store."""
        program = str(Path(sys.executable).with_name("taxii-server"))
        return [program, "--config", str(self.config), "--store", self.store, *arguments]

    def cli(self, *arguments: str, status: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in a process of its own; it must end with this status."""
        command = self.command(*arguments)
        done = subprocess.run(
            [_quick_program() or command[0], *command[1:]],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=120,
            check=False,
            **more,
        )
        assert done.returncode == status, f"{arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def token(self, partner: str) -> str:
        """A token of this partner, made once."""
        if partner not in self.tokens:
            self.tokens[partner] = self.cli("token", "new", partner, "--quiet").stdout.strip()
            if self.process is not None:
                time.sleep(KNOWN_S)
        return self.tokens[partner]

    def prepare(self) -> None:
        """Put the configuration in force and make a token for everybody, in this process: each command would be a
        Python of its own, which takes a second of a processor, and a server that runs has to notice a token first."""
        settings = load(self.config, environment={}, flags={"store": self.store})
        with closing(open_store(self.store)) as store:
            store.prepare()
            hub = Hub(settings, store)
            hub.apply(read_files(settings), "test")
            for partner in {*FRIENDS, *hub.snapshot.catalog.policy.audiences} - self.tokens.keys():
                credential, self.tokens[partner] = new_token(partner)
                store.save_credential(credential)

    # ---- the process

    def start(self, workers: int = 2) -> None:
        """Start it, with a token for everybody, and wait until it is ready."""
        if not self.tokens.keys() >= {*FRIENDS}:
            self.prepare()
        self.begin("--workers", str(workers))
        deadline = time.monotonic() + START_S
        while not self._ready():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server does not start:\n{self.stderr()}")
            time.sleep(0.03)
        while len(self.workers()) < workers:
            time.sleep(0.03)

    def begin(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start it without waiting."""
        command = self.command("serve", "--host", "127.0.0.1", "--port", str(self.port), *flags)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )  # fmt: skip
        return self.process

    def _ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5, **self._tls()).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """End it and its workers, whatever they are doing."""
        if self.process is None:
            return
        workers = self.workers()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_S)
        for pid in filter(is_running, workers):
            with suppress(ProcessLookupError):  # it may end by itself in this moment
                os.kill(pid, signal.SIGKILL)
        self.process = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        assert self.process is not None
        return children(self.process.pid)

    def stderr(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """While this lasts, every new connection reaches this one worker: the others are stopped."""
        with self._stopped(pid for pid in self.workers() if pid != worker):
            yield

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While this lasts, no request is answered: all workers are stopped."""
        with self._stopped(self.workers()):
            yield

    @staticmethod
    @contextmanager
    def _stopped(pids: Iterable[int]) -> Iterator[None]:
        stopped = []
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    # ---- requests

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.port}"

    def _tls(self) -> dict[str, Any]:
        return {"verify": self.ca, "cert": self.cert} if self.ca else {}

    def objects_url(self, collection_id: str, root: str = "api2") -> str:
        return f"{self.url}/{root}/collections/{collection_id}/objects/"

    def request(self, method: str, url: str, partner: str | None = "rw", **more: Any) -> requests.Response:
        """One request on a connection of its own, as a TAXII client would send it."""
        headers = {"Accept": MT, "Connection": "close"} | dict(more.pop("headers", None) or {})
        if partner is not None and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token(partner)}"
        if not url.startswith("http"):
            url = self.url + url
        return requests.request(method, url, headers=headers, timeout=60, **(self._tls() | more))

    def get(self, url: str, partner: str | None = "rw", **more: Any) -> requests.Response:
        return self.request("GET", url, partner, **more)

    def post(
        self, collection_id: str, objects: Sequence[Mapping[str, Any]], partner: str = "rw", root: str = "api2"
    ) -> requests.Response:
        return self.request(
            "POST", self.objects_url(collection_id, root), partner, headers={"Content-Type": MT},
            json={"objects": list(objects)},
        )  # fmt: skip


@contextmanager
def running(
    folder: Path,
    store: str | None = None,
    *,
    workers: int = 2,
    ca: Path | None = None,
    cert: tuple[str, str] | None = None,
    **files: Any,
) -> Iterator[Server]:
    """A server that answers; ended at the end, and then no process of it is left."""
    server = Server(folder, store, **files)
    server.ca, server.cert = None if ca is None else str(ca), cert
    try:
        server.start(workers)
        yield server
    finally:
        server.kill()


@cache
def _quick_programs() -> Path:
    """The folder of a `taxii-server` that has everything imported already: as long as this process lives."""
    from tests.docs.commands import forking

    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taxii-commands-"))
    return stack.enter_context(forking(Path(folder)))


def _quick_program() -> str | None:
    """The program of `_quick_programs`; None in a thread, with whose end the kernel would end it."""
    is_main = threading.current_thread() is threading.main_thread()
    return str(_quick_programs() / "taxii-server") if is_main or _quick_programs.cache_info().currsize else None


def children(pid: int) -> list[int]:
    """The child processes of a process, in the order of their start."""
    try:
        return sorted(int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """Whether there is such a process that is not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Any, timeout_s: float = START_S, what: str = "") -> None:
    """Poll until it holds; a test that waits in vain fails here."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not after {timeout_s:g} s: {what or condition}"
        time.sleep(0.02)


def environment() -> dict[str, str]:
    """The environment of the tests without settings of ours; wide lines, no colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAXII_SERVER_")}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def _end_with_parent(parent: int) -> None:
    """In the child: SIGTERM when the tests die, however they die."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
