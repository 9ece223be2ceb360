"""Reads: full synchronisation, latency of a page, policy, polls that find nothing, look-ups, gzip, memory, start."""

from __future__ import annotations

import sqlite3
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial

from bson import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from bench import objects, site
from bench.client import drive, get
from bench.common import Figure, Meter, Pair, cpu_note, in_turn
from bench.place import OBJECTS, Place
from bench.site import READER, SHARES, Running
from taxii_server.times import format_position

#: Pages of one run: all of a small collection, the first ones of a large one.
_SYNC_PAGES = {1000: 50, 100: 100}
_POLLS = 2000
_IN_A_ROW = 40


# ---- the raw databases


def raw_reader(place: Place, page: int) -> Callable[[], float]:
    """Objects per second when the database is read in pages of this length, and nothing else is done."""
    pages = _SYNC_PAGES[page]
    if place.store == "sqlite":
        return partial(_raw_sqlite, place.url, page, pages)
    records = MongoClient(place.url, document_class=RawBSONDocument).get_default_database()["records"]

    def read() -> float:
        start, after, count = time.perf_counter(), 0, 0
        for _ in range(pages):
            found = list(records.find({"_id": {"$gt": Int64(after)}}, batch_size=page + 1).sort("_id").limit(page))
            if not found:
                break
            count += len(found)
            after = found[-1]["_id"]
        return count / (time.perf_counter() - start)

    return read


def _raw_sqlite(path: str, page: int, pages: int) -> float:
    db = sqlite3.connect(path)
    start, after, count = time.perf_counter(), 0, 0
    for _ in range(pages):
        found = db.execute(
            "SELECT position, content FROM records WHERE position > ? ORDER BY position LIMIT ?", (after, page)
        ).fetchall()
        if not found:
            break
        count += len(found)
        after = found[-1][0]
    db.close()
    return count / (time.perf_counter() - start)


#: Settings of a hub: without the ledger, and with it by way of the disk of the hub.
_SILENT = "ledger = false\n"
_SPOOL = 'ledger_spool = "spool"\n'

# ---- parts


def full_sync(place: Place) -> Iterator[Figure]:
    """A client that follows `next`, against reading the database page by page; with the ledger and without it, on
    MongoDB also with it by way of the disk."""
    with place.hub() as server, place.hub(settings=_SILENT) as silent, place.hub(settings=_SPOOL) as spooling:
        ways = [(server, ""), (spooling, ", ledger_spool"), (silent, ", ledger off")]
        if place.store != "mongodb":
            del ways[1]
        for page, target in ((1000, 0.6), (100, 0.4)):
            for hub, more in ways:
                meter = Meter()
                ours = partial(_objects_per_second, place, hub, page, meter)
                anchor = raw_reader(place, page)
                _repeat(ours), _repeat(anchor)
                pair = in_turn(ours, anchor, place.runs)
                yield place.figure(pair, f"full sync, pages of {page:,}, one worker, one client{more}", "objects/s",
                                   "raw reading" if place.store == "sqlite" else "raw RawBSON reading",
                                   at_least=target if place.store == "mongodb" and not more else None,
                                   note=f"CPU of the server {meter.ms:.1f} ms a page")  # fmt: skip


def _objects_per_second(place: Place, server: Running, page: int, meter: Meter) -> float:
    pages = min(_SYNC_PAGES[page], max(1, place.size // page))
    before = server.cpu_s()
    load = drive(server.port, 1, sync=[place.ask(f"?limit={page}")], pages=pages).require(200)
    meter.cpu_s += server.cpu_s() - before
    meter.answers += load.answers
    return load.answers * page / load.seconds


def page_latency(place: Place) -> Iterator[Figure]:
    """Milliseconds of a page: the first against a late one, and against a bare route that reads the same page."""
    positions = _page_starts(place)
    late = positions[min(900, len(positions) - 1)]
    with place.hub() as server:
        ours = partial(_page_ms, place, server, late)
        first = partial(_page_ms, place, server, 0)
        _repeat(ours), _repeat(first)
        pair = in_turn(ours, first, place.runs)
        number = min(900, len(positions) - 1)
        yield place.figure(pair, f"page {number} of 1,000 objects against page 1", "ms", "page 1", at_most=1.2)


def _page_ms(place: Place, server: Running, after: int, partner: str = READER) -> float:
    query = f"?limit=1000&added_after={format_position(after)}"
    load = drive(server.port, 1, requests=[place.ask(query, partner=partner)], count=_IN_A_ROW).require(200)
    return statistics.median(load.latencies)


def _page_starts(place: Place) -> list[int]:
    """The place before each page of 1,000."""
    if place.store == "sqlite":
        db = sqlite3.connect(place.url)
        rows = [each for (each,) in db.execute("SELECT position FROM records ORDER BY position")]
        db.close()
    else:
        records = MongoClient[dict[str, int]](place.url).get_default_database()["records"]
        rows = [each["_id"] for each in records.find({"_id": {"$gt": 0}}, {"_id": 1}).sort("_id")]
    return [0, *rows[999::1000]][: max(1, place.size // 1000)]


def policy(place: Place) -> Iterator[Figure]:
    """A page for audiences that a rule about objects lets see 100, 30 and 0.5 % against one that sees everything."""
    starts = _page_starts(place)
    middle = starts[len(starts) // 3] if place.size >= 500_000 else 0
    with place.hub() as server:
        anchor = partial(_page_ms, place, server, middle)
        for name, most in zip(SHARES, (1.15, 1.5, 2.0), strict=True):
            if name == "sees-0.5" and place.size < 300_000:
                continue  # no full page
            ours = partial(_page_ms, place, server, middle, name)
            _repeat(ours), _repeat(anchor)
            pair = in_turn(ours, anchor, place.runs)
            yield place.figure(pair, f"page of 1,000 for an audience that {name.replace('-', ' ')} %", "ms",
                               "no rule about objects", at_most=most)  # fmt: skip


def polls(place: Place) -> Iterator[Figure]:
    """Polls that find nothing and look-ups of one object, 16 connections, against bare routes on the same workers."""
    if place.store != "mongodb":
        return
    nothing = "?added_after=2100-01-01T00:00:00Z"
    one = f"{OBJECTS}{objects.object_id(0)}/"
    token, path = place.tokens[READER], OBJECTS + nothing
    with (
        place.hub() as server,
        place.hub(settings=_SILENT) as silent,
        place.hub(settings=_SPOOL) as spooling,
        place.flask() as bare,
    ):
        cases = [
            ("poll that finds nothing, token", server, place.ask(nothing), "/none", 0.7, ""),
            ("poll that finds nothing, Basic", server, get(path, token, basic=READER), "/none", 0.7, ""),
            ("look-up of one object", server, place.ask(path=one), "/one", 0.6, "one ledger entry each"),
            (
                "look-up of one object, ledger_spool",
                spooling,
                place.ask(path=one),
                "/one",
                0.6,
                "one ledger entry each",
            ),
            ("look-up of one object, ledger off", silent, place.ask(path=one), "/one", 0.6, ""),
        ]
        for work, hub, request, route, target, note in cases:
            meters = Meter(), Meter()
            ours = partial(_rate, hub, request, meters[0])
            anchor = partial(_rate, bare, get(route, ""), meters[1])
            _repeat(ours), _repeat(anchor)
            pair = in_turn(ours, anchor, place.runs)
            note = f"{note}; {cpu_note(*meters)}" if note else cpu_note(*meters)
            yield place.figure(pair, f"{work}, 16 connections", "answers/s", "bare Flask route with one find",
                               at_least=target, note=note)  # fmt: skip
        anchor = partial(_rate, bare, get("/", ""), Meter())
        pair = in_turn(partial(_rate, server, place.ask(nothing), Meter()), anchor, place.runs)
        yield place.figure(pair, "poll that finds nothing, token, 16 connections", "answers/s", "bare Flask route")


def _rate(server: Running, request: bytes, meter: Meter, connections: int = 16, count: int = _POLLS) -> float:
    before = server.cpu_s()
    load = drive(server.port, connections, requests=[request], count=count).require(200)
    meter.cpu_s += server.cpu_s() - before
    meter.answers += load.answers
    return load.rate


def gzip(place: Place) -> Iterator[Figure]:
    """The same pages compressed and not, 4 connections, and the file that a bare server sends."""
    starts = _page_starts(place)[:40]
    queries = [f"?limit=1000&added_after={format_position(each)}" for each in starts]
    with place.hub() as server:
        plain = [place.ask(each) for each in queries]
        packed = [place.ask(each, gzip=True) for each in queries]
        ours = partial(_pages_rate, server.port, packed)
        anchor = partial(_pages_rate, server.port, plain)
        _repeat(ours), _repeat(anchor)
        pair = in_turn(ours, anchor, place.runs)
        yield place.figure(pair, "pages of 1,000 in gzip, 4 connections", "pages/s", "not compressed", at_least=0.5)
        page = _fetch(server.port, plain[0])
        with _file_server(place, page) as bare:
            pair = in_turn(anchor, partial(_pages_rate, bare.port, [get("/", "")]), place.runs)
        yield place.figure(pair, "pages of 1,000, 4 connections", "pages/s", "the page as a file, asyncio")


def _pages_rate(port: int, requests: list[bytes], count: int = 60) -> float:
    return drive(port, 4, requests=requests, count=count).require(200).rate


def _file_server(place: Place, page: bytes):  # type: ignore[no-untyped-def]
    port = site.free_port()
    path = place.folder / "page.json"
    path.write_bytes(page)
    return site.running([sys.executable, "-m", "bench.bare", "file", str(port), str(path)], port, "/",
                        place.folder / "file.log")  # fmt: skip


def _fetch(port: int, request: bytes) -> bytes:
    lines = request.decode().split("\r\n")
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{lines[0].split()[1]}")
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        if value and name != "Host":
            asked.add_header(name, value)
    with urllib.request.urlopen(asked) as answer:
        return bytes(answer.read())


def memory(place: Place) -> Iterator[Figure]:
    """Memory of a worker while 16 clients synchronise in pages of 1,000: the most, and the first half to the second."""
    with place.hub() as server:
        before = server.worker_mb()
        seen: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.05):
                seen.append(server.worker_mb())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for _ in range(place.runs):
                drive(server.port, 16, sync=[place.ask("?limit=1000")], pages=min(20, place.size // 1000)).require(200)
        finally:
            stop.set()
            watcher.join()
    middle = len(seen) // 2
    flat = Pair([max(seen[middle:])], [max(seen[:middle])])
    note = f"{before:.0f} MB before the first request, {max(seen):.0f} MB at most (target 150)"
    yield place.figure(flat, "memory of a worker, 16 clients in pages of 1,000", "MB", "first half of the run",
                       at_most=1.1, note=note)  # fmt: skip


def start(place: Place) -> Iterator[Figure]:
    """Seconds from the order to start to the first answer."""
    pair = Pair()
    for _ in range(place.runs):
        with place.hub() as server:
            pair.ours.append(server.start_s)
            pair.anchor.append(1.5)
    yield place.figure(pair, "start to first answer", "s", "target in seconds", at_most=1.0)


def _repeat(work: Callable[[], float]) -> None:
    """Once without looking: plans, caches and pools are warm afterwards, as on a server that has been running."""
    work()
