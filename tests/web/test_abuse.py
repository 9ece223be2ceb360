"""Too many requests, guessed secrets, addresses that are not a partner's: what they get, and what nobody learns."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.test import TestResponse

from taxii_server.app import create_app
from taxii_server.auth import secrets
from taxii_server.auth.secrets import new_password
from taxii_server.auth.shared import Table
from taxii_server.cli import main
from tests.web.rooms import MakeHub
from tests.world import EMPTY, MT, PARTNERS, RW, World, audiences, stop_threads

HERE, THERE = "192.0.2.7", "198.51.100.9"
LIST = 'kind = "cert"\nclearance = "red"\naddresses = ["192.0.2.0/24", "2001:db8::/32"]\n'


def basic(name: str, secret: str) -> dict[str, str | None]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def bearer(value: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {value}"}


def ask(hub: World, headers: dict[str, str | None], address: str = HERE, path: str = "/taxii2/") -> TestResponse:
    return hub.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


def same(one: TestResponse, other: TestResponse) -> bool:
    """Whether nobody can tell them apart: only error_id, and its length is always the same."""
    bodies = [{**answer.json, "error_id": ""} for answer in (one, other)]
    headers = [sorted(answer.headers.items()) for answer in (one, other)]
    return bodies[0] == bodies[1] and headers[0] == headers[1] and len(one.data) == len(other.data)


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is counted and locked: how long to wait is told in whole seconds."""
    monkeypatch.setattr("taxii_server.app.Table", lambda: Table(clock=lambda: 1000.0))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that argon2 had to check, in order: the work of a request."""
    checks: list[str] = []
    real = secrets._verify
    monkeypatch.setattr(secrets, "_verify", lambda stored, given: checks.append(given) or real(stored, given))
    return checks


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("DEBUG", "taxii_server")
    return caplog


# ---- how often


def test_a_partner_over_its_limit_gets_429_and_others_do_not(make_hub: MakeHub) -> None:
    own = {"wo": 'kind = "cert"\nclearance = "red"\nrequests_per_minute = 2\n'}
    hub = make_hub(settings="partner_requests_per_minute = 5", partners=audiences(dict.fromkeys(PARTNERS, "") | own))
    statuses = [hub.get(f"/api1/collections/{EMPTY}/objects/").status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    answer = hub.get("/taxii2/")
    assert answer.content_type == MT
    assert answer.json["error_code"] == "too-many-requests"
    assert answer.json["http_status"] == "429"
    assert answer.json["title"]
    assert "5 requests a minute (partner_requests_per_minute)" in answer.json["description"]
    assert int(answer.headers["Retry-After"]) == 12
    assert hub.get("/taxii2/", "ro").status_code == 200
    assert [hub.get("/taxii2/", "wo").status_code for _ in range(3)] == [200, 200, 429]


def test_an_address_over_its_limit_gets_429_before_anything_is_looked_at(make_hub: MakeHub, checked: list[str]) -> None:
    hub = make_hub(settings="address_requests_per_minute = 3")
    answers = [ask(hub, basic("rw", "wrong")) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    assert len(checked) == 3
    assert "address_requests_per_minute" in answers[-1].json["description"]
    assert ask(hub, bearer(hub.tokens["rw"])).status_code == 429
    assert ask(hub, bearer(hub.tokens["rw"]), THERE).status_code == 200
    # Whoever watches the server itself is not a client.
    assert hub.get("/healthz", None, environ_base={"REMOTE_ADDR": HERE}).status_code == 200


def test_the_operator_on_the_command_line_has_no_limit(make_hub: MakeHub) -> None:
    hub = make_hub(settings="address_requests_per_minute = 1\npartner_requests_per_minute = 1")
    for _ in range(3):
        answer = hub.get("/taxii2/", environ_overrides={"taxii_server.command_line": True})
        assert answer.status_code == 200


# ---- guessing


def test_known_and_unknown_names_are_locked_alike_for_the_same_work(make_hub: MakeHub, checked: list[str]) -> None:
    hub = make_hub(settings="lockout_after = 3")
    hub.store.save_credential(new_password("rw", "known", "right"))
    answers = {
        name: [ask(hub, basic(name, f"wrong{number}"), address) for number in range(5)]
        for name, address in (("known", HERE), ("unknown", THERE))
    }
    for one, other in zip(*answers.values(), strict=True):
        assert same(one, other)
    assert [answer.status_code for answer in answers["known"]] == [401] * 3 + [429] * 2
    assert answers["known"][-1].headers["Retry-After"] == "30"
    assert checked == ["wrong0", "wrong1", "wrong2"] * 2
    # While it is locked, the right one is not looked at either: no guess is answered. Elsewhere it comes in.
    assert ask(hub, basic("known", "right")).status_code == 429
    assert ask(hub, basic("known", "right"), THERE).status_code == 200


def test_known_and_unknown_tokens_are_locked_alike_for_the_same_work(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub(settings="lockout_after = 3")
    compared: list[str] = []
    real = secrets._fingerprint
    monkeypatch.setattr(secrets, "_fingerprint", lambda secret: compared.append(secret) or real(secret))
    known = "_".join(hub.tokens["rw"].split("_")[:2])
    both = []
    for start, address in ((known, HERE), ("txs_0123456789ab", THERE)):
        compared.clear()
        both.append([ask(hub, bearer(f"{start}_wrong"), address) for _ in range(5)])
        assert len(compared) == 3
    for one, other in zip(*both, strict=True):
        assert same(one, other)
    assert [answer.status_code for answer in both[0]] == [401] * 3 + [429] * 2


def test_without_credentials_nobody_guesses(make_hub: MakeHub) -> None:
    hub = make_hub(settings="lockout_after = 3")
    answers = [hub.get("/taxii2/", None, headers={"Authorization": value}) for value in (None, "Basic !", "x y") * 5]
    assert {answer.status_code for answer in answers} == {401}
    assert hub.get("/taxii2/").status_code == 200


def test_where_401_is_hidden_so_is_the_lockout(make_hub: MakeHub) -> None:
    hub = make_hub(settings="lockout_after = 3\nhide_unauthenticated = true")
    answers = [ask(hub, basic("rw", "wrong")) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {404}
    assert all(same(answers[0], answer) for answer in answers)


def test_a_crowd_of_password_checks_leaves_threads_for_others(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_CROWD_WAIT_S", 0.0)
    hub = make_hub(settings="threads = 3")
    statuses: list[int] = []

    def verify(stored: str, given: str) -> bool:
        if len(statuses) < 2:  # while one is checked, another comes, and while that is, a third
            inner = ask(hub, basic("rw", f"{given}x"))
            statuses.append(inner.status_code)
            if inner.status_code == 429:
                assert inner.headers["Retry-After"] == "1"
                assert ask(hub, bearer(hub.tokens["rw"])).status_code == 200
        return False

    monkeypatch.setattr(secrets, "_verify", verify)
    assert ask(hub, basic("rw", "wrong")).status_code == 401
    assert 429 in statuses


# ---- from where


@pytest.fixture
def listed(make_hub: MakeHub) -> World:
    hub = make_hub(partners=audiences(dict.fromkeys(PARTNERS, "") | {"rw": LIST}))
    hub.store.save_credential(new_password("rw", "analyst", "right"))
    return hub


def test_a_credential_from_elsewhere_is_refused_like_an_unknown_one_and_audited(
    listed: World, audited: pytest.LogCaptureFixture
) -> None:
    unknown = ask(listed, bearer("txs_0123456789ab_x"), THERE)
    for headers in (
        bearer(listed.tokens["rw"]),
        basic("rw", listed.tokens["rw"]),
        basic("analyst", "right"),
    ):
        assert ask(listed, headers, "192.0.2.255").status_code == 200
        assert ask(listed, headers, "2001:db8:1::1").status_code == 200
        audited.clear()
        answer = ask(listed, headers, THERE)
        assert answer.status_code == 401
        assert same(answer, unknown)
        (line,) = [record for record in audited.records if getattr(record, "event", "") == "refused-address"]
        facts: dict[str, Any] = line.facts  # type: ignore[attr-defined]
        assert (facts["partner"], facts["address"]) == ("rw", THERE)
    assert ask(listed, bearer(listed.tokens["ro"]), THERE).status_code == 200


def test_a_right_password_from_elsewhere_costs_as_much_as_a_wrong_one(listed: World, checked: list[str]) -> None:
    assert ask(listed, basic("analyst", "right")).status_code == 200
    assert ask(listed, basic("analyst", "right")).status_code == 200
    assert checked == ["right"], "it is remembered where it may be used"
    checked.clear()
    for secret in ("right", "wrong"):
        for name in ("analyst", "unknown"):
            assert ask(listed, basic(name, secret), THERE).status_code == 401
    assert checked == ["right", "right", "wrong", "wrong"]


def test_the_anonymous_partner_can_have_a_list_too(make_hub: MakeHub) -> None:
    hub = make_hub(
        settings='anonymous_partner = "ro"',
        partners=audiences(dict.fromkeys(PARTNERS, "") | {"ro": LIST}),
    )
    assert hub.get("/taxii2/", None, environ_base={"REMOTE_ADDR": HERE}).status_code == 200
    assert hub.get("/taxii2/", None, environ_base={"REMOTE_ADDR": THERE}).status_code == 401


def test_the_operator_looks_through_the_eyes_of_a_partner_from_anywhere(listed: World) -> None:
    words = ["--config", str(listed.folder / "config/server.toml"), "--store", listed.settings.store]
    done = CliRunner().invoke(main, [*words, "get", "/taxii2/rights/", "--as", "rw"])
    assert done.exit_code == 0
    assert '"name": "rw"' in done.stdout


@pytest.mark.parametrize("path", [f"/api1/collections/{EMPTY}/objects/", f"/api1/collections/{EMPTY}/", "/taxii2/"])
def test_a_list_holds_for_the_next_request_on_every_worker(make_hub: MakeHub, path: str) -> None:
    hub = make_hub(settings="refresh_s = 600")
    other = create_app(hub.settings, hub.store).test_client()  # a worker that looks at the store every ten minutes
    headers = {"Accept": MT, "Authorization": f"Bearer {hub.tokens['rw']}"}
    assert other.get(path, headers=headers, environ_base={"REMOTE_ADDR": THERE}).status_code == 200
    (hub.folder / "config/partners.toml").write_text(audiences(dict.fromkeys(PARTNERS, "") | {"rw": LIST}))
    hub.apply()
    assert other.get(path, headers=headers, environ_base={"REMOTE_ADDR": THERE}).status_code == 401
    assert other.get(path, headers=headers, environ_base={"REMOTE_ADDR": HERE}).status_code == 200
    stop_threads(other.application)


# ---- what must not be told


def test_no_log_line_and_no_answer_holds_a_secret(make_hub: MakeHub, audited: pytest.LogCaptureFixture) -> None:
    hub = make_hub(
        settings="lockout_after = 3\npartner_requests_per_minute = 4",
        partners=audiences(dict.fromkeys(PARTNERS, "") | {"ro": LIST}),
    )
    hub.store.save_credential(new_password("rw", "analyst", "hunter2-right"))
    sent = [
        basic("analyst", "hunter2-right"),
        basic("analyst", "hunter2-wrong"),
        basic("hunter2-typed-as-name", "x"),
        bearer(hub.tokens["rw"]),
        bearer(hub.tokens["ro"]),
        bearer("txs_0123456789ab_hunter2"),
        bearer("hunter2.hunter2.hunter2"),
    ]
    said = ""
    for headers in sent:
        for path in ("/taxii2/", f"/api1/collections/{RW}/objects/", f"/api1/collections/{RW}/objects/?limit=x", "/n/"):
            for _ in range(2):
                answer = ask(hub, headers, THERE, path)
                said += answer.text + str(answer.headers)
    everything = said + audited.text + "".join(str(record.__dict__) for record in audited.records)
    assert "locked-out" in audited.text
    assert "refused-address" in audited.text
    for headers in sent:
        value = str(headers["Authorization"]).partition(" ")[2]
        assert value not in everything
    assert "hunter2" not in everything
    assert not [credential for credential in hub.store.credentials() if credential.secret_hash in repr(credential)]
