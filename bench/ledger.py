"""What the disclosure ledger costs: a page of 1,000 objects with and without it, on both stores, and its size.

    python -m bench.ledger [--mongo mongodb://...] [--runs 60]

The two servers run on one database and are asked in turn; a figure is the ratio of the medians of the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask.testing import FlaskClient

from taxii_server.app import create_app
from taxii_server.model import Actor
from taxii_server.service.hub import Hub
from taxii_server.service.query import ReadRequest
from taxii_server.settings import Settings
from taxii_server.storage import open_store
from taxii_server.storage.ledger import LedgerQuery
from taxii_server.web.media import TAXII
from tests.mongo import mongo_server, with_database

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


def http(client: FlaskClient) -> Callable[[], object]:
    """A page as a client gets it."""

    def ask() -> None:
        answer = client.get(f"/hub/collections/{BOX}/objects/", headers={"Accept": TAXII})
        assert answer.status_code == 200
        assert answer.data.count(b'"id"') == PAGE

    return ask


def inside(hub: Hub) -> Callable[[], object]:
    """A page as the service makes it, without HTTP."""
    place, asked = hub.snapshot.catalog.collections["box"], ReadRequest("objects")
    return lambda: hub.visit(Actor("reader", "c", "bench")).read(place, asked)


def measure(name: str, url: str, runs: int) -> None:
    """The rows of one store."""
    on, off = (Settings(store=url, anonymous_partner="reader", ledger=ledger) for ledger in (True, False))
    store = open_store(url)
    store.prepare()
    filler = Hub(off, store)
    filler.apply(FILES, "bench")
    body = json.dumps({"objects": [stix() for _ in range(3 * PAGE)]}).encode()
    filler.writer.add("reader", filler.snapshot.catalog.collections["box"], body)
    apps = [create_app(settings, store, background=False) for settings in (off, on)]
    pairs = {
        "over HTTP": [http(app.test_client()) for app in apps],
        "in the service": [inside(app.extensions["taxii_server"]) for app in apps],
    }
    for what, (without, within) in pairs.items():
        for work in (without, within) * 3:
            work()
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(runs):
            times[0].append(milliseconds(without))
            times[1].append(milliseconds(within))
        before, after = map(statistics.median, times)
        print(f"| {name}, {what} | {before:.2f} | {after:.2f} | {after / before:.3f} |")
    entry = next(store.ledger.find(LedgerQuery(kinds=("delivered",))))
    print(f"| {name}, an entry for {PAGE} objects: {len(entry.items)} bytes of items, {len(entry.facts)} of facts ||||")
    store.close()


@contextmanager
def a_mongo(url: str | None) -> Iterator[str]:
    """The MongoDB named, or one of our own."""
    if url:
        yield url
        return
    with mongo_server() as address:
        yield with_database(address, f"bench_{uuid.uuid4().hex[:8]}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mongo", help="default: a mongod of our own")
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    print("| page of 1,000 objects | without, ms | with, ms | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", str(Path(folder) / "hub.db"), arguments.runs)
    with a_mongo(arguments.mongo) as url:
        measure("MongoDB", url, arguments.runs)


if __name__ == "__main__":
    main()
