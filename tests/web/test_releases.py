"""Releases over the API: what they look like, who sees them, and in which order faults are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from taxii_server.web.releases import MAX_BODY_BYTES
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import MT, OPEN_POLICY, indicator, new_id

URL = "/api1/releases/"
FAR = "2999-01-01T00:00:00.000000Z"


@pytest.fixture
def world(make_hub: MakeHub) -> Iterator[InspectedWorld]:
    return make_hub()


@pytest.fixture
def posted(world: InspectedWorld) -> str:
    """The id of an object that rw posted."""
    value = indicator()
    assert world.post([value]).json["success_count"] == 1
    return str(value["id"])


def body(*objects: str, **more: Any) -> dict[str, Any]:
    return {"objects": list(objects), "to": {"audience": ["partner_b"]}} | more


def file(world: InspectedWorld, value: object, partner: str | None = "rw", **headers: str | None) -> TestResponse:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return world.request("POST", URL, partner, data=raw, headers={"Content-Type": MT} | headers)


def test_a_release_is_filed_read_listed_and_withdrawn(world: InspectedWorld, posted: str) -> None:
    assert world.get(URL).json == {}
    asked = body(posted, id="case-1", not_before="2026-01-01T01:00:00+01:00", until=FAR, why="a case")
    answer = file(world, asked)
    expected = {**asked, "not_before": "2026-01-01T00:00:00.000000Z", "can_withdraw": True}
    assert (answer.status_code, answer.json) == (201, expected)
    assert answer.headers["Location"] == f"{URL}case-1/"
    assert world.get(answer.headers["Location"]).json == expected
    assert world.get(URL).json == {"releases": [expected]}
    assert world.get("/api2/releases/").json == {"releases": [expected]}
    gone = world.delete(f"{URL}case-1/")
    assert (gone.status_code, gone.data) == (200, b"")
    assert world.get(URL).json == {}
    assert world.get(f"{URL}case-1/").status_code == world.delete(f"{URL}case-1/").status_code == 404


def test_an_id_is_made_when_none_is_given(world: InspectedWorld, posted: str) -> None:
    made = [file(world, body(posted, why=f"{n}")).json["id"] for n in range(2)]
    assert [id_[4:] for id_ in made] == ["-001", "-002"]


def test_the_same_release_may_be_sent_again(world: InspectedWorld, posted: str) -> None:
    answers = [file(world, body(posted, id="a")) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].json == answers[1].json
    assert len(world.get(URL).json["releases"]) == 1
    answer = file(world, body(posted, id="a", why="else"))
    assert (answer.status_code, answer.json["error_code"]) == (409, "conflict")


def test_nobody_sees_the_releases_of_others(world: InspectedWorld, posted: str) -> None:
    file(world, body(posted, id="a"))
    for partner in ("partner_b", "admin", "nn"):
        assert world.get(URL, partner).json == {}
        for answer in (world.get(f"{URL}a/", partner), world.delete(f"{URL}a/", partner)):
            assert answer.status_code == 404
    # The id is free for others.
    value = indicator()
    world.post([value], "partner_b")
    assert file(world, body(value["id"], id="a", to={"audience": ["rw"]}), "partner_b").status_code == 201
    assert world.get(f"{URL}a/").json["objects"] == [posted]


def test_what_the_operator_wrote_is_shown_and_stays(world: InspectedWorld, posted: str) -> None:
    world.apply(
        f'{OPEN_POLICY}\n[[release]]\nid = "desk"\nby = "rw"\nobjects = "{posted}"\nto = {{ audience = "nn" }}\n'
    )
    expected = {"id": "desk", "objects": [posted], "to": {"audience": ["nn"]}, "can_withdraw": False}
    assert world.get(f"{URL}desk/").json == expected
    answer = world.delete(f"{URL}desk/")
    assert (answer.status_code, answer.json["error_code"]) == (409, "conflict")
    assert "operator" in answer.json["description"]
    assert world.get(URL).json == {"releases": [expected]}
    assert world.get(URL, "nn").json == {}


# ---- who and what is there


#: Partner -> what it is answered to GET and POST of the list, GET and DELETE of the release that rw filed.
MATRIX = {
    "rw": (200, 422, 200, 200),
    "partner_b": (200, 422, 404, 404),
    "admin": (200, 422, 404, 404),
    "ro": (200, 422, 404, 404),
    "wo": (200, 422, 404, 404),
    "nn": (200, 422, 404, 404),
    "stranger": (404, 404, 404, 404),
    None: (401, 401, 401, 401),
}


@pytest.mark.parametrize("partner", MATRIX)
def test_everybody_sees_and_withdraws_its_own_and_nothing_else(
    world: InspectedWorld, posted: str, partner: str | None
) -> None:
    assert file(world, body(posted, id="a")).status_code == 201
    answers = (
        world.get(URL, partner),
        file(world, body(new_id(), to={"audience": ["partner_b"]}), partner),
        world.get(f"{URL}a/", partner),
        world.delete(f"{URL}a/", partner),
    )
    assert tuple(each.status_code for each in answers) == MATRIX[partner]
    assert [each["id"] for each in world.get(URL).json.get("releases", [])] == ([] if partner == "rw" else ["a"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("partner", "root"), [("stranger", "api1"), ("nn", "api2"), ("rw", "unknown"), ("rw", "taxii2")]
)
def test_under_an_api_root_that_one_must_not_know_there_are_no_releases(
    world: InspectedWorld, method: str, partner: str, root: str
) -> None:
    answers = [world.request(method, f"/{root}/{tail}", partner) for tail in ("releases/", "nothing/")]
    for answer in answers:
        del answer.json["error_id"]
    assert [each.status_code for each in answers] == [404, 404]


def test_an_unknown_name_and_one_that_must_not_be_known_are_one_answer(world: InspectedWorld, posted: str) -> None:
    told = []
    for name in ("stranger", "nobody"):  # stranger takes part, but shares nothing with rw
        answer = file(world, body(posted, to={"audience": [name]}))
        told.append((answer.status_code, {**answer.json, "error_id": ""}, name))
    assert told[0][0] == told[1][0] == 422
    assert str(told[0][1]).replace("stranger", "NAME") == str(told[1][1]).replace("nobody", "NAME")


def test_an_object_of_others_and_one_that_is_not_there_are_one_answer(world: InspectedWorld, posted: str) -> None:
    told = []
    for id_ in (posted, new_id()):
        answer = file(world, body(id_, to={"audience": ["rw"]}), "partner_b")
        told.append((answer.status_code, str({**answer.json, "error_id": ""}).replace(id_, "ID")))
    assert told[0] == told[1]
    assert told[0][0] == 422


def test_what_stands_against_a_release_is_not_told(world: InspectedWorld, posted: str) -> None:
    claim = '\n[[never]]\nid = "red-stays"\nto = { audience = "partner_b" }\nwhat = { tlp = "red" }\n'
    world.apply(OPEN_POLICY + claim)
    answer = file(world, body(posted))
    assert (answer.status_code, answer.json["error_code"]) == (422, "bad-content")
    assert answer.json["description"] == "the policy of this hub does not allow this release"
    assert world.get(URL).json == {}


def test_who_did_not_log_in_files_nothing(make_hub: MakeHub) -> None:
    world = make_hub(settings='anonymous_partner = "rw"')
    value = indicator()
    world.post([value])
    assert file(world, body(value["id"], id="a"), None).status_code == 403
    assert file(world, body(value["id"], id="a")).status_code == 201
    assert world.get(f"{URL}a/", None).status_code == 200
    assert world.delete(f"{URL}a/", None).status_code == 403


# ---- faults in their order


def test_faults_are_told_in_the_order_of_all_endpoints(world: InspectedWorld, posted: str) -> None:
    wrong: dict[str, Any] = {"Accept": "text/html", "Content-Type": "text/plain", "Content-Encoding": "br"}
    statuses = []
    for partner, headers in (
        (None, wrong),
        ("stranger", wrong),
        ("rw", wrong),
        ("rw", wrong | {"Accept": MT}),
        ("rw", {"Content-Encoding": "br"}),
        ("rw", {}),
    ):
        statuses.append(file(world, b"x" * (MAX_BODY_BYTES + 1), partner, **headers).status_code)
    assert statuses == [401, 404, 406, 415, 415, 413]
    assert "of a release" in file(world, b"x" * (MAX_BODY_BYTES + 1)).json["description"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_allowed(world: InspectedWorld, method: str) -> None:
    answer = world.request(method, URL)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


OBJECT = "indicator--00000000-0000-4000-8000-000000000001"
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "not JSON"),
    "nothing": (b"", "not JSON"),
    "two values": (b"{} {}", "not JSON"),
    "no UTF-8": (b'{"why": "\xff"}', "not UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "a list": ([], "not an object"),
    "name twice": (b'{"why": "a", "why": "b"}', "twice"),
    "NaN": (b'{"why": NaN}', "NaN"),
    "lone surrogate": (b'{"why": "\\ud800"}', "surrogate"),
    "deep": (b"[" * 100_000, "nested"),
    "unknown key": (body(OBJECT, by="admin"), "by: unknown key"),
    "no objects": ({"to": {"audience": ["ro"]}}, "objects: missing"),
    "no to": ({"objects": [OBJECT]}, "to: missing"),
    "objects is a text": (body(OBJECT) | {"objects": OBJECT}, "objects: a list of texts"),
    "objects is empty": (body(), "objects: 1 to"),
    "a number among objects": (body(OBJECT) | {"objects": [1]}, "objects: a list of texts"),
    "to is a list": (body(OBJECT, to=["ro"]), "to: an object"),
    "to is empty": (body(OBJECT, to={}), "to: nobody is named"),
    "to has an unknown key": (body(OBJECT, to={"kind": ["cert"]}), "to.kind: unknown key"),
    "audience is a text": (body(OBJECT, to={"audience": "ro"}), "to.audience: a list of texts"),
    "null": (body(OBJECT, why=None), "why: a text"),
    "empty": (body(OBJECT, id=""), "id: a text"),
    "no time": (body(OBJECT, until="tomorrow"), "until: a timestamp"),
    "a number as time": (body(OBJECT, until=1), "until: a text"),
    "a date outside the calendar": (body(OBJECT, until="9999-12-31T23:59:59-10:00"), "until: a timestamp"),
    "over": (body(OBJECT, until="2020-01-01T00:00:00Z"), "until: is over"),
    "backwards": (body(OBJECT, not_before=FAR, until="2998-01-01T00:00:00Z"), "until: ends before"),
    "two lines": (body(OBJECT, why="a\nb"), "why: one line"),
    "id with a slash": (body(OBJECT, id="rw/a"), "id: up to"),
    "not posted": (body(OBJECT), "was not posted by rw"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_is_wrong_is_told_what(hub: InspectedWorld, name: str) -> None:
    sent, message = BAD[name]
    answer = file(hub, sent)
    assert (answer.status_code, answer.json["error_code"]) == (422, "bad-content")
    assert message in answer.json["description"], answer.json["description"]
    assert len(answer.json["description"]) < 400


def test_text_of_any_script_survives(world: InspectedWorld, posted: str) -> None:
    why = 'Zürich "\\" 東京 😀'
    assert file(world, body(posted, id="a", why=why)).json["why"] == why
    assert world.get(f"{URL}a/").json["why"] == why


def test_each_change_is_audited(world: InspectedWorld, posted: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "taxii_server.audit")
    file(world, body(posted, id="a", why="secret"))
    world.delete(f"{URL}a/")
    lines = [each.getMessage() for each in caplog.records if each.getMessage().startswith("release-")]
    assert lines[0].startswith("release-filed partner=rw by=rw (")
    assert "release=rw/a objects=1 to=partner_b" in lines[0]
    assert lines[1].startswith("release-withdrawn partner=rw by=rw (")
    assert "secret" not in "".join(lines)
