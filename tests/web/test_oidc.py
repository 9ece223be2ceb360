"""Tokens of an identity provider over HTTP: which scheme takes them, what rights and ledger call their subject."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taxii_server.errors import ConfigError
from taxii_server.settings import load
from tests.idp import AUDIENCE, ISSUER, claims, jwk, key_set, token
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import MT, PARTNERS, RW, audiences, indicator

CLAIMED = 'kind = "cert"\nclearance = "red"\nclaims = { azp = "cert-misp" }\n'


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(jwk()))
    file.chmod(0o644)
    return file


def settings_of(keys: Path, more: str = "") -> str:
    return (
        f'auth_oidc = true\noidc_issuer = "{ISSUER}"\noidc_audiences = ["{AUDIENCE}"]\n'
        f'oidc_jwks = "{keys}"\noidc_algorithms = ["RS256"]\n{more}'
    )


@pytest.fixture
def hub(make_hub: MakeHub, keys: Path) -> InspectedWorld:
    return make_hub(settings=settings_of(keys), partners=audiences(dict.fromkeys(PARTNERS, "") | {"rw": CLAIMED}))


def bearer(value: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {value}"}


def test_the_subject_acts_as_its_partner_and_is_named_in_rights_and_ledger(hub: InspectedWorld) -> None:
    mine = bearer(token(claims(sub="f:1:analyst é")))
    sent = indicator()
    assert hub.post([sent], headers=mine).json["success_count"] == 1
    assert hub.get(f"/api1/collections/{RW}/objects/{sent['id']}/", headers=mine).status_code == 200
    named = hub.get("/taxii2/rights/", headers=mine).json["credential"]
    assert named == {"id": "oidc:f:1:analyst%20%C3%A9", "scheme": "oidc"}
    raw = Path(f"{hub.settings.store}-ledger").read_bytes() + Path(f"{hub.settings.store}-ledger-wal").read_bytes()
    assert b"oidc:f:1:analyst%20%C3%A9" in raw
    assert str(mine["Authorization"]).rpartition(".")[2].encode() not in raw


def test_both_kinds_of_bearer_tokens_come_in_and_one_challenge_offers_them(hub: InspectedWorld) -> None:
    assert hub.get("/taxii2/", headers=bearer(hub.tokens["ro"])).status_code == 200
    assert hub.get("/taxii2/", headers=bearer(token())).status_code == 200
    answer = hub.get("/taxii2/", None)
    challenges = answer.headers.getlist("WWW-Authenticate")
    assert challenges == ['Basic realm="Test hub", charset="UTF-8"', 'Bearer realm="Test hub"']


def test_a_refused_token_is_answered_as_any_other_wrong_one(hub: InspectedWorld) -> None:
    wrong = hub.get("/taxii2/", headers=bearer("txs_0123456789ab_x"))
    for said in (claims(azp="unknown"), claims(exp=1), claims(aud="x")):
        answer = hub.get("/taxii2/", headers=bearer(token(said)))
        assert answer.status_code == 401
        assert {**answer.json, "error_id": ""} == {**wrong.json, "error_id": ""}
        assert sorted(answer.headers.items()) == sorted(wrong.headers.items())
    assert hub.get("/taxii2/", headers={"Authorization": f"Token {token()}"}).status_code == 401
    assert hub.get("/taxii2/", headers={"Authorization": f"Basic {token()}"}).status_code == 401


def test_each_bearer_scheme_can_be_switched_off_alone(make_hub: MakeHub, keys: Path) -> None:
    partners = audiences(dict.fromkeys(PARTNERS, "") | {"rw": CLAIMED})
    only = make_hub(settings=settings_of(keys, "auth_bearer = false\nauth_basic = false"), partners=partners)
    assert only.get("/taxii2/", headers=bearer(token())).status_code == 200
    assert only.get("/taxii2/", headers=bearer(only.tokens["rw"])).status_code == 401
    off = make_hub(settings=settings_of(keys).replace("auth_oidc = true", "auth_oidc = false"), partners=partners)
    assert off.get("/taxii2/", headers=bearer(token())).status_code == 401


def test_claims_that_are_taken_away_are_gone_at_the_next_request(hub: InspectedWorld) -> None:
    mine = bearer(token())
    path = f"/api1/collections/{RW}/objects/"
    assert hub.get(path, headers=mine).status_code == 200
    (hub.folder / "config/partners.toml").write_text(audiences(dict.fromkeys(PARTNERS, "")))
    hub.apply()
    assert hub.get(path, headers=mine).status_code == 401


def test_a_token_from_an_address_that_is_not_the_partners_is_refused(make_hub: MakeHub, keys: Path) -> None:
    listed = CLAIMED + 'addresses = ["192.0.2.0/24"]\n'
    hub = make_hub(settings=settings_of(keys), partners=audiences(dict.fromkeys(PARTNERS, "") | {"rw": listed}))
    for address, status in (("192.0.2.1", 200), ("198.51.100.1", 401)):
        answer = hub.get("/taxii2/", headers=bearer(token()), environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == status


def test_wrong_tokens_of_one_subject_lock_out_that_subject_and_address_only(make_hub: MakeHub, keys: Path) -> None:
    partners = audiences(dict.fromkeys(PARTNERS, "") | {"rw": CLAIMED})
    hub = make_hub(settings=settings_of(keys, "lockout_after = 3"), partners=partners)
    expired = bearer(token(claims(exp=1)))
    assert [hub.get("/taxii2/", headers=expired).status_code for _ in range(5)] == [401] * 3 + [429] * 2
    assert hub.get("/taxii2/", headers=bearer(token())).status_code == 429
    assert hub.get("/taxii2/", headers=bearer(token(claims(sub="another")))).status_code == 200
    there = hub.get("/taxii2/", headers=bearer(token()), environ_base={"REMOTE_ADDR": "198.51.100.1"})
    assert there.status_code == 200


@pytest.mark.parametrize("missing", ["oidc_issuer", "oidc_audiences", "oidc_jwks"])
def test_without_one_of_three_settings_it_cannot_be_switched_on(tmp_path: Path, keys: Path, missing: str) -> None:
    lines = [line for line in settings_of(keys).splitlines() if not line.startswith(missing)]
    file = tmp_path / "server.toml"
    file.write_text("\n".join([*lines, '[api_roots.a]\ntitle = "A"\n']))
    with pytest.raises(ConfigError, match=f"{missing}: missing, and auth_oidc needs it"):
        load(file, {})


@pytest.mark.parametrize(
    "line",
    ['oidc_algorithms = ["HS256"]', 'oidc_algorithms = ["none"]', "oidc_algorithms = []",
     'oidc_jwks = "http://idp.example.com/keys"', 'oidc_jwks = "https://u:p@idp.example.com/keys"'],
)  # fmt: skip
def test_what_would_open_the_door_is_refused_by_the_settings(tmp_path: Path, line: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(f'{line}\n[api_roots.a]\ntitle = "A"\n')
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        load(file, {})


def test_a_relative_path_of_keys_belongs_to_the_folder_of_server_toml(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('oidc_jwks = "idp/keys.json"\n[api_roots.a]\ntitle = "A"\n')
    assert load(file, {}).oidc_jwks == str(tmp_path / "idp/keys.json")
    assert load(file, {"TAXII_SERVER_OIDC_JWKS": "https://idp/keys"}).oidc_jwks == "https://idp/keys"


def test_a_token_is_never_more_than_one_header_may_hold(hub: InspectedWorld) -> None:
    huge = bearer(token(claims(groups=["g" * 100] * 300)))
    answer = hub.get("/taxii2/", headers=huge)
    assert answer.status_code == 431
    assert answer.content_type == MT
    assert "max_header_bytes" in json.loads(answer.data)["description"]
