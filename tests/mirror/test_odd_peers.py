"""Upstreams that fail, lie or attack: what is there comes here, what is not wanted does not, and a run ends."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from taxii_server.errors import ConfigError
from taxii_server.mirror import connection
from taxii_server.mirror import state as states
from taxii_server.mirror.connection import Stopped
from taxii_server.mirror.run import Surroundings
from taxii_server.mirror.running import Service, job_of
from taxii_server.storage.quarantine import EntryQuery
from tests.certificates import authority, server_certificate
from tests.e2e.server import lanes
from tests.mirror.conftest import Hub
from tests.mirror.hostile import COLLECTION, Reply, Request, in_turn, page, upstream
from tests.world import COLLECTIONS, OPEN_POLICY, indicator, malware, new_id, world

FAILURES = {
    "503": Reply({"title": "busy"}, status=503),
    "429 with a pause": Reply({}, status=429, headers={"Retry-After": "0"}),
    "429 with a date": Reply({}, status=429, headers={"Retry-After": formatdate(0, usegmt=True)}),
    "500 without JSON": Reply(b"<html>", status=500, media="text/html"),
    "half a body": Reply({"objects": [indicator()]}, cut=40),
    "another content type": Reply(b"<html>please log in</html>", media="text/html"),
    "no version in the content type": Reply({}, media="application/taxii+json"),
    "invalid JSON": Reply(b'{"objects": ['),
    "a list": Reply(b"[]"),
    "objects that are no list": Reply({"objects": {}}),
}


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("name", FAILURES)
def test_what_passes_is_waited_for(small_hub: Hub, name: str) -> None:
    wanted, here = indicator(), small_hub.lane()
    with upstream(in_turn(FAILURES[name], page([wanted]))) as peer:
        report = small_hub.pull(peer.url, here)
        if name == "objects that are no list":  # that is no accident of the way
            assert "not a list" in report.error
            report = small_hub.pull(peer.url, here)
    assert (report.error, report.counts.stored) == ("", 1)
    assert small_hub.stored(here).keys() == {wanted["id"]}


@pytest.mark.usefixtures("no_pause")
def test_a_page_whose_answer_is_lost_is_not_stepped_over(small_hub: Hub) -> None:
    """The same `next` would bring the page behind it, as medallion moves on when it answers."""
    pages = [[indicator() for _ in range(3)] for _ in range(3)]
    dates = [f"2026-01-01T00:00:0{n}.000000Z" for n in range(3)]
    place = 0
    lost = [True]

    def answers(request: Request) -> Reply:
        nonlocal place
        if "next" not in request.query:
            after = request.query.get("added_after", "")
            place = next(n for n in range(3) if dates[n] > after)
        found = page(pages[place], dates[place], more=place < 2, **({"next": "one"} if place < 2 else {}))
        place += 1
        if request.query.get("next") and lost:
            lost.clear()
            return Reply(found.body, cut=20)
        return found

    here = small_hub.lane()
    with upstream(answers) as peer:
        report = small_hub.pull(peer.url, here)
    assert report.error == ""
    assert small_hub.stored(here).keys() == {each["id"] for some in pages for each in some}


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"title": "no"}, status=401), "answers 401: no (is the token or password right?)"),
        (Reply(b"x", media="a\x1b[2Jb"), "answers with 'a [2Jb'"),
        (Reply({}, status=404), "answers 404 (is the URL right"),
        (Reply({}, status=302, headers={"Location": "http://localhost:1/"}), "redirects to http://localhost:1"),
        (Reply({}, status=302, headers={"Location": "https://127.0.0.1/x"}), "redirects to https://127.0.0.1"),
        (Reply({}, status=302, headers={"Location": "?again"}), "redirects in a circle"),
        (Reply({}, status=302), "redirects"),
        (Reply(b"x", headers={"Content-Length": "99999999999"}), "bytes, at most"),
        (Reply(b'{"objects":[' + b"[]," * 600_000 + b"1]}"), "more than 1000000 values"),
        (Reply(b"[" * 100_000), "not JSON"),
        (Reply({}, status=503, headers={"Retry-After": "86000"}), "answers 503"),
    ],
)
def test_what_does_not_pass_ends_the_run_with_a_reason(small_hub: Hub, reply: Reply, words: str) -> None:
    with upstream(in_turn(reply)) as peer:
        report = small_hub.pull(peer.url, small_hub.lane(), page=1)
        assert words in report.error, report.error
        assert not report.complete
        assert len(peer.requests) < 30
    assert report.retry_after_s == (86000 if "86000" in str(reply.headers) else 0)


def test_credentials_stay_with_the_host_that_they_are_for(small_hub: Hub, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("very-secret\n")
    token.chmod(0o600)
    with (
        upstream(in_turn(page([indicator()]))) as other,
        upstream(in_turn(Reply({}, status=307, headers={"Location": other.url}))) as peer,
    ):
        report = small_hub.pull(peer.url, small_hub.lane(), token_file=str(token))
        assert "which is not asked" in report.error
        assert peer.requests[0].headers["Authorization"] == "Bearer very-secret"
        assert other.requests == []


def test_certificates_are_checked_on_both_sides(small_hub: Hub, tmp_path: Path) -> None:
    certificate, key = server_certificate().write(tmp_path, "server")
    own, own_key = authority().issue("CN=mirror").write(tmp_path, "mirror")
    Path(own_key).chmod(0o600)
    ca = tmp_path / "ca.pem"
    ca.write_text(authority().pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    here = small_hub.lane()
    with upstream(in_turn(page([indicator()])), context) as peer:

        def pull(**more: Any) -> str:
            return small_hub.pull(peer.url, here, attempts=1, **more).error

        assert "certificate verify failed" in pull()
        assert pull(ca_file=str(ca)) != "", "it showed no certificate"
        assert peer.requests == []
        assert pull(ca_file=str(ca), client_certificate=own, client_key=own_key) == ""
        other = f"https://localhost:{peer.port}/api/collections/{COLLECTION}/"
        assert small_hub.pull(other, here, ca_file=str(ca), client_certificate=own, client_key=own_key).error == ""


def test_a_secret_that_everybody_can_read_is_not_used(small_hub: Hub, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("very-secret")
    token.chmod(0o644)
    with upstream(in_turn(page([]))) as peer:
        with pytest.raises(ConfigError, match="chmod o-rwx"):
            small_hub.pull(peer.url, small_hub.lane(), token_file=str(token))
        assert peer.requests == []


def test_a_body_that_grows_when_it_is_unpacked_is_not_taken(small_hub: Hub) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    reply = Reply(bomb, headers={"Content-Encoding": "gzip"})
    with upstream(in_turn(reply)) as peer:
        report = small_hub.pull(peer.url, small_hub.lane(), max_page_bytes=1_000_000, page=1)
    assert "larger than 1000000 bytes" in report.error


def test_what_is_refused_is_written_down_and_stops_nothing_else(small_hub: Hub) -> None:
    good, bad = indicator(), indicator(created=5)
    objects: list[Any] = [good, bad, {"type": "indicator"}, "text", None]
    here = small_hub.lane()
    with upstream(in_turn(page(objects))) as peer:
        report = small_hub.pull(peer.url, here)
        assert (report.error, report.counts.stored, report.counts.refused) == ("", 1, 4)
        assert "created" in {id_: reason for id_, _, reason in report.counts.refusals}[bad["id"]]
        body = json.dumps({"objects": [good, malware()]}).replace('"name"', '"name": "twice", "name"').encode()
        peer.answers = in_turn(Reply(body))
        report = small_hub.pull(peer.url, here)
    # Read by a parser that keeps the last of two names, its text would not be what it was checked as: alone it is fine.
    assert (report.counts.stored, report.counts.present) == (1, 1)


def test_nobody_writes_under_another_name(small_hub: Hub) -> None:
    """Whatever an object says of itself, it is a post of the mirror's partner."""
    forged = indicator(created_by_ref=new_id("identity"), submitter="rw", x_partner="rw")
    here = small_hub.lane()
    with upstream(in_turn(page([forged]))) as peer:
        small_hub.pull(peer.url, here)
    (record,) = small_hub.world.store.lookup([forged["id"]])[forged["id"]]
    assert record.submitter == "admin"


def test_filters_are_asked_for_and_markings_and_creators_come_along(small_hub: Hub) -> None:
    marking = {
        "type": "marking-definition", "spec_version": "2.1", "id": new_id("marking-definition"),
        "created": "2020-01-01T00:00:00.000Z", "definition_type": "statement", "definition": {"statement": "(c)"},
    }  # fmt: skip
    identity = {
        "type": "identity", "spec_version": "2.1", "id": new_id("identity"), "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z", "name": "CERT", "object_marking_refs": [marking["id"]],
    }  # fmt: skip
    wanted = indicator(created_by_ref=identity["id"])
    every = {each["id"]: each for each in (marking, identity, wanted)}

    def answers(request: Request) -> Reply:
        if "match[id]" in request.query:
            # One that was not asked for comes as well.
            return page([*(every[id_] for id_ in request.query["match[id]"].split(",") if id_ in every), malware()])
        return page([wanted])

    here = small_hub.lane()
    with upstream(answers) as peer:
        report = small_hub.pull(peer.url, here, types=["indicator"], added_after="2025-01-01T00:00:00Z")
        assert peer.asked()[0] == {
            "match[type]": "indicator", "match[version]": "all", "match[spec_version]": "2.0,2.1", "limit": "1000",
            "added_after": "2025-01-01T00:00:00.000000Z",
        }  # fmt: skip
        assert [each.get("match[id]") for each in peer.asked()[1:]] == [identity["id"], marking["id"]]
    assert report.counts.stored == 3
    assert small_hub.stored(here).keys() == every.keys()
    positions = {id_: records[0].position for id_, records in small_hub.world.store.lookup(list(every)).items()}
    assert positions[marking["id"]] < positions[identity["id"]] < positions[wanted["id"]]


def test_an_endless_peer_ends_a_run(small_hub: Hub) -> None:
    count = 0

    def answers(request: Request) -> Reply:
        nonlocal count
        count += 1
        return page([indicator()], f"2026-01-01T00:00:00.{count:06}Z", more=True, next=str(count))

    with upstream(answers) as peer:
        report = small_hub.pull(peer.url, small_hub.lane(), max_objects=20)
    assert (report.counts.stored, report.complete, report.error) == (20, False, "")
    assert "max_objects" in report.warnings[0]


def test_a_run_that_is_told_to_end_ends_in_the_middle_of_a_pause(small_hub: Hub) -> None:
    stop = threading.Event()
    around = Surroundings(stop, told=lambda message: stop.set())
    with upstream(in_turn(Reply({}, status=503, headers={"Retry-After": "60"}))) as peer:
        mirror = small_hub.mirror("pull", peer.url, small_hub.lane())
        with pytest.raises(Stopped):
            job_of(small_hub.world.hub, mirror, around).run()


def test_a_service_that_begins_anew_leaves_a_peer_alone_as_long_as_it_asked(small_hub: Hub) -> None:
    reply = Reply({}, status=503, headers={"Retry-After": "86000"})
    with upstream(in_turn(reply, page([indicator()]))) as peer:
        mirror = small_hub.mirror("pull", peer.url, small_hub.lane())
        assert Service(small_hub.world.hub)._begin_s(mirror) == 0
        (report,) = Service(small_hub.world.hub).once([mirror], threading.Event())
        assert report.retry_after_s == 86000
        assert 85_000 < Service(small_hub.world.hub)._begin_s(mirror) <= 86_000
        assert small_hub.run(mirror).error == "", "an operator who pulls by hand need not wait"
        assert Service(small_hub.world.hub)._begin_s(mirror) == 0


def test_a_mirror_that_does_not_fit_is_told_and_the_next_one_is_run(small_hub: Hub) -> None:
    told: list[str] = []
    with upstream(in_turn(page([indicator()]))) as peer:
        wrong = small_hub.mirror("pull", peer.url, small_hub.lane(), partner="ro")
        right = small_hub.mirror("pull", peer.url, small_hub.lane())
        service = Service(small_hub.world.hub, lambda report: told.append(report.error))
        first, second = service.once([wrong, right], threading.Event())
    assert "may not write" in first.error
    assert (second.error, second.counts.stored) == ("", 1)
    assert told == [first.error, ""]


def test_a_partner_that_may_not_post_any_more_does_not(small_hub: Hub) -> None:
    with upstream(in_turn(page([indicator()]))) as peer:
        with pytest.raises(ConfigError, match="may not write"):
            small_hub.pull(peer.url, small_hub.lane(), partner="ro")
        assert peer.requests == []


# ---- push


def statuses(request: Request, *, pending: int = 0, failures: tuple[str, ...] = ()) -> Reply:
    """The status of a POST, `pending` of whose objects are still on their way."""
    objects = json.loads(request.body)["objects"] if request.body else []
    total = len(objects)
    failed = [{"id": each["id"], "version": each["modified"], "message": "not wanted"} for each in objects
              if each["name"] in failures]  # fmt: skip
    body = {
        "id": "2d086da7-4bdc-4f91-900e-d77486753710", "status": "pending" if pending else "complete",
        "total_count": total, "success_count": total - pending - len(failed), "failure_count": len(failed),
        "pending_count": pending,
    } | ({"failures": failed} if failed else {})  # fmt: skip
    return Reply(body, status=202)


def filled(hub: Hub, count: int) -> tuple[int, list[dict[str, Any]]]:
    here = hub.lane()
    objects = [indicator(name=f"n{n}") for n in range(count)]
    assert hub.world.post(objects, into=f"00000000-0000-4e57-8000-{here:012x}", root="api2").status_code == 202
    return here, objects


def test_what_the_peer_refuses_is_told_and_the_rest_goes_on(small_hub: Hub) -> None:
    here, objects = filled(small_hub, 5)

    def answers(request: Request) -> Reply:
        posted = json.loads(request.body)["objects"]
        if any(each["name"] == "n3" for each in posted):
            return Reply({"title": "unusable"}, status=422)
        return statuses(request, failures=("n1",))

    with upstream(answers) as peer:
        report = small_hub.run(small_hub.mirror("push", peer.url, here))
    assert (report.error, report.counts.stored) == ("", 3)
    told = {id_: reason for id_, _, reason in report.counts.refusals}
    assert told.keys() == {objects[1]["id"], objects[3]["id"]}
    assert told[objects[1]["id"]] == "not wanted"
    assert "422" in told[objects[3]["id"]]


def test_an_envelope_is_as_large_as_the_peer_takes_and_no_larger(small_hub: Hub) -> None:
    here, _ = filled(small_hub, 12)
    with upstream(statuses) as peer:
        peer.max_content_length = 1000
        report = small_hub.run(small_hub.mirror("push", peer.url, here))
        sizes = [len(each.body) for each in peer.requests]
    assert report.counts.stored == 12
    assert 1 < len(sizes) < 12
    assert max(sizes) <= 1000


def test_a_push_waits_until_the_peer_has_finished_and_goes_on_waiting_in_the_next_run(small_hub: Hub) -> None:
    here, _ = filled(small_hub, 2)
    finished = False
    posts = 0

    def answers(request: Request) -> Reply:
        nonlocal posts
        if request.method == "POST":
            posts += 1
            return statuses(request, pending=2)
        body = statuses(request).body | {"total_count": 2}
        if finished:
            return Reply(body | {"status": "complete", "success_count": 2, "pending_count": 0})
        return Reply(body | {"status": "pending", "success_count": 0, "pending_count": 2})

    with upstream(answers) as peer:
        mirror = small_hub.mirror("push", peer.url, here, status_wait_s=0.2)
        report = small_hub.run(mirror)
        assert "has not finished" in report.error
        assert not report.complete
        finished = True
        report = small_hub.run(mirror)
        assert (report.error, report.complete, report.counts.stored) == ("", True, 2)
        assert posts == 1
        assert peer.requests[-1].path.endswith(f"/status/{statuses(peer.requests[0]).body['id']}/")


@pytest.mark.parametrize("body", [{}, {"id": "1", "status": "complete"}, {"status": "pending", "total_count": "many"}])
def test_a_status_that_does_not_add_up_is_no_reason_to_post_for_ever(small_hub: Hub, body: dict[str, Any]) -> None:
    here, _ = filled(small_hub, 2)
    with upstream(in_turn(Reply(body, status=202))) as peer:
        mirror = small_hub.mirror("push", peer.url, here)
        report = small_hub.run(mirror)
        assert (report.error, report.counts.stored) == ("", 2)
        assert small_hub.run(mirror).counts.received == 0
        assert len(peer.requests) == 1


@pytest.mark.usefixtures("no_pause")
def test_an_answer_to_a_post_that_is_lost_is_posted_again(small_hub: Hub) -> None:
    here, _ = filled(small_hub, 3)
    replies = [Reply({}, status=503), Reply({"id": "x"}, cut=3)]
    with upstream(lambda request: replies.pop(0) if replies else statuses(request)) as peer:
        report = small_hub.run(small_hub.mirror("push", peer.url, here))
        assert len(peer.requests) == 3
    assert (report.error, report.counts.stored) == ("", 3)


def test_only_what_the_partner_may_read_is_pushed(small_hub: Hub) -> None:
    here, _ = filled(small_hub, 1)
    with upstream(statuses) as peer:
        with pytest.raises(ConfigError, match="may not read"):
            small_hub.run(small_hub.mirror("push", peer.url, here, partner="wo"))
        assert peer.requests == []
    assert COLLECTION in peer.url


def test_a_peer_that_sends_a_byte_now_and_then_is_cut_off(small_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out that begins anew with every byte would never come."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            ours, _ = listener.accept()
            with ours, suppress(OSError):
                ours.recv(10_000)
                ours.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not over.wait(0.02):
                    ours.sendall(b"a")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/collections/{COLLECTION}/"
        # Between two bytes a loaded machine takes what it takes; only the whole is over soon.
        monkeypatch.setattr(connection, "_WHOLE", 1 / 20)
        report = small_hub.pull(url, small_hub.lane(), timeout_s=20, attempts=1)
        thread.join(20)
        assert not thread.is_alive(), "it is still being read"
        over.set()
    assert "takes longer than 1 s" in report.error


def test_a_crash_between_storing_and_noting_it_neither_loses_nor_repeats(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is read again; nobody who polls here gets anything twice."""
    pages = [[indicator() for _ in range(3)], [indicator() for _ in range(2)]]

    def answers(request: Request) -> Reply:
        if request.query.get("added_after", "") >= "2026-01-01T00:00:01.000000Z":
            return page([], "2026-01-01T00:00:02.000000Z")
        if "next" in request.query or request.query.get("added_after"):
            return page(pages[1], "2026-01-01T00:00:02.000000Z")
        return page(pages[0], "2026-01-01T00:00:01.000000Z", more=True, next="2")

    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    here = hub.lane()
    with upstream(answers) as peer:
        with monkeypatch.context() as patched:
            patched.setattr(states, "save", crash)
            with pytest.raises(Crash):
                hub.pull(peer.url, here)
        assert len(hub.stored(here)) == 3
        before = hub.world.store.clock()
        report = hub.pull(peer.url, here)
    assert (report.counts.present, report.counts.stored) == (3, 2)
    assert hub.stored(here).keys() == {each["id"] for some in pages for each in some}
    repeated = [r for each in pages[0] for r in hub.world.store.lookup([each["id"]])[each["id"]] if r.position > before]
    assert repeated == []


GUARDED = """
[[guard]]
id = "victims"
why = "who was hit stays with us"
what = { label = ["victim"] }
act = "quarantine"

[[forbid]]
id = "no-tools-for-partner-b"
why = "an example"
to = { audience = "partner_b" }
what = { type = "malware" }
"""


def test_policy_and_guards_decide_on_what_comes_and_on_what_goes(tmp_path: Path) -> None:
    plain, held, secret = indicator(name="plain"), indicator(labels=["victim"]), malware()
    with world(tmp_path, policy=OPEN_POLICY + GUARDED, collections=COLLECTIONS | lanes(3)) as made:
        hub = Hub(made, tmp_path)
        with upstream(in_turn(page([held, secret, plain]))) as peer:
            report = hub.pull(peer.url, 0)
            assert (report.counts.stored, report.counts.quarantined, report.counts.refused) == (2, 1, 0)
            hub.run(hub.mirror("pull", peer.url, 0), from_start=True)
        assert [each.object_id for each in made.store.quarantine.page(EntryQuery(10))] == [held["id"]]
        with upstream(statuses) as peer:
            pushed = hub.run(hub.mirror("push", peer.url, 0, partner="partner_b"))
            (request,) = peer.requests
        assert [each["id"] for each in json.loads(request.body)["objects"]] == [plain["id"]]
        assert pushed.counts.stored == 1
        given = [entry for entry in made.store.ledger.walk() if entry.kind == "delivered"]
        assert [entry.partner for entry in given] == ["partner_b"]
