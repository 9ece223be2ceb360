"""Status resources (TAXII 2.1, 4.3). Types and closed keys are in shapes.py."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from taxii_server.errors import StorageUnavailable
from taxii_server.model import StoredStatus
from taxii_server.service import posting
from taxii_server.service import visit as visit_module
from taxii_server.times import now_position, parse_position
from tests.web.data import observable, statement
from tests.web.rooms import MakeHub, Room
from tests.world import MT, WO, World, indicator, malware, new_id

HOUR_US = 3_600_000_000


def status_of(hub: World, id_: str, partner: str = "rw", root: str = "api1") -> Any:
    answer = hub.get(f"/{root}/status/{id_}/", partner)
    assert answer.status_code == 200
    return answer.json


# STAT-01, STAT-04, STAT-06
def test_the_status_of_a_post_can_be_read_again_and_does_not_change(room: Room) -> None:
    posted = room.post([indicator(), {"type": "x"}])
    assert status_of(room.world, posted["id"]) == posted == status_of(room.world, posted["id"])


# STAT-02
@pytest.mark.parametrize("id_", [str(uuid.UUID(int=1, version=4)), "x", "0" * 36])
def test_an_unknown_status_is_not_found(hub: World, id_: str) -> None:
    assert hub.get(f"/api1/status/{id_}/").status_code == 404


# STAT-02, STAT-03
@pytest.mark.parametrize(("hours", "status"), [(23.98, 200), (47.9, 200), (48.1, 404)])
def test_a_status_lives_two_days(room: Room, monkeypatch: pytest.MonkeyPatch, hours: float, status: int) -> None:
    id_ = room.post([indicator()])["id"]
    later = now_position() + int(hours * HOUR_US)
    monkeypatch.setattr(visit_module, "now_position", lambda: later)
    assert room.world.get(f"/api1/status/{id_}/").status_code == status


# STAT-05, STAT-07, STAT-08, STAT-09, STAT-10, STAT-11, STAT-12, STAT-16
def test_the_counts_add_up_and_the_lists_are_complete(room: Room) -> None:
    good = indicator()
    room.store(good)
    status = room.post([good, indicator(), {**good, "name": "another"}, {"type": "x"}, 5])
    assert status["status"] == "complete"
    counts = [status[f"{what}_count"] for what in ("total", "success", "failure", "pending")]
    assert counts == [5, 2, 3, 0]
    assert [len(status[name]) for name in ("successes", "failures")] == [2, 3]
    assert "pendings" not in status
    assert status["successes"][0]["message"] == "already present"
    assert all(each["message"] for each in status["failures"])


# STAT-11, TYPE-07
def test_a_list_without_members_is_left_out(room: Room) -> None:
    assert "failures" not in room.post([indicator()])
    assert "successes" not in room.post([{"type": "x"}])


# STAT-12, ADD-25
def test_a_thousand_objects_are_listed_one_by_one(room: Room) -> None:
    sent = [indicator() for _ in range(1000)]
    status = room.post(sent)
    assert status["status"] == "complete"
    assert [each["id"] for each in status["successes"]] == [each["id"] for each in sent]


# STAT-13, STAT-14, STAT-15, MAN-09, VERS-04, VER-02, VER-03
def test_status_manifest_and_versions_agree_on_the_version(room: Room) -> None:
    sent = [indicator(modified="2021-02-03T04:05:06.7Z"), statement(), observable()]
    sent[0]["object_marking_refs"] = [sent[1]["id"]]
    listed = {each["id"]: each["version"] for each in room.post(sent)["successes"]}
    records = {each["id"]: each for each in room.manifest()}
    assert listed == {id_: record["version"] for id_, record in records.items()}
    assert listed[sent[0]["id"]] == "2021-02-03T04:05:06.7Z"
    assert listed[sent[1]["id"]] == sent[1]["created"]
    assert listed[sent[2]["id"]] == records[sent[2]["id"]]["date_added"]
    for id_, version in listed.items():
        assert room.versions(id_) == [version]


# STAT-17
def test_the_request_timestamp_is_the_time_of_the_request(room: Room) -> None:
    before = now_position()
    status = room.post([indicator()])
    assert before <= parse_position(status["request_timestamp"]) <= now_position()


# STAT-18
@pytest.mark.parametrize(("partner", "accept", "status"), [(None, MT, 401), ("rw", MT, 404), ("rw", "text/html", 404)])
def test_a_status_fails_as_the_table_says(hub: World, partner: str | None, accept: str, status: int) -> None:
    path = f"/api1/status/{uuid.uuid4()}/"
    assert hub.get(path, partner, headers={"Accept": accept}).status_code == status


# STAT-18
def test_a_status_in_another_type_is_not_acceptable(room: Room) -> None:
    path = f"/api1/status/{room.post([indicator()])['id']}/"
    assert room.world.get(path, headers={"Accept": "text/html"}).status_code == 406


# STAT-19, AUTH-11
def test_only_its_submitter_and_administrators_read_a_status(hub: World) -> None:
    id_ = hub.post([indicator()]).json["id"]
    assert status_of(hub, id_, "rw") == status_of(hub, id_, "admin")
    others = [hub.get(f"/api1/status/{id_}/", partner) for partner in ("ro", "wo", "partner_b", "stranger")]
    unknown = hub.get(f"/api1/status/{uuid.uuid4()}/")
    for answer in others:
        assert answer.status_code == 404
        assert {**answer.json, "error_id": ""} == {**unknown.json, "error_id": ""}


# STAT-20
def test_a_status_is_known_only_under_its_own_root(hub: World) -> None:
    id_ = hub.post([indicator()]).json["id"]
    assert hub.get(f"/api1/status/{id_}/").status_code == 200
    assert hub.get(f"/api2/status/{id_}/").status_code == 404


# STAT-21
def test_an_object_without_an_id_is_named_by_its_place(room: Room) -> None:
    status = room.post([indicator(), {"type": "x"}, "text", {"id": 5}, {"id": ""}, None])
    assert [each["id"] for each in status["failures"]] == [f"objects[{place}]" for place in range(1, 6)]


# STAT-13, STAT-14, STAT-15
def test_a_refused_object_has_the_version_that_it_says_or_the_time_of_the_request(room: Room) -> None:
    dated = indicator()
    status = room.post(
        [{**observable(), "value": 5}, {"type": "x"}, {**dated, "modified": None}, {**dated, "modified": "now"}]
    )
    came = status["request_timestamp"]
    assert [each["version"] for each in status["failures"]] == [came, came, dated["created"], "now"]


# STAT-22, ADD-32, POL-05
def test_a_writer_learns_nothing_about_what_others_posted(hub: World) -> None:
    theirs = malware(name="theirs")
    assert hub.post([theirs], "rw", WO).json["success_count"] == 1
    unknown = malware(name="theirs")
    answers = [hub.post([{**each, "name": "mine"}], "wo", WO).json for each in (theirs, unknown)]
    for answer, sent in zip(answers, (theirs, unknown), strict=True):
        assert answer["success_count"] == 1
        assert answer["successes"] == [{"id": sent["id"], "version": sent["modified"]}]
    assert theirs["id"] not in json.dumps(answers[1])


# STAT-22: an exact copy of what another partner posted is news as well
def test_a_copy_of_anothers_object_is_answered_like_a_new_one(hub: World) -> None:
    theirs = malware()
    hub.post([theirs], "rw", WO)
    assert "message" not in hub.post([theirs], "wo", WO).json["successes"][0]


# ---- how it is kept


def test_the_status_of_a_body_in_portions_comes_with_the_last_one(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PORTION", 3)
    hub = make_hub(settings="max_labels_per_partner = 100")
    saved: list[StoredStatus] = []
    save = hub.store.save_status
    hub.store.save_status = lambda status: saved.append(status) or save(status)  # type: ignore[method-assign]
    twice, late = indicator(), observable(new_id("ipv4-addr"), "198.51.100.4")
    for body in (
        [twice, {"type": "x"}, observable(), statement(), twice, indicator(), 5, late, {"type": "y"}],
        [indicator(), indicator(), indicator(), twice, late, {"type": "y"}],
    ):
        status = hub.post(body).json
        assert status == status_of(hub, status["id"])
        assert status["total_count"] == len(body)
        told = [each["id"] for name in ("successes", "failures") for each in status[name]]
        good = [each["id"] for each in body if isinstance(each, dict) and "id" in each]
        assert told[: len(good)] == good
        manifest = {each["id"]: each["version"] for each in hub.walk(resource="manifest")}
        assert all(each["version"] == manifest[each["id"]] for each in status["successes"])
    assert [each.id for each in saved] == [status["id"]], "only where the last portion stores nothing"


@pytest.mark.parametrize("portion", [1, 2])
def test_a_post_that_breaks_off_leaves_no_status(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    monkeypatch.setattr(posting, "PORTION", 1)
    hub = make_hub()
    commits: list[int] = []

    def fail() -> None:
        commits.append(1)
        if len(commits) == portion:
            raise StorageUnavailable("the disk is gone")

    hub.store.before_commit = fail
    body = [indicator(), indicator()]
    assert hub.post(body).status_code == 503
    assert hub.store.recent_statuses(9, 9) == []
    hub.store.before_commit = lambda: None
    again = hub.post(body).json
    assert (again["success_count"], again == status_of(hub, again["id"])) == (2, True)
    assert len(hub.store.recent_statuses(9, 9)) == 1
