"""Who comes in, and what those get to hear who do not (TAXII 2.1, 1.6.9 and 8.2.2; RFC 7235, 7617, 6750)."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from werkzeug.test import TestResponse

from taxii_server.app import create_app
from taxii_server.auth import secrets
from taxii_server.auth.secrets import new_password
from tests.web.endpoints import Endpoint, by_name, endpoints
from tests.web.rooms import MakeHub
from tests.world import EMPTY, MT, RO, RW, UNKNOWN, World, collection, indicator


def basic(name: str, secret: str) -> dict[str, str | None]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def without_error_id(answer: TestResponse) -> dict[str, str]:
    return {key: value for key, value in answer.json.items() if key != "error_id"}


# AUTH-01, AUTH-08, AUTH-10, COLS-08, COL-11, ADD-05, OBJG-12, DEL-06, STAT-18, DISC-13
@pytest.mark.parametrize("endpoint", endpoints(), ids=by_name)
def test_without_credentials_every_endpoint_answers_401_with_a_challenge(hub: World, endpoint: Endpoint) -> None:
    answer = hub.request(endpoint.method, endpoint.path, None)
    assert answer.status_code == 401
    assert answer.content_type == MT
    assert answer.json["title"] == "Unauthorized"
    assert answer.json["http_status"] == "401"


# AUTH-02
@pytest.mark.parametrize("endpoint", endpoints(), ids=by_name)
def test_a_wrong_secret_is_answered_401_on_every_endpoint(hub: World, endpoint: Endpoint) -> None:
    wrong = hub.tokens["rw"][:-1] + ("A" if hub.tokens["rw"][-1] != "A" else "B")
    assert hub.request(endpoint.method, endpoint.path, headers=basic("rw", wrong)).status_code == 401


# AUTH-01: also where there is nothing, so that a stranger cannot map the server
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/nope/", "/taxii2", f"/api1/collections/{UNKNOWN}/objects/", "/api1/x/y/z/"])
def test_a_stranger_gets_401_for_every_method_and_url(hub: World, method: str, path: str) -> None:
    answer = hub.request(method, path, None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]


# AUTH-03
def test_the_challenges_name_registered_schemes_and_a_realm(hub: World) -> None:
    challenges = hub.get("/taxii2/", None).headers.getlist("WWW-Authenticate")
    assert challenges == ['Basic realm="Test hub", charset="UTF-8"', 'Bearer realm="Test hub"']


# AUTH-03: a title is free text, a quoted-string in a header is not
@pytest.mark.parametrize(
    ("title", "realm"),
    [('The "best"\\hub\nin town', "The besthubin town"), ("Κέντρο CTI \U0001f480", " CTI "), ("Ω", "")],
)
def test_a_title_in_any_script_does_not_break_the_challenge(hub: World, title: str, realm: str) -> None:
    app = create_app(replace(hub.settings, title=title), hub.store, background=False)
    answer = app.test_client().get("/taxii2/", headers={"Accept": MT})
    assert answer.headers["WWW-Authenticate"] == f'Basic realm="{realm}", charset="UTF-8"'


# AUTH-04
def test_a_partner_comes_in_with_its_name_and_token(hub: World) -> None:
    assert hub.get("/taxii2/", headers=basic("rw", hub.tokens["rw"])).status_code == 200


# AUTH-04
def test_a_password_in_utf_8_comes_in_and_a_wrong_one_does_not(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.store.save_credential(new_password("rw", "jürgen-шпион", "pässwörd:шпион:2"))
    assert hub.get("/taxii2/", headers=basic("jürgen-шпион", "pässwörd:шпион:2")).status_code == 200
    assert hub.get("/taxii2/", headers=basic("jürgen-шпион", "passwörd:шпион:2")).status_code == 401
    assert hub.get(f"/api1/collections/{RW}/", headers=basic("jürgen-шпион", "pässwörd:шпион:2")).json["can_write"]


# AUTH-04: MISP writes the scheme in lower case
@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic ", " Basic"])
def test_the_name_of_the_scheme_may_be_written_in_any_case(hub: World, scheme: str) -> None:
    value = hub.basic("rw").removeprefix("Basic")
    assert hub.get("/taxii2/", headers={"Authorization": scheme + value}).status_code == 200


# AUTH-06
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token"])
def test_a_token_comes_in_alone(hub: World, scheme: str) -> None:
    answer = hub.get(f"/api1/collections/{RW}/", headers={"Authorization": f"{scheme} {hub.tokens['ro']}"})
    assert answer.status_code == 404
    answer = hub.get(f"/api1/collections/{RW}/", headers={"Authorization": f"{scheme} {hub.tokens['rw']}"})
    assert answer.status_code == 200


# AUTH-05
def test_a_scheme_that_is_off_neither_works_nor_is_offered(make_hub: MakeHub) -> None:
    no_basic = make_hub(settings="auth_basic = false")
    answer = no_basic.get("/taxii2/")
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="Test hub"']
    no_bearer = make_hub(settings="auth_bearer = false")
    answer = no_bearer.get("/taxii2/", headers={"Authorization": f"Bearer {no_bearer.tokens['rw']}"})
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == ['Basic realm="Test hub", charset="UTF-8"']


# AUTH-07
def test_without_credentials_one_is_the_anonymous_partner_where_there_is_one(make_hub: MakeHub) -> None:
    hub = make_hub(settings='anonymous_partner = "ro"')
    assert hub.get("/taxii2/", None).status_code == 200
    assert [each["title"] for each in hub.get("/api1/collections/", None).json["collections"]] == ["Read only"]
    assert hub.get("/taxii2/", headers=basic("rw", "wrong")).status_code == 401


# AUTH-08
def test_where_401_is_hidden_a_stranger_gets_404(make_hub: MakeHub) -> None:
    hub = make_hub(settings="hide_unauthenticated = true")
    for path in ("/taxii2/", "/nope/", f"/api1/collections/{RW}/objects/"):
        answer = hub.get(path, None)
        assert answer.status_code == 404
        assert "WWW-Authenticate" not in answer.headers
        assert without_error_id(answer) == without_error_id(hub.get("/nope/"))


# AUTH-12
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Basic",
        "Basic ",
        "Basic !!",
        "Basic cnc=",
        "Basic cnc",
        "Basic Og==",
        "Basic cnc6",
        "Basic /////w==",
        "Basic " + base64.b64encode(b"rw:\xff\xfe").decode(),
        "Basic " + base64.b64encode(b"r\0w:x").decode(),
        "Basic \xe9\xe9\xe9\xe9",
        "Basic " + "A" * 8000,
        "Bearer",
        "Bearer x",
        "Bearer txs__",
        "Bearer txs_x_y",
        "Bearer \xe9",
        "Digest username=rw",
        "Negotiate",
        "rw:secret",
        "\xff\xfe",
    ],
)
def test_malformed_credentials_are_answered_401(hub: World, value: str) -> None:
    assert hub.get("/taxii2/", headers={"Authorization": value}).status_code == 401


# AUTH-12: a token is its partner's, whoever shows it
def test_a_token_under_another_name_is_refused(hub: World) -> None:
    assert hub.get("/taxii2/", headers=basic("admin", hub.tokens["rw"])).status_code == 401


# AUTH-13
def test_an_unknown_name_and_a_wrong_password_get_the_same_answer_for_the_same_work(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub()
    hub.store.save_credential(new_password("rw", "known", "right"))
    checks: list[str] = []
    real = secrets._verify
    monkeypatch.setattr(secrets, "_verify", lambda stored, given: checks.append(given) or real(stored, given))
    answers = [hub.get("/taxii2/", headers=basic(name, "wrong")) for name in ("known", "unknown")]
    assert checks == ["wrong", "wrong"]
    assert without_error_id(answers[0]) == without_error_id(answers[1])
    assert answers[0].headers == answers[1].headers


# AUTH-09: one realm for all roots is what this server chooses
def test_every_api_root_takes_the_same_credentials(hub: World) -> None:
    assert hub.get("/api1/").status_code == hub.get("/api2/").status_code == 200


# POL-12
def test_a_revoked_credential_is_refused_at_the_next_request(make_hub: MakeHub) -> None:
    hub = make_hub()
    assert hub.get("/taxii2/").status_code == 200
    (credential,) = [each for each in hub.store.credentials() if each.partner == "rw"]
    hub.store.save_credential(replace(credential, revoked=True))
    assert hub.get("/taxii2/").status_code == 401
    assert hub.get("/taxii2/", "ro").status_code == 200


# AUTH-14: each request has all later faults as well; the earliest answers
@pytest.mark.parametrize(
    ("status", "partner", "into", "accept", "content_type", "size"),
    [
        (401, None, RO, "text/html", "text/plain", 1_000_001),
        (404, "stranger", RO, "text/html", "text/plain", 1_000_001),
        (406, "ro", RO, "text/html", "text/plain", 1_000_001),
        (403, "ro", RO, MT, "text/plain", 1_000_001),
        (415, "rw", RW, MT, "text/plain", 1_000_001),
        (413, "rw", RW, MT, MT, 1_000_001),
        (422, "rw", RW, MT, MT, 1_000_000),
    ],
)
def test_the_earliest_fault_of_a_post_answers(
    hub: World, status: int, partner: str | None, into: str, accept: str, content_type: str, size: int
) -> None:
    answer = hub.post(b"x" * size, partner, into, headers={"Accept": accept, "Content-Type": content_type})
    assert answer.status_code == status


# AUTH-14, CN-20
@pytest.mark.parametrize(
    ("tail", "partner", "accept", "status"),
    [
        ("objects/?limit=0", None, "text/html", 401),
        ("objects/?limit=0", "stranger", "text/html", 404),
        ("objects/?limit=0", "wo", "text/html", 406),
        ("objects/?limit=0", "wo", MT, 403),
        ("objects/?limit=0", "ro", MT, 400),
        ("objects/x/?limit=0", "ro", MT, 400),
        ("objects/x/", "ro", MT, 404),
    ],
)
def test_the_earliest_fault_of_a_read_answers(
    hub: World, tail: str, partner: str | None, accept: str, status: int
) -> None:
    assert hub.get(f"/api1/collections/{RO}/{tail}", partner, headers={"Accept": accept}).status_code == status


# CN-20
def test_a_bad_accept_stores_nothing(hub: World) -> None:
    sent = indicator()
    assert hub.post([sent], headers={"Accept": "text/html"}).status_code == 406
    assert hub.get(f"/api1/collections/{RW}/objects/{sent['id']}/").status_code == 404


# POL-12
def test_a_right_that_is_taken_away_is_gone_at_the_next_request(make_hub: MakeHub) -> None:
    hub = make_hub()
    assert hub.get(f"/api1/collections/{EMPTY}/objects/").status_code == 200
    (hub.folder / "collections/empty.toml").write_text(collection(EMPTY, "Empty", readers=["admin"], writers=["rw"]))
    hub.apply()
    assert hub.get(f"/api1/collections/{EMPTY}/objects/").status_code == 403
    (hub.folder / "collections/empty.toml").write_text(collection(EMPTY, "Empty", readers=["admin"]))
    hub.apply()
    assert hub.get(f"/api1/collections/{EMPTY}/objects/").status_code == 404
