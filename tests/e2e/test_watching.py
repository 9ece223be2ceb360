"""What whoever watches over a server sees of it: probes and metrics, of real worker processes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from taxii_server.audit import EVENTS
from taxii_server.logs import FIELDS
from taxii_server.metering import metrics
from tests.e2e.server import Server, running, wait_until
from tests.ports import free_port
from tests.world import RW, indicator

URL = f"/api1/collections/{RW}/objects/"
GET = {"route": "objects.get_objects", "method": "GET", "status": "200"}


@pytest.fixture(scope="module")
def hub(module_store_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("watching"), module_store_url, settings="lockout_after = 2") as made:
        yield made


def samples(server: Server) -> list[tuple[str, dict[str, str], float]]:
    answer = requests.get(f"{server.url}/metrics", timeout=10)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def value(server: Server, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(number for found, its, number in samples(server) if found == name and labels.items() <= its.items())


def test_requests_and_objects_are_counted_by_names_that_the_operator_knows(hub: Server) -> None:
    before = value(hub, "taxii_requests_total", **GET)
    delivered = value(hub, "taxii_objects_delivered_total")
    good, bad = [indicator() for _ in range(3)], {"type": "indicator", "id": "indicator--1"}
    assert hub.post(RW, [*good, bad], root="api1").status_code == 202
    stored = {"partner": "rw", "collection": "rw"}
    count = len(hub.get(URL).json()["objects"])
    hub.get(URL)
    # Each worker writes down what it counted when it comes to it, also the one that had the POST.
    wait_until(lambda: value(hub, "taxii_requests_total", **GET) == before + 2)
    wait_until(lambda: value(hub, "taxii_objects_received_total", **stored, result="stored") >= 3)
    wait_until(lambda: value(hub, "taxii_objects_received_total", **stored, result="failed") == 1)
    wait_until(lambda: value(hub, "taxii_objects_delivered_total", **stored) == delivered + 2 * count)
    wait_until(lambda: value(hub, "taxii_partner_last_read_timestamp_seconds", **stored) > 1_700_000_000)
    wait_until(lambda: value(hub, "taxii_ledger_batch_entries_count") >= 2)
    wait_until(lambda: value(hub, "taxii_commit_group_size_sum") >= 1)
    wait_until(lambda: value(hub, "taxii_store_seconds_count", operation="page") >= 2)
    wait_until(lambda: value(hub, "taxii_workers") == 2)
    assert value(hub, "taxii_ready") == 1


def test_nothing_that_a_client_sends_becomes_a_label(hub: Server) -> None:
    for path in ("/nowhere/at/all/", "/api1/collections/no-such/objects/"):
        assert hub.get(path).status_code == 404
    assert hub.request("BREW", "/taxii2/").status_code == 405
    wait_until(lambda: value(hub, "taxii_requests_total", method="other") == 1)
    text = requests.get(f"{hub.url}/metrics", timeout=10).text
    for word in ("nowhere", "no-such", "BREW"):
        assert word not in text


def test_every_sample_is_of_a_metric_of_the_table(hub: Server) -> None:
    known = {metric.name.removesuffix("_total"): metric for metric in metrics()}
    for name, labels, _ in samples(hub):
        base = name.removesuffix("_total")
        for suffix in ("_bucket", "_sum", "_count"):
            if known.get(base.removesuffix(suffix)):
                base = base.removesuffix(suffix)
        assert set(labels) - {"le"} == set(known[base].labels), name


def test_a_killed_worker_takes_no_count_with_it(hub: Server) -> None:
    counted = value(hub, "taxii_requests_total", **GET)
    for _ in range(6):
        hub.get(URL)
    wait_until(lambda: value(hub, "taxii_workers") == 2)
    before = counted + 6
    wait_until(lambda: value(hub, "taxii_requests_total", **GET) == before, what="every worker wrote down its counts")
    worker = hub.workers()[0]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(hub.workers()) == 2 and worker not in hub.workers(), what="a new worker")
    assert value(hub, "taxii_requests_total", **GET) == before
    wait_until(lambda: value(hub, "taxii_workers") == 2, what="the dead one is no worker any more")


def test_who_is_locked_out_is_counted(hub: Server) -> None:
    wrong = {"auth": ("ro", "wrong")}
    while hub.get(URL, None, **wrong).status_code != 429:
        pass
    wait_until(lambda: value(hub, "taxii_refused_total", why="locked-out") >= 1)


def test_for_strangers_there_are_no_metrics_and_no_reasons(hub: Server) -> None:
    """Who says that it asks for somebody else, and is no trusted proxy, is no operator."""
    strange = {"X-Forwarded-For": "192.0.2.1"}
    unknown = hub.get("/nowhere", None, headers=strange)
    found = hub.get("/metrics", None, headers=strange)
    assert (found.status_code, found.json()["error_code"]) == (unknown.status_code, unknown.json()["error_code"])
    assert found.status_code == 401
    known = hub.get("/metrics", headers=strange)
    assert known.status_code == 404
    assert hub.get("/metrics", None, headers={"Authorization": "Bearer wrong"}).status_code == 200


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with one worker, a port of its own for machines, and a log in JSON; and the URL of that port."""
    port = free_port()
    settings = f'metrics_port = {port}\nlog_format = "json"'
    with running(tmp_path_factory.mktemp("machines"), workers=1, settings=settings) as made:
        yield made, f"http://127.0.0.1:{port}"


def test_a_store_that_is_gone_is_told_with_its_reason_to_operators_alone(machines: tuple[Server, str]) -> None:
    server, there = machines
    assert requests.get(f"{server.url}/readyz", timeout=5).text == "ready\n"
    database = Path(server.store)
    database.rename(database.with_name("gone.db"))
    wait_until(lambda: requests.get(f"{server.url}/readyz", timeout=5).status_code == 503)
    assert "is not there" in requests.get(f"{server.url}/readyz", timeout=5).text
    strange = requests.get(f"{server.url}/readyz", headers={"X-Real-IP": "192.0.2.1"}, timeout=5)
    assert (strange.status_code, strange.text) == (503, "not ready\n")
    assert requests.get(f"{server.url}/livez", timeout=5).status_code == 200
    assert "taxii_ready 0.0" in requests.get(f"{there}/metrics", timeout=5).text
    database.with_name("gone.db").rename(database)
    wait_until(lambda: requests.get(f"{server.url}/readyz", timeout=5).status_code == 200)


def test_a_port_of_its_own_has_the_metrics_and_nothing_else(machines: tuple[Server, str]) -> None:
    server, there = machines
    for path in ("/metrics", "/healthz", "/livez", "/readyz"):
        assert requests.get(there + path, timeout=5).status_code == 200
    assert server.get(f"{there}/taxii2/").status_code == 404
    assert server.get("/metrics").status_code == 404
    assert server.get("/taxii2/").status_code == 200


def test_each_line_of_the_log_is_json_and_none_has_a_secret(machines: tuple[Server, str]) -> None:
    server, _ = machines
    wrong = "a-secret-that-nobody-has"
    refused = [
        server.get("/nowhere/"),
        server.get(f"{URL}?limit={wrong}"),
        server.get(URL, None, auth=("rw", wrong)),
        server.get(URL, None, headers={"Authorization": f"Bearer {wrong}"}),
        server.get(f"{URL}?token={wrong}"),
    ]
    assert server.get(URL).status_code == 200
    ids = {answer.json()["error_id"] for answer in refused if answer.status_code >= 400}
    assert len(ids) >= 4
    known = {*FIELDS, *(fact for _, facts in EVENTS.values() for fact in facts)}

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in server.stderr().splitlines()]

    wait_until(lambda: ids <= {line.get("request") for line in lines()}, what="every error is in the log")
    assert {line["logger"] for line in lines()} >= {"gunicorn.error", "taxii_server.audit", "taxii_server.web.errors"}
    assert all(set(line) <= known for line in lines())
    read = [line for line in lines() if line.get("event") == "read"]
    assert read
    assert all(line["request"] not in ids for line in read)
    for secret in (wrong, *server.tokens.values()):
        assert secret not in server.stderr()


def test_the_order_to_stop_is_told_before_the_server_stops(tmp_path: Path) -> None:
    """A load balancer sees 503 and sends no more, and what it sends meanwhile is answered."""
    with running(tmp_path, workers=2, settings="shutdown_delay_s = 4") as own:
        statuses: list[int] = []
        errors: list[str] = []
        stop = threading.Event()

        def poll() -> None:
            while not stop.is_set():
                try:
                    statuses.append(own.get(URL).status_code)
                except requests.ConnectionError as error:
                    if not stop.is_set():
                        errors.append(repr(error))

        threads = [threading.Thread(target=poll) for _ in range(3)]
        for thread in threads:
            thread.start()
        own.signal(signal.SIGTERM)
        wait_until(lambda: requests.get(f"{own.url}/readyz", timeout=5).status_code == 503, what="readyz says 503")
        count = len(statuses)
        wait_until(lambda: len(statuses) > count + 5, what="requests are answered meanwhile")
        stop.set()
        for thread in threads:
            thread.join()
        assert own.process is not None
        assert own.process.wait(20) == 0
        assert errors == []
        assert set(statuses) == {200}
        with pytest.raises(requests.ConnectionError):
            own.get(URL)
