"""Writes: envelopes of 1,000 on four connections, and single objects on sixteen."""

from __future__ import annotations

import sqlite3
import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial

from pymongo import MongoClient, WriteConcern

from bench import objects, site
from bench.client import drive, post
from bench.common import Figure, Meter, cpu_note, in_turn
from bench.place import Place
from bench.site import INBOX, WRITER, Running
from taxii_server.storage.mongo_schema import _INDEXES, document_of
from taxii_server.storage.sqlite_writes import row_of

_PATH = f"/hub/collections/{INBOX}/objects/"
_ENVELOPES = 12
_SINGLES = 600
_ALONE = 60


def envelopes(place: Place) -> Iterator[Figure]:
    """POST of 1,000 objects at once against writing the same records with the same durability."""
    with place.hub() as server:
        ours = partial(_post_envelopes, place, server)
        anchor = partial(_raw_mongo, place.url) if place.store == "mongodb" else partial(_raw_sqlite, place)
        ours()
        pair = in_turn(ours, anchor, place.runs)
    name = "raw insert_many, 4 threads" if place.store == "mongodb" else "raw executemany"
    yield place.figure(pair, "POST in envelopes of 1,000, 4 connections, one worker", "objects/s", name,
                       at_least=0.5 if place.store == "mongodb" else None)  # fmt: skip
    with place.hub(2) as server:
        ours = partial(_post_envelopes, place, server)
        ours()
        pair = in_turn(ours, anchor, place.runs)
        yield place.figure(pair, "POST in envelopes of 1,000, 4 connections, two workers", "objects/s", name,
                           at_least=0.5 if place.store == "mongodb" else None)  # fmt: skip
        if place.store == "mongodb":
            pair = in_turn(ours, partial(_raw_mongo, place.url, indexed=True), place.runs)
            yield place.figure(pair, "POST in envelopes of 1,000, 4 connections, two workers", "objects/s",
                               f"{name}, into a collection with the same indexes")  # fmt: skip


def _post_envelopes(place: Place, server: Running) -> float:
    salt = uuid.uuid4().hex
    bodies = [objects.envelope(range(n * 1000, n * 1000 + 1000), salt) for n in range(_ENVELOPES)]
    requests = [post(_PATH, place.tokens[WRITER], body) for body in bodies]
    return 1000 * drive(server.port, 4, requests=requests).require(202).rate


def _raw_mongo(url: str, *, indexed: bool = False) -> float:
    salt = uuid.uuid4().hex
    client = MongoClient[dict[str, object]](url)
    target = client.get_default_database().get_collection("raw", write_concern=WriteConcern("majority", j=True))
    drafts = [[site.draft(m, INBOX, salt) for m in range(n * 1000, n * 1000 + 1000)] for n in range(_ENVELOPES)]
    target.drop()
    if indexed:
        target.create_indexes(_INDEXES["records"])
    batches = [
        [document_of(draft, 1, n * 1_000_000 + 16 * m) for m, draft in enumerate(some)] for n, some in enumerate(drafts)
    ]
    start = time.perf_counter()
    _on_threads(4, lambda number: [target.insert_many(batch) for batch in batches[number::4]])
    seconds = time.perf_counter() - start
    target.drop()
    client.close()
    return 1000 * _ENVELOPES / seconds


def _raw_sqlite(place: Place) -> float:
    salt = uuid.uuid4().hex
    path = place.folder / "raw.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("DROP TABLE IF EXISTS records")
    batches = [
        [row_of(n * 1_000_000 + 16 * m, site.draft(n * 1000 + m, INBOX, salt), 1) for m in range(1000)]
        for n in range(_ENVELOPES)
    ]
    values = len(batches[0][0])
    db.execute(f"CREATE TABLE records (position INTEGER PRIMARY KEY, {', '.join(f'c{n}' for n in range(1, values))})")
    insert = f"INSERT INTO records VALUES ({', '.join('?' * values)})"
    start = time.perf_counter()
    for batch in batches:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(insert, batch)
        db.execute("COMMIT")
    seconds = time.perf_counter() - start
    db.close()
    return 1000 * _ENVELOPES / seconds


def _on_threads(count: int, work) -> None:  # type: ignore[no-untyped-def]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def singles(place: Place) -> Iterator[Figure]:
    """POST of one object each against the same server with one transaction for each request."""
    # A thread for each connection of a worker, or the others wait outside where no transaction can take them.
    threads = "threads = 16\n"
    alone = f"{threads}posts_per_commit = 1\n"
    for workers in (1, 2):
        with place.hub(workers, threads) as together, place.hub(workers, alone) as apart:
            meters = Meter(), Meter()
            ours = partial(_rate, place, together, meters[0])
            anchor = partial(_rate, place, apart, meters[1])
            ours(), anchor()
            pair = in_turn(ours, anchor, place.runs)
            many = "one worker" if workers == 1 else "two workers"
            yield place.figure(pair, f"POST of single objects, 16 connections, {many}", "posts/s",
                               "one transaction for each", at_least=8, note=cpu_note(*meters))  # fmt: skip
            pair = in_turn(partial(_alone_ms, place, together), partial(_alone_ms, place, apart), place.runs)
            yield place.figure(pair, f"POST of a single object, 1 connection, {many}", "ms",
                               "one transaction for each", at_most=1.1)  # fmt: skip


def _rate(place: Place, server: Running, meter: Meter) -> float:
    before = server.cpu_s()
    rate, _ = _post_singles(place, server, 16, _SINGLES)
    meter.cpu_s += server.cpu_s() - before
    meter.answers += _SINGLES
    return rate


def _alone_ms(place: Place, server: Running) -> float:
    return _post_singles(place, server, 1, _ALONE)[1]


def _post_singles(place: Place, server: Running, connections: int, count: int) -> tuple[float, float]:
    """Answers per second, and the median in milliseconds."""
    salt = uuid.uuid4().hex
    requests = [post(_PATH, place.tokens[WRITER], objects.envelope(range(n, n + 1), salt)) for n in range(count)]
    load = drive(server.port, connections, requests=requests).require(202)
    return load.rate, statistics.median(load.latencies)
