"""The disclosure ledger of a real server, as an operator asks it, also after the server was killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests

from tests.e2e.server import Server, lane, running, wait_until
from tests.world import indicator, new_id

SQLITE_ALONE = pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)
MONGODB_ALONE = pytest.mark.parametrize("own_store_url", ["mongodb"], indirect=True)


@pytest.fixture
def hub(own_store_url: str | None, tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, own_store_url) as made:
        yield made


def test_every_page_that_arrived_is_recorded_whoever_is_killed(hub: Server) -> None:
    """Workers die by kill -9 in the middle of polls, at last the whole server."""
    _kill_in_the_middle_of_polls(hub)


@MONGODB_ALONE
def test_the_same_by_way_of_the_disk(own_store_url: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with running(tmp_path, own_store_url, settings=f'ledger_spool = "{spool}"') as hub:
        _kill_in_the_middle_of_polls(hub)
        assert list(spool.glob("*.entries")) == []
    with running(tmp_path, own_store_url, settings=f'ledger_spool = "{spool}"') as hub:
        assert hub.get(hub.objects_url(lane(0)), "rw").status_code == 200
        assert len(list(spool.glob("*.entries"))) == 1
        hub.stop()
        assert list(spool.iterdir()) == [], "a server that stops leaves nothing on its disk"


def _kill_in_the_middle_of_polls(hub: Server) -> None:
    body = [indicator() for _ in range(200)]
    assert hub.post(lane(0), body, "admin").json()["success_count"] == len(body)
    url = hub.objects_url(lane(0))
    arrived: list[
        tuple[str, str]
    ] = []  # the parameters that make a poll the only one of its kind, and its first object
    stop = threading.Event()

    def poll(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            asked = f"limit=50&mark={name}-{number}"
            try:
                answer = hub.get(f"{url}?{asked}", "rw")
            except requests.RequestException:
                continue
            if answer.status_code == 200:
                arrived.append((asked, answer.json()["objects"][0]["id"]))

    pollers = [threading.Thread(target=poll, args=(str(number),)) for number in range(4)]
    for poller in pollers:
        poller.start()
    for _ in range(3):
        so_far = len(arrived)
        wait_until(lambda n=so_far: len(arrived) > n + 10, what="some polls")
        for pid in hub.workers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(hub.workers()) == 2, what="new workers")
    so_far = len(arrived)
    wait_until(lambda: len(arrived) > so_far + 10, what="some polls")
    workers = hub.workers()
    hub.signal(signal.SIGKILL)
    for pid in workers:
        with suppress(ProcessLookupError):  # it follows its parent by itself
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    stop.set()
    for poller in pollers:
        poller.join()

    hub.cli("ledger", "verify")
    told = json.loads(hub.cli("ledger", "what-did", "rw", "--json").stdout)["events"]
    recorded = {event["query"]: len(event["items"]) for event in told}
    assert len(arrived) > 40
    assert {recorded.get(asked) for asked, _ in arrived} == {50}
    given = json.loads(hub.cli("ledger", "who-received", arrived[0][1], "--json").stdout)["deliveries"]
    assert {each["query"] for each in given} >= {asked for asked, _ in arrived}


@SQLITE_ALONE
def test_an_operator_asks_and_checks(hub: Server, tmp_path: Path) -> None:
    first, second = (new_id("indicator") for _ in range(2))
    assert hub.post(lane(0), [indicator(id=first), indicator(id=second)], "admin").json()["success_count"] == 2
    assert hub.get(hub.objects_url(lane(0)), "rw").status_code == 200
    unknown = new_id("indicator")
    assert hub.get(f"{hub.objects_url(lane(0))}{unknown}/", "rw").status_code == 404
    hub.cli("export", "lane-0", "--as", "partner_b")
    hub.cli("get", f"/api2/collections/{lane(0)}/manifest/", "--as", "partner_b")
    assert hub.request("DELETE", f"{hub.objects_url(lane(0))}{first}/", "admin").status_code == 200

    def rows(*arguments: str) -> list[list[str]]:
        return [line.split("\t") for line in hub.cli("ledger", *arguments).stdout.splitlines()]

    head, *received = rows("who-received", first)
    assert head[:5] == ["time", "partner", "object", "version", "as"]
    assert [(row[1], row[2], row[4], row[6]) for row in received][1:] == [
        ("partner_b", first, "whole", "command line"),
        ("partner_b", first, "metadata", "command line"),
    ]
    assert (received[0][1], received[0][7]) == ("rw", "127.0.0.1")
    assert all(row[3].endswith(", deleted") for row in received)
    assert [row[2] for row in rows("what-did", "rw", "receive")[1:]] == [first, second]
    assert rows("what-did", "rw", "receive", "--since", "2999-01-01T00:00:00Z")[1:] == []
    events = rows("what-did", "rw")[1:]
    assert [(row[1], row[2], row[6]) for row in events] == [("delivered", "200", ""), ("refused", "404", "unknown")]
    assert [(row[0], row[2], row[6]) for row in rows("recall", second)[1:]] == [
        ("partner_b", "whole", "it is the newest version"),
        ("rw", "whole", "it is the newest version"),
    ]
    scheme = {
        event["scheme"] for event in json.loads(hub.cli("ledger", "what-did", "partner_b", "--json").stdout)["events"]
    }
    assert scheme == {"cli"}
    assert "no object" in hub.cli("ledger", "who-received", unknown, status=1).stderr

    file = Path(f"{hub.store}-ledger")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    anchor = tmp_path / "heads"
    anchor.write_text(hub.cli("ledger", "heads").stdout)
    assert "ok" in hub.cli("ledger", "verify", "--anchor", str(anchor)).stderr
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        (strand, number) = db.execute("SELECT strand, number FROM entries WHERE partner = 'rw' LIMIT 1").fetchone()
        db.execute("UPDATE entries SET partner = 'nn' WHERE strand = ? AND number = ?", (strand, number))
    assert hub.cli("ledger", "verify", status=1).stdout == f"{strand}\t{number}\twas changed\n"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("DELETE FROM entries")
    missing = hub.cli("ledger", "verify", "--anchor", str(anchor), status=1).stdout.splitlines()
    assert len(missing) == len(anchor.read_text().splitlines())
    anchor.write_text("nonsense\n")
    assert "line 1" in hub.cli("ledger", "verify", "--anchor", str(anchor), status=2).stderr
