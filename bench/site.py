"""The hub that is measured: its configuration, a fast way to fill its store, and its process."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import objects
from taxii_server.auth.secrets import new_token
from taxii_server.model import Draft, PageQuery
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings
from taxii_server.stix.references import read_references
from taxii_server.stix.terms import read_terms
from taxii_server.storage import open_store
from taxii_server.storage.base import Plan, Store
from taxii_server.times import instant_key

BOX = "aaaaaaaa-0000-4000-8000-000000000001"
INBOX = "aaaaaaaa-0000-4000-8000-000000000002"
MEDIA = "application/taxii+json;version=2.1"
WRITER, READER = "vendor", "reader"
#: Audiences that a rule about objects lets see so much of the box.
SHARES = {
    "sees-100": [objects.TINY, objects.THIRD, objects.REST],
    "sees-30": [objects.THIRD],
    "sees-0.5": [objects.TINY],
}
_PORTION = 1000
#: A benchmark asks more often than any partner may.
UNLIMITED = "address_requests_per_minute = 0\npartner_requests_per_minute = 0\n"
_SAMPLE = 20_000  # objects that go through the real door, so that every label there is is known


def files(settings: str = "") -> dict[str, str]:
    """The texts of the configuration, by path."""
    rules = ['[[permit]]\nid = "reader"\nto = { audience = "reader" }\n']
    for name, words in SHARES.items():
        what = f"{{ label = {json.dumps(words)} }}"
        rules.append(f'[[permit]]\nid = "{name}"\nto = {{ audience = "{name}" }}\nwhat = {what}\n')
    names = [WRITER, READER, *SHARES]
    return {
        "config/server.toml": f'{settings}\n[api_roots.hub]\ntitle = "Hub"\n',
        "config/policy.toml": "\n".join(
            ['schema = 1\nname = "bench"\n[defaults]\nunmarked = "tlp:clear"\n', *rules],
        ),
        "config/partners.toml": "".join(f'[audience."{name}"]\nkind = "cert"\nclearance = "red"\n' for name in names),
        "collections/box.toml": _collection(BOX, "Box"),
        "collections/inbox.toml": _collection(INBOX, "Inbox"),
    }  # fmt: skip


def _collection(id_: str, title: str) -> str:
    return (
        f'id = "{id_}"\napi_root = "hub"\ntitle = "{title}"\nreaders = ["*"]\nwriters = ["{WRITER}"]\n'
        'strictness = "structure"\n'
    )


def write_files(folder: Path, texts: Mapping[str, str]) -> Path:
    """The path of server.toml."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "config/server.toml"


# ---- what is in the store


def fill(url: str, size: int) -> dict[str, str]:
    """Put the configuration in force and `size` objects of the mix into the box; a token for each partner.

    The first ones are posted, so that every combination of facets has its label; the rest is written past the parser
    with the labels that they would get.
    """
    store = open_store(url)
    try:
        store.prepare()
        hub = Hub(Settings(store=url), store)
        hub.apply(files(), "bench")
        box = hub.snapshot.catalog.collections["box"]
        posted = min(size, _SAMPLE)
        for start in range(0, posted, _PORTION):
            hub.writer.add(WRITER, box, objects.envelope(range(start, min(start + _PORTION, posted))))
        labels = _labels_by_form(hub, posted)
        for start in range(posted, size, _PORTION):
            numbers = range(start, min(start + _PORTION, size))
            plan = Plan(inserts=[(draft(number), labels[_form(number)]) for number in numbers])
            store.write([], lambda present, length, plan=plan: plan)  # type: ignore[misc]
        return _tokens(store)
    finally:
        store.close()


def _labels_by_form(hub: Hub, posted: int) -> dict[tuple[object, ...], int]:
    labels: dict[tuple[object, ...], int] = {}
    after, number = 0, 0
    while number < posted:
        query = PageQuery(tuple(hub.book.labels), (BOX,), after, _PORTION, content=False)
        records = hub.store.page(query).records
        for record in records:
            labels[_form(number)] = record.label
            number += 1
        after = records[-1].position
    return labels


def _form(number: int) -> tuple[object, ...]:
    """What the facets of this object depend on."""
    kind = objects.object_id(number).partition("--")[0]
    return kind, kind == "indicator" and number % 7 == 0, objects.word_of(number)


def draft(number: int, collection: str = BOX, salt: str = "") -> Draft:
    """The object with this number as it comes to a store."""
    value = objects.stix(number, salt)
    raw = json.dumps(value, separators=(",", ":")).encode()
    hard, soft = read_references(value)
    version = value.get("modified")
    return Draft(
        collection, WRITER, value["id"], value["type"], "2.1", version,
        None if version is None else instant_key(version), raw, hashlib.sha256(raw).digest(), hard, soft,
        read_terms(value),
    )  # fmt: skip


def _tokens(store: Store) -> dict[str, str]:
    tokens = {}
    for partner in (WRITER, READER, *SHARES):
        credential, tokens[partner] = new_token(partner)
        store.save_credential(credential)
    return tokens


# ---- processes


class Running:
    """A server process that answers at `port`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, start_s: float) -> None:
        self.process = process
        self.port = port
        #: from the order to start to the first answer
        self.start_s = start_s

    def pids(self) -> list[int]:
        """The process and its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def cpu_s(self) -> float:
        """CPU time of all of them so far."""
        return sum(cpu_of(pid) for pid in self.pids())

    def worker_mb(self) -> float:
        """Resident memory of the largest worker."""
        return max(rss_mb(pid) for pid in self.pids()[1:])


def cpu_of(pid: int) -> float:
    """CPU seconds of a process."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) / 1024


@contextmanager
def serving(
    folder: Path, url: str, *, workers: int, settings: str = "", texts: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The hub on this store, as an operator starts it, with these texts or those of `files`."""
    chosen = dict(texts or files(settings))
    chosen["config/server.toml"] = UNLIMITED + chosen["config/server.toml"]
    config = write_files(folder, chosen)
    port = free_port()
    command = [
        sys.executable, "-m", "taxii_server", "--config", str(config), "--store", url,
        "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
    ]  # fmt: skip
    with running(command, port, "/readyz", folder / "server.log") as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], port: int, path: str, log: Path, is_up: Callable[[int], bool] = lambda status: status == 200
) -> Iterator[Running]:
    """The process of this command, once it answers; ended at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAXII_SERVER_")}
    with log.open("ab") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        while not _answers(port, path, is_up):
            if process.poll() is not None or time.perf_counter() - begin > 120:
                raise RuntimeError(f"{' '.join(command)} does not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.01)
        yield Running(process, port, time.perf_counter() - begin)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _answers(port: int, path: str, is_up: Callable[[int], bool]) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return is_up(answer.status)
    except urllib.error.HTTPError as error:
        return is_up(error.code)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
