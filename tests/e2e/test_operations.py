"""What an operator does to a running server, and what happens to it: each on real worker processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.server import KNOWN_S, Server, is_running, lane, running, wait_until
from tests.world import MT, OPEN_POLICY, RW, indicator, new_id, relationship

#: rw no longer reads objects of other partners.
CLOSED_POLICY = (
    OPEN_POLICY
    + """
[[forbid]]
id = "not-rw"
to = { audience = "rw" }
"""
)
URL = f"/api1/collections/{RW}/objects/"

#: For what has nothing to do with the kind of store.
ON_SQLITE = pytest.mark.parametrize("module_store_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def hub(module_store_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose configuration the tests may change, and put back."""
    with running(tmp_path_factory.mktemp("operations"), module_store_url) as made:
        yield made


def on_every_worker(server: Server, **more: Any) -> list[int]:
    """The status of one request to each worker; who is told to come again does.

    On SQLite a 503 needs a machine that stands still for ten seconds. Then the worker that answers may not get the lock
    of the ledger's file, where it records each answer (a lock on the file of the records holds up no GET); and one that
    was stopped meanwhile does not trust its credentials until it has looked at the store again (Refresher). A worker
    that is stopped between two requests holds no lock: what it records is written before it answers. One that has only
    just begun may hold one: hence the moment, with all of them at work, before it is asked again.
    """
    statuses = []
    for worker in server.workers():
        for attempt in range(3):
            if attempt:
                time.sleep(KNOWN_S)
            with server.only(worker):
                answer = server.get(URL, **more)
            if answer.status_code != 503 or "Retry-After" not in answer.headers:
                break
        statuses.append(answer.status_code)
    return statuses


def seen_by_rw(server: Server) -> list[int]:
    """How many objects rw gets from each worker."""
    counts = []
    for worker in server.workers():
        with server.only(worker):
            counts.append(len(server.get(URL).json().get("objects", [])))
    return counts


def set_policy(server: Server, text: str) -> None:
    (server.folder / "config/policy.toml").write_text(text)


# ---- credentials


def test_a_new_token_is_known_and_a_revoked_one_refused_within_a_second_on_every_worker(hub: Server) -> None:
    secret = hub.cli("token", "new", "rw", "--quiet").stdout.strip()
    bearer = {"Authorization": f"Bearer {secret}"}
    time.sleep(KNOWN_S)
    assert on_every_worker(hub, headers=bearer) == [200, 200]
    hub.cli("token", "revoke", secret.split("_")[1])
    time.sleep(KNOWN_S)
    assert on_every_worker(hub, headers=bearer) == [401, 401]


@ON_SQLITE
def test_a_revoked_password_is_refused_although_it_was_remembered(hub: Server) -> None:
    hub.cli("password", "set", "rw", "--user", "leaver", "--password", "secret")
    time.sleep(KNOWN_S)
    assert on_every_worker(hub, partner=None, auth=("leaver", "secret")) == [200, 200]
    hub.cli("password", "set", "rw", "--user", "leaver", "--password", "another")
    time.sleep(KNOWN_S)
    assert on_every_worker(hub, partner=None, auth=("leaver", "secret")) == [401, 401]
    assert on_every_worker(hub, partner=None, auth=("leaver", "another")) == [200, 200]
    hub.cli("token", "revoke", "leaver")
    time.sleep(KNOWN_S)
    assert on_every_worker(hub, partner=None, auth=("leaver", "another")) == [401, 401]


# ---- another configuration


def test_reload_changes_the_policy_on_every_worker_and_back(hub: Server) -> None:
    hub.post(RW, [indicator()], "admin", root="api1")
    before = seen_by_rw(hub)
    assert before == [before[0]] * 2
    assert before[0] > 0
    set_policy(hub, CLOSED_POLICY)
    done = hub.cli("reload")
    assert "in force" in done.stdout  # the server itself may have seen the edited file before
    time.sleep(KNOWN_S)
    assert seen_by_rw(hub) == [0, 0]
    assert "was in force already" in hub.cli("reload").stdout
    set_policy(hub, OPEN_POLICY)
    hub.cli("reload")
    time.sleep(KNOWN_S)
    assert seen_by_rw(hub) == before


def test_what_refers_to_an_object_comes_when_another_partner_posts_it_readable(hub: Server) -> None:
    rule = '\n[[forbid]]\nid = "not"\nto = { audience = "partner_b" }\nwhat = { label = "secret" }\n'
    set_policy(hub, OPEN_POLICY + rule)
    hub.cli("reload")
    time.sleep(KNOWN_S)
    id_, url = new_id(), hub.objects_url(lane(40))
    hidden, refers, known = indicator(id_, labels=["secret"]), relationship(id_, id_), indicator()
    assert hub.post(lane(40), [hidden, refers, known]).json()["success_count"] == 3
    got: list[str] = []
    after = ""

    def poll() -> list[str]:
        nonlocal after
        answer = hub.get(url, "partner_b", params={"added_after": after} if after else {})
        found = [each["id"] for each in answer.json().get("objects", [])]
        got.extend(found)
        after = answer.headers["X-TAXII-Date-Added-Last"] if found else after
        return found

    assert poll() == [known["id"]]
    assert hub.post(lane(40), [indicator(id_)], "admin").json()["success_count"] == 1
    wait_until(lambda: refers["id"] in poll(), what="what refers to it comes")
    assert got == [known["id"], id_, refers["id"]]
    set_policy(hub, OPEN_POLICY)
    hub.cli("reload")


@ON_SQLITE
def test_a_broken_configuration_is_not_reloaded(hub: Server) -> None:
    before = seen_by_rw(hub)
    set_policy(hub, CLOSED_POLICY + "\n[[forbid]]\nid = 'x'\nwat = 1\n")
    done = hub.cli("reload", status=2)
    assert "config/policy.toml" in done.stderr
    assert "'wat'" in done.stderr
    time.sleep(KNOWN_S)
    assert seen_by_rw(hub) == before
    set_policy(hub, OPEN_POLICY)


def test_sighup_takes_over_what_changed_and_requests_go_on_meanwhile(hub: Server) -> None:
    hub.post(RW, [indicator()], "admin", root="api1")
    failures: list[str] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            try:
                answer = hub.get(URL)
                if answer.status_code != 200:
                    failures.append(answer.text)
            except OSError as error:
                failures.append(repr(error))

    polling = threading.Thread(target=poll)
    polling.start()
    before = hub.workers()
    set_policy(hub, CLOSED_POLICY)
    hub.signal(signal.SIGHUP)
    wait_until(lambda: len(hub.workers()) == 2 and not set(hub.workers()) & set(before), what="two new workers")
    stop.set()
    polling.join()
    assert failures == []
    wait_until(lambda: hub.get("/readyz", None).status_code == 200)
    time.sleep(KNOWN_S)
    assert seen_by_rw(hub) == [0, 0]
    set_policy(hub, OPEN_POLICY)
    hub.cli("reload")
    time.sleep(KNOWN_S)


@ON_SQLITE
def test_sighup_with_a_broken_configuration_leaves_the_old_one_in_force_and_says_why(hub: Server) -> None:
    hub.post(RW, [indicator()], "admin", root="api1")
    count = seen_by_rw(hub)
    before = hub.workers()
    set_policy(hub, "schema = 1\nname = 'x'\nwat = 2\n")
    hub.signal(signal.SIGHUP)
    wait_until(lambda: len(hub.workers()) == 2 and not set(hub.workers()) & set(before), what="two new workers")
    wait_until(lambda: hub.get("/readyz", None).status_code == 200)
    assert seen_by_rw(hub) == count
    text = hub.stderr()
    assert "the old configuration stays in force" in text
    assert "config/policy.toml" in text
    assert "'wat'" in text
    assert "Traceback" not in text
    set_policy(hub, OPEN_POLICY)


@ON_SQLITE
def test_sighup_with_a_server_toml_that_is_no_toml_leaves_everything_as_it_is(hub: Server) -> None:
    text = hub.config.read_text()
    before = hub.workers()
    hub.config.write_text("[[[")
    hub.signal(signal.SIGHUP)
    wait_until(lambda: len(hub.workers()) == 2 and not set(hub.workers()) & set(before), what="two new workers")
    wait_until(lambda: hub.get("/readyz", None).status_code == 200)
    hub.config.write_text(text)
    assert hub.get(URL).status_code == 200
    assert "server.toml" in hub.stderr().rpartition("the old configuration stays in force")[2]


@ON_SQLITE
def test_a_new_collection_and_a_new_api_root_appear_without_a_restart(hub: Server) -> None:
    config = hub.config.read_text()
    hub.config.write_text(config + '\n[api_roots.api9]\ntitle = "Ninth root"\n')
    file = hub.folder / "collections/late.toml"
    file.write_text(
        'id = "8a0f0b65-95f5-4f8a-9a3c-2b8c1f0e4a11"\napi_root = "api9"\ntitle = "Late"\nreaders = ["rw"]\n'
    )
    hub.cli("reload")
    time.sleep(KNOWN_S)
    assert [each["title"] for each in hub.get("/api9/collections/").json()["collections"]] == ["Late"]
    file.unlink()
    hub.config.write_text(config)
    before = hub.workers()
    hub.signal(signal.SIGHUP)
    wait_until(lambda: not set(hub.workers()) & set(before) and hub.get("/readyz", None).status_code == 200)
    assert hub.get("/api9/collections/").status_code == 404


# ---- processes that end


def test_another_worker_comes_for_one_that_is_killed_and_nothing_acknowledged_is_lost(hub: Server) -> None:
    made: list[str] = []
    for _ in range(2):
        before = hub.workers()
        body = [indicator() for _ in range(10)]
        assert hub.post(RW, body, root="api1").status_code == 202
        made += [each["id"] for each in body]
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda b=before: len(hub.workers()) == 2 and b[0] not in hub.workers(), what="a new worker")
    assert on_every_worker(hub) == [200, 200]
    for object_id in made:
        assert hub.get(f"{URL}{object_id}/").status_code == 200


def test_a_worker_killed_in_the_middle_of_a_post_leaves_nothing_half_done(hub: Server) -> None:
    """What got no answer may be stored or not; posting it again completes it, and nothing is there twice."""
    body = [indicator() for _ in range(3000)]

    def post() -> None:
        with suppress(OSError):
            hub.post(lane(0), body)

    for delay in (0.05, 0.15):
        posting = threading.Thread(target=post)
        posting.start()
        time.sleep(delay)
        for pid in hub.workers():
            os.kill(pid, signal.SIGKILL)
        posting.join()
        wait_until(lambda: len(hub.workers()) == 2 and _ready(hub), what="new workers")
    assert hub.post(lane(0), body).json()["success_count"] == len(body)
    ids = _walk(hub, hub.objects_url(lane(0)))
    assert len(ids) == len(set(ids))
    assert set(ids) == {each["id"] for each in body}


def test_sigterm_finishes_a_request_that_is_running(own_server: Server) -> None:
    own_server.start()
    made = indicator()
    body = json.dumps({"objects": [made]}).encode()
    with socket.create_connection(("127.0.0.1", own_server.port), timeout=30) as client:
        head = (
            f"POST {URL} HTTP/1.1\r\nHost: x\r\nAccept: {MT}\r\nContent-Type: {MT}\r\nContent-Length: {len(body)}\r\n"
            "Expect: 100-continue\r\n"
        )
        client.sendall(f"{head}Authorization: Bearer {own_server.token('rw')}\r\n\r\n".encode())
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n", "it is running"
        client.sendall(body[:20])
        own_server.signal(signal.SIGTERM)
        time.sleep(0.7)
        client.sendall(body[20:])
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 202"), answer
    assert own_server.process is not None
    assert own_server.process.wait(20) == 0
    own_server.start()
    assert own_server.get(f"{URL}{made['id']}/").status_code == 200


def test_a_restart_in_the_middle_of_a_page_walk_is_not_noticed(own_server: Server) -> None:
    own_server.start()
    made = [indicator() for _ in range(30)]
    own_server.post(RW, made, root="api1")
    got: list[str] = []
    params: dict[str, Any] = {"limit": 7}
    while True:
        page = own_server.get(URL, params=params).json()
        got += [each["id"] for each in page["objects"]]
        if "next" not in page:
            break
        params["next"] = page["next"]
        if len(got) in (7, 21):
            assert own_server.stop() == 0
            own_server.start(workers=1 if len(got) == 7 else 3)
    assert got == [each["id"] for each in made]


def test_two_servers_on_one_database_are_one_hub(own_server: Server, tmp_path: Path) -> None:
    own_server.start()
    other = Server(tmp_path / "other", own_server.store)
    try:
        other.tokens = own_server.tokens
        other.start(workers=1)
        made = [indicator() for _ in range(20)]
        for number, each in enumerate(made):
            (own_server, other)[number % 2].post(RW, [each], "admin", root="api1")
        first = own_server.get(URL, params={"limit": 8}).json()
        rest = other.get(URL, params={"next": first["next"]}).json()
        assert [each["id"] for each in first["objects"] + rest["objects"]] == [each["id"] for each in made]
        set_policy(own_server, CLOSED_POLICY)
        own_server.cli("reload")
        own_server.cli("token", "revoke", own_server.tokens["admin"].split("_")[1])
        time.sleep(KNOWN_S)
        assert other.get(URL).json() == {}
        assert other.get(URL, "admin").status_code == 401
    finally:
        other.kill()


@pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)
def test_sigterm_and_sigint_end_every_process(own_server: Server) -> None:
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 0)):
        own_server.start()
        workers = own_server.workers()
        own_server.signal(number)
        assert own_server.process is not None
        assert own_server.process.wait(20) == status
        wait_until(lambda w=workers: not any(map(is_running, w)), 5, "no worker is left")
    text = own_server.stderr()
    assert "Traceback" not in text
    assert "Warning" not in text


@pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)
def test_sighup_during_the_start_waits_for_it(own_server: Server) -> None:
    process = own_server.begin("--workers", "1")
    status = Path(f"/proc/{process.pid}/status")
    wait_until(lambda: re.search(r"^SigBlk:.*[13579bdf]$", status.read_text(), re.M), what="SIGHUP is blocked")
    own_server.signal(signal.SIGHUP)
    wait_until(lambda: "Handling signal: hup" in own_server.stderr() or process.poll() is not None)
    assert own_server.stop() == 0


@pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)
def test_workers_follow_a_parent_that_was_killed(own_server: Server) -> None:
    own_server.start()
    workers = own_server.workers()
    own_server.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, workers)), 15, "no worker is left")


@pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)
def test_a_taken_port_ends_the_start(own_server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        own_server.port = taken.getsockname()[1]
        process = own_server.begin()
        assert process.wait(30) != 0
    assert "another program has it" in own_server.stderr()
    assert "Traceback" not in own_server.stderr()


@ON_SQLITE
def test_a_server_loses_no_files_and_threads_over_many_requests(hub: Server) -> None:
    """Open files and threads of the workers stay where they were after warming up."""
    for _ in range(40):
        hub.get(URL)
    before = _held(hub)
    for _ in range(200):
        hub.get(URL)
    after = _held(hub)
    assert all(after[pid][0] <= before[pid][0] + 8 for pid in before), (before, after)
    assert all(after[pid][1] <= before[pid][1] + 9 for pid in before), (before, after)


def _held(server: Server) -> dict[int, tuple[int, int]]:
    return {
        pid: (len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir())))
        for pid in server.workers()
    }


def _ready(server: Server) -> bool:
    try:
        return server.get("/readyz", None).status_code == 200
    except OSError:
        return False


def _walk(server: Server, url: str) -> list[str]:
    found: list[str] = []
    params: dict[str, str] = {"match[version]": "all"}
    while True:
        answer = server.get(url.replace("/objects/", "/manifest/"), params=params)
        if answer.status_code == 503 and "Retry-After" in answer.headers:
            time.sleep(int(answer.headers["Retry-After"]))
            continue
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [each["id"] for each in page.get("objects", [])]
        if "next" not in page:
            return found
        params = {"next": page["next"]}


def test_nothing_outlives_tests_that_are_killed(tmp_path: Path) -> None:
    """The helper of these tests itself: kill -9 on the tests ends the server and its workers."""
    script = (
        "import sys, time, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from tests.e2e.server import Server\n"
        "server = Server(pathlib.Path(sys.argv[2])); server.start(); assert server.process\n"
        "print(server.process.pid, *server.workers(), flush=True); time.sleep(60)\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", script, root, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pids = [int(each) for each in run.stdout.readline().split()]
        assert len(pids) == 3
        run.kill()
    wait_until(lambda: not any(map(is_running, pids)), 15, "no process is left")


@pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)
def test_workers_whose_parent_was_killed_end_although_a_client_keeps_them_busy(own_server: Server) -> None:
    """And the server can be started again on its port meanwhile."""
    own_server.start()
    workers = own_server.workers()
    stop = threading.Event()

    def poll() -> None:
        headers = {"Accept": MT, "Authorization": f"Bearer {own_server.token('rw')}"}
        with requests.Session() as session:
            while not stop.is_set():
                with suppress(requests.RequestException):
                    session.get(own_server.url + URL, headers=headers, timeout=10)

    polling = threading.Thread(target=poll)
    polling.start()
    try:
        assert own_server.process is not None
        own_server.process.kill()
        own_server.process.wait()
        wait_until(lambda: not any(map(is_running, workers)), 15, "the end of the workers")
        own_server.start()
        assert own_server.get(URL).status_code == 200
    finally:
        stop.set()
        polling.join()
        for pid in filter(is_running, workers):
            os.kill(pid, signal.SIGKILL)
