"""What the disclosure ledger costs: a page of 1,000 objects with and without it, on both stores, and its size.

    python -m bench.ledger [--mongo mongodb://...] [--runs 60]

Two server processes of one worker run on one database and are asked in turn, by one client and by four at a time; a
figure is the ratio of the medians of the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from bench.common import mongo
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings
from taxii_server.storage import open_store
from taxii_server.storage.ledger import LedgerQuery
from taxii_server.web.media import TAXII

PAGE = 1000
BOX = "aaaaaaaa-0000-4000-8000-000000000001"
FILES = {
    "config/server.toml": '[api_roots.hub]\ntitle = "Hub"\n',
    "config/policy.toml": 'schema = 1\nname = "bench"\n[defaults]\nunmarked = "tlp:clear"\n'
    '[[permit]]\nid = "all"\nto = { audience = "reader" }\n',
    "config/partners.toml": '[audience.reader]\nkind = "cert"\nclearance = "red"\n',
    "collections/box.toml": f'id = "{BOX}"\napi_root = "hub"\ntitle = "Box"\nreaders = ["*"]\nwriters = ["reader"]\n'
    'strictness = "structure"\n',
}


def stix() -> dict[str, object]:
    """An indicator of about a kilobyte."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid.uuid4()}",
        "created": "2024-01-01T00:00:00.000Z",
        "modified": "2024-01-01T00:00:00.000Z",
        "pattern": "[ipv4-addr:value = '198.51.100.1']",
        "pattern_type": "stix",
        "valid_from": "2024-01-01T00:00:00Z",
        "description": "x" * 600,
    }


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def a_server(config: Path, url: str, ledger: bool, spool: str = "") -> Iterator[int]:
    """The port of a server process of one worker; `spool` is the folder of ledger_spool."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "taxii_server", "--config", str(config), "--store", url]
    command += ["serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    settings = {
        "LEDGER": str(ledger).lower(),
        "LEDGER_SPOOL": spool,
        "LOG_LEVEL": "error",
        "ANONYMOUS_PARTNER": "reader",
    }
    # A benchmark asks more often than any partner may.
    settings |= {"ADDRESS_REQUESTS_PER_MINUTE": "0", "PARTNER_REQUESTS_PER_MINUTE": "0"}
    environment = os.environ | {f"TAXII_SERVER_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def http(port: int) -> Callable[[], object]:
    """A page as a client gets it, on a connection that is kept."""
    connection = HTTPConnection("127.0.0.1", port)

    def ask() -> None:
        connection.request("GET", f"/hub/collections/{BOX}/objects/", headers={"Accept": TAXII})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        assert body.count(b'"id"') == PAGE

    return ask


def crowd(port: int, clients: int = 4) -> Callable[[], object]:
    """A page for each of several clients at the same time."""
    pool, asks = ThreadPoolExecutor(clients), [http(port) for _ in range(clients)]
    return lambda: [each.result() for each in [pool.submit(ask) for ask in asks]]


def measure(name: str, url: str, folder: Path, runs: int, *, spools: bool = False) -> None:
    """The rows of one store, also by way of the disk of the hub where it `spools`."""
    for file, text in FILES.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    config = folder / "config/server.toml"
    store = open_store(url)
    store.prepare()
    filler = Hub(Settings(store=url, anonymous_partner="reader", ledger=False), store)
    filler.apply(FILES, "bench")
    body = json.dumps({"objects": [stix() for _ in range(3 * PAGE)]}).encode()
    filler.writer.add("reader", filler.snapshot.catalog.collections["box"], body)
    with a_server(config, url, False) as off, a_server(config, url, True) as on:
        compare(f"{name}, one client", http(off), http(on), runs)
        compare(f"{name}, four at a time", crowd(off), crowd(on), runs // 2)
    if spools:
        with a_server(config, url, False) as off, a_server(config, url, True, str(folder / "spool")) as on:
            compare(f"{name} with ledger_spool, one client", http(off), http(on), runs)
            compare(f"{name} with ledger_spool, four at a time", crowd(off), crowd(on), runs // 2)
    entry = next(store.ledger.find(LedgerQuery(kinds=("delivered",))))
    print(f"| {name}, an entry for {PAGE} objects: {len(entry.items)} bytes of items, {len(entry.facts)} of facts ||||")
    store.close()


def compare(name: str, without: Callable[[], object], within: Callable[[], object], runs: int) -> None:
    """One row: both in turn."""
    for work in (without, within) * 3:
        work()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        times[0].append(milliseconds(without))
        times[1].append(milliseconds(within))
    before, after = map(statistics.median, times)
    print(f"| {name} | {before:.2f} | {after:.2f} | {after / before:.3f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mongo", help="default: a mongod of our own")
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    print("| page of 1,000 objects | without, ms | with, ms | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", str(Path(folder) / "hub.db"), Path(folder), arguments.runs)
    with mongo(arguments.mongo) as url, tempfile.TemporaryDirectory() as folder:
        measure("MongoDB", url, Path(folder), arguments.runs, spools=True)


if __name__ == "__main__":
    main()
