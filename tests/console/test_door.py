"""Coming in and going out: the login form, the cookie, what ends a session, and what stands in every answer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from taxii_server.app import create_app
from taxii_server.auth.secrets import new_password, new_token
from taxii_server.web.console.session import LONGEST_S, Sessions
from tests.console.people import HTML, Person, operator, person
from tests.world import MT, RW, World

PAGES = [
    "/console/",
    "/console/search/?q=A1",
    f"/console/api1/collections/{RW}/",
    "/console/nope",
    "/console/login",
    "/",
]


# ---- for strangers


def test_a_browser_at_the_root_gets_a_page_and_a_client_what_it_got_before(hub: World) -> None:
    page = hub.client.get("/", headers=HTML)
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    assert "http://localhost/taxii2/" in page.text
    for partner in ("rw", "partner_b", "Read write", "Hidden"):
        assert partner not in page.text
    assert hub.get("/").status_code == 404
    assert hub.client.get("/", headers={"Accept": "*/*"}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/console/", "/console/nope", "/console/operator/partners/", f"/console/api1/collections/{RW}/"]
)
def test_a_stranger_is_led_to_the_login_from_wherever(hub: World, path: str) -> None:
    answer = Person(hub).get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/login?next={path}")
    assert "WWW-Authenticate" not in answer.headers


def test_a_login_leads_to_where_one_wanted_to_go_and_never_elsewhere(hub: World) -> None:
    for target, place in {
        "/console/search/?q=a&type=": "/console/search/?q=a&type=",
        "https://evil.example/": "/console/",
        "//evil.example/console/": "/console/",
        "/console/\\evil": "/console/",
        "/console/logout": "/console/",
        "/console/\r\nX: y": "/console/",
    }.items():
        assert Person(hub).log_in("rw", next=target).headers["Location"] == place


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("rw", "wrong"),
        ("nobody", "wrong"),
        ("rw", "txs_0123456789ab_wrong"),
        ("nobody", "txs_0123456789ab_x"),
        ("", ""),
    ],
)
def test_whatever_is_wrong_gets_one_answer(hub: World, name: str, secret: str) -> None:
    someone = Person(hub)
    answer = someone.log_in(name, secret)
    reference = someone.log_in("ro", "also wrong")
    assert answer.status_code == 403
    assert answer.data == reference.data
    assert someone.cookie() is None


def test_a_token_of_somebody_else_opens_nothing(hub: World) -> None:
    assert Person(hub).log_in("rw", hub.tokens["ro"]).status_code == 403


def test_guesses_here_and_at_the_api_lock_the_same_door(make_hub: Any) -> None:
    hub = make_hub(settings="lockout_after = 3\nlockout_s = 60")
    for _ in range(2):
        assert Person(hub).log_in("rw", "wrong").status_code == 403
    basic = {"Authorization": "Basic cnc6d3Jvbmc=", "Accept": MT}
    assert hub.client.get("/taxii2/", headers=basic).status_code == 401
    answer = Person(hub).log_in("rw")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 50
    (said,) = re.findall(r">([^<]*Try again in [^<]*)<", answer.text)
    assert said[0].isupper()
    assert hub.get("/taxii2/").status_code == 429
    # Under another name one is as free as before.
    assert Person(hub).log_in("ro").status_code == 303


def test_requests_are_counted_with_those_of_the_api(make_hub: Any) -> None:
    hub = make_hub(settings="partner_requests_per_minute = 4")
    someone = person(hub)
    assert [someone.get("/console/").status_code for _ in range(3)] == [200] * 3
    assert hub.get("/taxii2/").status_code == 200
    assert hub.get("/taxii2/").status_code == 429
    assert someone.get("/console/").status_code == 429


def test_credentials_are_taken_from_the_networks_of_the_partner_only(make_hub: Any) -> None:
    text = 'kind = "cert"\nclearance = "red"\naddresses = ["192.0.2.0/24"]\n'
    hub = make_hub(partners=f"[audience.rw]\n{text}", collections={})
    assert Person(hub).log_in("rw").status_code == 403
    someone = person(hub, REMOTE_ADDR="192.0.2.7")
    assert someone.get("/console/").status_code == 200
    someone.environ = {"REMOTE_ADDR": "198.51.100.7"}
    assert someone.get("/console/").status_code == 303


# ---- the cookie


def test_the_cookie_is_for_the_console_alone_and_no_script_reads_it(hub: World) -> None:
    answer = Person(hub).log_in("rw")
    cookie = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith("taxii-session="))
    assert cookie.split("; ")[1:] == ["HttpOnly", "Path=/console", "SameSite=Strict"]
    assert hub.tokens["rw"] not in cookie
    assert "rw" not in cookie.partition("=")[2].split("_")
    safe = Person(hub, **{"wsgi.url_scheme": "https"}).log_in("rw")
    cookie = next(each for each in safe.headers.getlist("Set-Cookie") if each.startswith("__Secure-taxii-session="))
    assert cookie.split("; ")[1:] == ["Secure", "HttpOnly", "Path=/console", "SameSite=Strict"]


def test_the_api_takes_no_cookie(hub: World) -> None:
    someone = person(hub)
    for name in ("taxii-session", "__Secure-taxii-session"):
        headers = {"Accept": MT, "Cookie": f"{name}={someone.cookie()}"}
        assert hub.client.get("/taxii2/", headers=headers).status_code == 401
    bearer = {"Accept": MT, "Authorization": f"Bearer {someone.cookie()}"}
    assert hub.client.get("/taxii2/", headers=bearer).status_code == 401


def test_the_console_takes_no_authorization_header(hub: World) -> None:
    assert Person(hub).get("/console/", headers={"Authorization": hub.basic("rw")}).status_code == 303


def test_any_bit_of_the_cookie_changed_opens_nothing(hub: World) -> None:
    someone = person(hub)
    cookie = str(someone.cookie())
    for place in range(0, len(cookie), 7):
        broken = cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]
        someone.client.set_cookie("taxii-session", broken, path="/console")
        assert someone.get("/console/").status_code == 303
    someone.client.set_cookie("taxii-session", "x" * 3900, path="/console")
    assert someone.get("/console/").status_code == 303


def test_a_session_holds_on_any_worker_and_ends_on_all(hub: World) -> None:
    from taxii_server.auth.shared import Table

    table = Table()
    first, second = (create_app(hub.settings, hub.store, background=False, table=table) for _ in range(2))
    someone = Person(hub)
    someone.client = first.test_client()
    assert someone.log_in("rw").status_code == 303
    stolen = str(someone.cookie())
    other = second.test_client()
    other.set_cookie("taxii-session", stolen, path="/console")
    assert other.get("/console/").status_code == 200
    assert someone.post("/console/logout").headers["Location"] == "/console/login"
    assert someone.cookie() is None
    assert other.get("/console/").status_code == 303


def test_a_revoked_token_and_a_new_password_end_their_sessions(own_hub: World) -> None:
    credential, secret = new_token("rw")
    own_hub.store.save_credential(credential)
    own_hub.store.save_credential(new_password("rw", "anna", "correct horse"))
    by_token, by_password = Person(own_hub), Person(own_hub)
    assert by_token.log_in("rw", secret).status_code == 303
    assert by_password.log_in("anna", "correct horse").status_code == 303
    assert by_token.get("/console/").status_code == by_password.get("/console/").status_code == 200
    own_hub.store.revoke_credential(credential.id)
    own_hub.store.save_credential(new_password("rw", "anna", "battery staple"))
    assert by_token.get("/console/").status_code == by_password.get("/console/").status_code == 303
    assert by_password.log_in("anna", "correct horse").status_code == 403
    assert by_password.log_in("anna", "battery staple").status_code == 303


def test_a_partner_that_is_suspended_is_out(make_hub: Any) -> None:
    hub = make_hub()
    someone = person(hub)
    path = hub.folder / "config/partners.toml"
    text = path.read_text()
    path.write_text(text.replace("[audience.rw]\n", "[audience.rw]\nsuspended = true\n"))
    hub.apply()
    assert someone.get("/console/").status_code == 303
    assert Person(hub).log_in("rw").status_code == 403


def test_a_session_ends_after_a_while_without_a_click_and_after_eight_hours_whatever(hub: World) -> None:
    now = [1_800_000_000.0]
    parts = hub.app.extensions["taxii_server.console"].extensions["console"]
    known = parts.sessions
    sessions = Sessions(hub.store.secret, known._directory, known._table, 600, clock=lambda: now[0])
    begun = sessions.begin(hub.tokens["rw"].split("_")[1])
    assert begun is not None
    assert sessions.begin("no such credential") is None
    cookie = sessions.cookie(begun)
    now[0] += 599
    opened = sessions.open(cookie)
    assert opened is not None
    renewed = sessions.renewed(opened)
    assert renewed is not None
    now[0] += 1
    assert sessions.open(cookie) is None
    cookie = sessions.cookie(renewed)
    while now[0] < 1_800_000_000 + LONGEST_S:
        opened = sessions.open(cookie)
        assert opened is not None
        cookie = sessions.cookie(sessions.renewed(opened) or opened)
        now[0] += 500
    assert sessions.open(cookie) is None
    assert sessions.renewed(begun) is not None


# ---- forms


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_its_token_does_nothing(hub: World, token: str | None) -> None:
    someone = person(hub)
    answer = someone.post("/console/logout", {"form_token": token, "other": "x"})
    assert answer.status_code == 403
    assert someone.get("/console/").status_code == 200


def test_a_form_from_elsewhere_or_of_another_session_does_nothing(hub: World) -> None:
    someone, other = person(hub), person(hub, "ro")
    assert someone.post("/console/logout", {"form_token": other.token()}).status_code == 403
    for site in ("cross-site", "same-site"):
        assert someone.post("/console/logout", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert someone.get("/console/").status_code == 200


def test_a_login_form_needs_the_cookie_that_came_with_it(hub: World) -> None:
    victim, attacker = Person(hub), Person(hub)
    token = attacker.token("/console/login")
    fields = {"name": "ro", "secret": hub.tokens["ro"], "form_token": token}
    assert victim.client.post("/console/login", data=fields, headers=HTML).status_code == 403
    victim.get("/console/login")
    assert victim.client.post("/console/login", data=fields, headers=HTML).status_code == 403
    assert attacker.client.post("/console/login", data=fields, headers=HTML).status_code == 303


def test_only_forms_of_a_fair_size_are_read(hub: World) -> None:
    someone = person(hub)
    assert someone.post("/console/logout", {"more": "x" * 30_000}).status_code == 413
    json = someone.client.post("/console/logout", json={"form_token": someone.token()}, headers=HTML)
    assert json.status_code == 400
    assert someone.get("/console/logout").status_code == 404


# ---- headers, switches


@pytest.mark.parametrize("path", PAGES)
def test_every_page_forbids_scripts_frames_caches_and_referrers(hub: World, path: str) -> None:
    answer = person(hub).get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script|\son\w+=|style=|javascript:", answer.text)


def test_the_style_sheet_is_all_that_a_page_loads(hub: World) -> None:
    page = person(hub).get("/console/").text
    assert re.findall(r'(?:src|href)="([^"#]*\.\w+)"', page) == ["/console/console.css", "/console/icon.svg"]
    style = Person(hub).get("/console/console.css")
    assert style.content_type == "text/css; charset=utf-8"
    assert "url(" not in style.text
    assert Person(hub).get("/console/icon.svg").content_type.startswith("image/svg+xml")


@pytest.mark.parametrize(
    "settings",
    [
        'console = "off"',
        'host = "0.0.0.0"\nplain_http = true',
        'trusted_proxies = ["127.0.0.1"]',
        "hide_unauthenticated = true",
    ],
)
def test_where_it_is_not_switched_on_there_is_no_sign_of_it(make_hub: Any, settings: str) -> None:
    hub = make_hub(settings=settings)
    for path in ("/", "/console/", "/console/login", "/console/console.css"):
        stranger = hub.client.get(path, headers=HTML)
        unknown = hub.client.get("/nope/", headers=HTML)
        assert stranger.status_code == unknown.status_code
        assert stranger.headers["Content-Type"] == MT
        assert hub.get(path).status_code == 404


def test_it_is_switched_on_elsewhere_by_a_setting(make_hub: Any) -> None:
    hub = make_hub(settings='console = "on"\nhost = "0.0.0.0"\nplain_http = true')
    assert person(hub).get("/console/").status_code == 200


def test_it_stands_below_the_path_of_the_public_url(make_hub: Any) -> None:
    hub = make_hub(settings='public_url = "https://hub.example/cti/"')
    answer = Person(hub).get("/console/")
    assert answer.headers["Location"] == "/cti/console/login?next=/console/"
    page = Person(hub).get("/console/login")
    assert 'action="/cti/console/login"' in page.text
    assert "Path=/cti/console" in page.headers["Set-Cookie"]


def test_an_operators_token_opens_the_console_and_nothing_else(hub: World) -> None:
    from taxii_server.auth.secrets import OPERATOR

    credential, secret = new_token("admin", kind=OPERATOR)
    hub.store.save_credential(credential)
    for header in (f"Bearer {secret}", f"Token {secret}"):
        assert hub.client.get("/taxii2/", headers={"Accept": MT, "Authorization": header}).status_code == 401
    hub.tokens["an operator"] = secret
    assert hub.request("GET", "/taxii2/", None, headers={"Authorization": hub.basic("an operator")}).status_code == 401
    assert operator(hub).get("/console/").status_code == 200
