"""Hubs that mirror each other, and medallion: real servers, our side on both stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from taxii_server.mirror import state as states
from taxii_server.mirror.run import Surroundings
from taxii_server.mirror.running import job_of
from taxii_server.service.hub import Hub
from taxii_server.settings import load
from taxii_server.storage import open_store
from tests.e2e.server import Server, environment, lane, wait_until
from tests.mirror.conftest import Hub as OurHub
from tests.peers import MEDALLION_USER, medallion
from tests.world import indicator, malware


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The hub of another organisation."""
    made = Server(tmp_path_factory.mktemp("upstream"), settings="max_page = 50\ndefault_page = 50")
    try:
        made.start(workers=1)
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def upstream_lanes() -> Iterator[int]:
    return iter(range(60))


@pytest.fixture
def there(upstream_lanes: Iterator[int]) -> int:
    """A collection of the other hub that no other test uses."""
    return next(upstream_lanes)


@pytest.fixture
def token(upstream: Server, tmp_path: Path) -> str:
    """A file with a token of the other hub."""
    return secret(tmp_path / "token", upstream.token("rw"))


def progress(server: Server) -> dict[str, int]:
    """How much each mirror of that server's store has stored."""
    with closing(open_store(server.store)) as store:
        return {each.name: each.stored for each in states.every(store)}


def secret(file: Path, text: str) -> str:
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def test_everything_of_another_hub_comes_here_once(upstream: Server, hub: OurHub, there: int, token: str) -> None:
    objects = [indicator(name=f"n{n}") for n in range(120)]
    newer = [indicator(each["id"], "2021-01-01T00:00:00.000Z", name="newer") for each in objects[:5]]
    assert upstream.post(lane(there), [*objects, *newer]).json()["success_count"] == 125
    here, url = hub.lane(), upstream.objects_url(lane(there))
    report = hub.pull(url, here, token_file=token)
    assert (report.counts.stored, report.counts.refused, report.pages, report.complete) == (125, 0, 3, True)
    assert hub.stored(here) == {each["id"]: each for each in [*objects, *newer]}
    assert len(list(hub.world.walk(of=lane(here), root="api2", query="match[version]=all", limit=1000))) == 125
    later = malware()
    upstream.post(lane(there), [later])
    report = hub.pull(url, here, token_file=token)
    assert (report.counts.stored, report.pages) == (1, 1)
    assert later["id"] in hub.stored(here)


def test_a_pull_that_is_killed_goes_on_and_loses_nothing(upstream: Server, hub: OurHub, there: int, token: str) -> None:
    objects = [indicator() for _ in range(150)]
    upstream.post(lane(there), objects)
    here, url, store = hub.lane(), upstream.objects_url(lane(there)), hub.world.store
    command = [
        str(Path(sys.executable).with_name("taxii-server")), "--config", str(hub.folder / "config/server.toml"),
        "--store", hub.world.settings.store, "mirror", "pull", url, "--into", f"lane-{here}", "--as", "admin",
        "--token-file", token, "--page", "1", "--name", f"killed-{here}",
    ]  # fmt: skip

    def stored() -> int:
        return sum(each.stored for each in states.every(store) if each.name == f"killed-{here}")

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    wait_until(lambda: stored() > 1, what="the pull is under way")  # the last one is read again
    with upstream.standing_still():  # else it may come to its end before it is killed
        with pytest.raises(states.Busy, match=f"{process.pid}"):
            hub.pull(url, here, token_file=token)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was at its end already"
    assert 0 < stored() < 150
    report = hub.pull(url, here, token_file=token)
    assert (report.complete, report.error) == (True, "")
    assert hub.stored(here).keys() == {each["id"] for each in objects}
    assert report.counts.received < 150, "it began anew"


@contextmanager
def served(hub: OurHub) -> Iterator[str]:
    """Our hub as a server that others reach; its URL."""
    server = make_server("127.0.0.1", 0, hub.world.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_two_hubs_that_mirror_each_other_come_to_rest(
    upstream: Server, hub: OurHub, there: int, token: str, tmp_path: Path
) -> None:
    theirs, ours = indicator(), malware()
    here = hub.lane()
    upstream.post(lane(there), [theirs])
    hub.world.post([ours], into=lane(here), root="api2")
    login = secret(tmp_path / "ours", hub.world.tokens["rw"])
    settings = load(upstream.config, environment={}, flags={"store": upstream.store})
    with served(hub) as url, closing(open_store(upstream.store)) as store:
        other = Hub(settings, store)
        pull = hub.mirror("pull", f"{url}/api2/collections/{lane(here)}/", there, token_file=login)
        push = hub.mirror("push", upstream.objects_url(lane(there)), here, token_file=token)
        counts = []
        for _ in range(4):
            reports = [
                job_of(other, pull, Surroundings()).run(),
                hub.pull(upstream.objects_url(lane(there)), here, token_file=token),
                hub.run(push),
            ]
            assert [each.error for each in reports] == ["", "", ""]
            counts.append([each.counts.stored for each in reports[:2]])
    assert counts == [[1, 1], [0, 0], [0, 0], [0, 0]]
    assert [each.counts.received for each in reports] == [0, 0, 0]
    both = {each["id"]: each for each in (theirs, ours)}
    assert hub.stored(here) == both
    for records in hub.world.store.lookup(list(both)).values():
        assert len(records) == 1, "it came back as a post of the mirror"
    every = upstream.get(upstream.objects_url(lane(there)) + "?match[version]=all").json()["objects"]
    assert sorted(each["id"] for each in every) == sorted(both)


def test_what_a_partner_may_read_is_pushed_to_it(upstream: Server, hub: OurHub, there: int, token: str) -> None:
    objects = [indicator(name="x" * 20_000) for _ in range(70)]  # more than max_content_length together
    here = hub.lane()
    for start in (0, 35):
        assert hub.world.post(objects[start : start + 35], into=lane(here), root="api2").status_code == 202
    mirror = hub.mirror("push", upstream.objects_url(lane(there)), here, token_file=token)
    report = hub.run(mirror)
    assert (report.counts.stored, report.counts.refused, report.complete) == (70, 0, True)
    page = upstream.get(f"{upstream.objects_url(lane(there))}?limit=50").json()
    assert page["more"]
    assert {each["id"] for each in page["objects"]} < {each["id"] for each in objects}
    assert hub.run(mirror).counts.received == 0
    entries = list(hub.world.store.ledger.walk())
    assert any("mirror push" in entry.facts and entry.partner == "admin" for entry in entries)


def test_medallion_is_pulled_whatever_its_dates_and_pages_are(hub: OurHub, tmp_path: Path) -> None:
    dates = [f"2026-01-01T00:00:0{n // 12}.000000Z" for n in range(50)]
    objects = [(date, indicator(name=f"n{n}")) for n, date in enumerate(dates)]
    login = {
        "user": MEDALLION_USER[0], "password_file": secret(tmp_path / "password", MEDALLION_USER[1]), "page": 7,
        "attempts": 1,
    }  # fmt: skip
    here = hub.lane()
    with medallion(tmp_path, objects) as peer:
        report = hub.pull(peer.url, here, **login, max_objects=10)
        assert (report.complete, report.counts.stored) == (False, 14)
        peer.end()
        assert "does not answer" in hub.pull(peer.url, here, **login).error
        peer.start()  # and does not know its pages any more
        report = hub.pull(peer.url, here, **login)
        assert any("does not know the place" in each for each in report.warnings)
        assert hub.stored(here).keys() == {each["id"] for _, each in objects}
        late = [indicator() for _ in range(9)]
        assert peer.post(late).status_code == 202
        hub.pull(peer.url, here, **login)
        kept = {each["id"] for each in [*(each for _, each in objects), *late]}
        assert hub.stored(here).keys() == kept
        gone = objects[0][1]["id"]
        assert peer.request("DELETE", f"{peer.url}objects/{gone}/").status_code == 200
        mirror = hub.mirror("pull", peer.url, here, **login)
        assert hub.run(mirror, follow=True).deleted == 1
        assert hub.stored(here).keys() == kept - {gone}
        # What is posted here by the same partner is not the mirror's.
        own = indicator()
        hub.world.post([own], "admin", into=lane(here), root="api2")
        for id_ in peer.ids():
            peer.request("DELETE", f"{peer.url}objects/{id_}/")
        report = hub.run(mirror, follow=True)
        assert (report.deleted, report.deletions_held) == (0, 58)
        assert "nothing is deleted" in report.warnings[0]
        assert hub.run(mirror, sure=True).deleted == 58
        assert hub.stored(here).keys() == {own["id"]}


def test_what_is_pushed_to_medallion_is_all_there(small_hub: OurHub, tmp_path: Path) -> None:
    hub, here = small_hub, small_hub.lane()
    objects = [indicator() for _ in range(30)]
    hub.world.post(objects, into=lane(here), root="api2")
    login = {"user": MEDALLION_USER[0], "password_file": secret(tmp_path / "password", MEDALLION_USER[1]), "page": 8}
    with medallion(tmp_path, max_page=100) as peer:
        report = hub.run(hub.mirror("push", peer.url, here, **login))
        assert (report.error, report.counts.stored, report.counts.refused) == ("", 30, 0)
        assert peer.ids() == {each["id"] for each in objects}


def test_a_service_runs_every_mirror_and_one_that_fails_stops_no_other(
    upstream: Server, upstream_lanes: Iterator[int], token: str, tmp_path: Path
) -> None:
    first, second = indicator(), indicator()
    places = [next(upstream_lanes), next(upstream_lanes)]
    upstream.post(lane(places[0]), [first])
    own = Server(tmp_path)
    file = own.folder / "config/mirrors.toml"

    def write(*names: int) -> None:
        tables = [
            f'[pull.lane-{n}]\nurl = "{upstream.objects_url(lane(places[n]))}"\ncollection = "lane-{n}"\n'
            f'partner = "admin"\ntoken_file = "{token}"\nevery_s = 1\noverlap_s = 0\n'
            for n in names
        ]
        bad = '[pull.bad]\nurl = "http://127.0.0.1:9/a/collections/x/"\ncollection = "lane-9"\npartner = "admin"\n'
        file.write_text("\n".join([bad, *tables]))

    write(0)
    log = tmp_path / "log"
    own.prepare()
    with log.open("wb") as stream:
        process = subprocess.Popen(own.command("mirror", "run"), stdout=stream, stderr=stream, env=environment())
    try:
        wait_until(lambda: progress(own).get("lane-0") == 1, what=log.read_text())
        file.write_text("[pull.nonsense]\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "go on as they were" in log.read_text())
        upstream.post(lane(places[0]), [second])
        upstream.post(lane(places[1]), [second])
        wait_until(lambda: progress(own).get("lane-0") == 2, what=log.read_text())
        write(0, 1)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: progress(own).get("lane-1") == 1, what=log.read_text())
        wait_until(lambda: "mirror bad: 127.0.0.1:9 does not answer" in log.read_text())
        listed = own.cli("mirror", "list").stdout
        assert "lane-1\tpull" in listed
        assert upstream.token("rw") not in listed
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
