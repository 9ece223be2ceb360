"""Which tokens of an identity provider come in, and as whom (RFC 7519, 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from taxii_server.auth.keys import KeyCache
from taxii_server.auth.oidc import Expected, OidcScheme, partners_of, subject_of
from taxii_server.model import Actor
from taxii_server.policy import Audience
from taxii_server.settings import ALGORITHMS
from tests.idp import AUDIENCE, ISSUER, claims, jwk, key_set, private_key, token

#: Large, because the tokens below are made long before the last test runs.
SKEW_S = 3600
NOW = int(time.time())
DEFAULT = ("RS256", "PS256", "ES256", "EdDSA")


def partner(name: str, **wanted: str | tuple[str, ...]) -> Audience:
    values = tuple(sorted((key.replace("__", "."), (value,) if isinstance(value, str) else value)
                          for key, value in wanted.items()))  # fmt: skip
    return Audience(name, "cert", "amber", claims=values)


PARTNERS = {
    each.name: each
    for each in (
        partner("cert", azp="cert-misp"),
        partner("soc", azp="soc", realm_access__roles=("reader", "writer")),
        partner("group", groups="g1"),
        Audience("nobody", "cert", "amber"),
    )
}


def scheme(
    *keys: dict[str, Any],
    algorithms: tuple[str, ...] = DEFAULT,
    partners: Mapping[str, Audience] = PARTNERS,
    skew_s: float = SKEW_S,
) -> OidcScheme:
    raw = key_set(*(keys or (jwk(),)))
    cache = KeyCache(lambda: raw, algorithms, min_interval_s=60, max_age_s=3600)
    return OidcScheme(cache, Expected(ISSUER, (AUDIENCE, "other"), algorithms, skew_s), lambda: partners, "hub")


def came_in(made: OidcScheme, value: str) -> Actor | None:
    return made.actor(value, lambda name: True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_every_algorithm_that_is_on_comes_in_as_its_partner(algorithm: str) -> None:
    made = scheme(jwk(algorithm=algorithm), algorithms=(algorithm,))
    assert came_in(made, token(algorithm=algorithm)) == Actor("cert", "oidc:f:1:misp", "oidc")


@pytest.mark.parametrize("algorithm", ["RS512", "ES384"])
def test_one_of_an_algorithm_that_is_off_does_not(algorithm: str) -> None:
    assert came_in(scheme(jwk(algorithm=algorithm)), token(algorithm=algorithm)) is None


BAD = {
    "another issuer": claims(iss=ISSUER + "/"),
    "no issuer": claims(iss=None),
    "for somebody else": claims(aud="taxii-hub2"),
    "for a list of others": claims(aud=["account", "taxii-hub2"]),
    "for nobody": claims(aud=None),
    "expired": claims(exp=NOW - SKEW_S - 1),
    "without an end": claims(exp=None),
    "an end that is no number": claims(exp="soon"),
    "an endless end": claims(exp=float("inf")),
    "not yet": claims(nbf=NOW + 10 * SKEW_S),
    "from the future": claims(iat=NOW + 10 * SKEW_S),
    "without a subject": claims(sub=None),
    "an empty subject": claims(sub=""),
    "nobody's claims": claims(azp="unknown"),
    "a claim that is a number": claims(azp=1),
    "one claim of two": claims(azp="soc"),
    "two partners' claims": claims(groups=["g1"]),
}


@pytest.mark.parametrize("said", BAD.values(), ids=BAD)
def test_a_token_that_does_not_hold_is_refused(said: dict[str, Any]) -> None:
    assert came_in(scheme(), token(said)) is None


GOOD = {
    "one of our names": (claims(aud="other"), "cert"),
    "our name among others": (claims(aud=["account", AUDIENCE]), "cert"),
    "expired within the skew": (claims(exp=NOW - 2), "cert"),
    "begins within the skew": (claims(nbf=NOW + SKEW_S // 2), "cert"),
    "both claims of a partner": (claims(azp="soc", realm_access={"roles": ["x", "writer"]}), "soc"),
    "one in a list": (claims(azp="x", groups=["g0", "g1"]), "group"),
}


@pytest.mark.parametrize(("said", "name"), GOOD.values(), ids=GOOD)
def test_a_token_that_holds_comes_in(said: dict[str, Any], name: str) -> None:
    actor = came_in(scheme(), token(said))
    assert actor is not None
    assert actor.partner == name


def unsigned(header: dict[str, Any], said: dict[str, Any]) -> bytes:
    return b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said))


def test_no_signature_is_no_token() -> None:
    for algorithm in ("none", "None", "NONE", "nOnE"):
        text = unsigned({"alg": algorithm, "kid": "k0"}, claims()).decode()
        assert came_in(scheme(), text + ".") is None
        assert came_in(scheme(), text + ".AAAA") is None


def test_a_public_key_used_as_shared_secret_signs_nothing() -> None:
    """The classic: HS256 over what everybody can download (RFC 8725, 2.1)."""
    raw = key_set(jwk())
    for secret in (raw, json.dumps(jwk()).encode(), private_key("RS256").public_key().public_numbers().n.to_bytes(256)):
        for algorithm in ("HS256", "RS256"):
            signed = unsigned({"alg": algorithm, "kid": "k0"}, claims())
            mac = hmac.digest(secret, signed, hashlib.sha256)
            assert came_in(scheme(), (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()) is None


def test_a_token_of_another_key_is_refused_whatever_key_it_names() -> None:
    stranger = private_key("RS256", which=1)
    assert came_in(scheme(), token(key=stranger)) is None
    assert came_in(scheme(), token(key=stranger, header={"jwk": jwk(key=stranger)})) is None
    assert (
        came_in(scheme(), token(key=stranger, header={"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}))
        is None
    )
    assert came_in(scheme(), token(header={"crit": ["x"], "x": 1})) is None


def test_a_changed_token_is_refused() -> None:
    good = token()
    head, said, signature = good.split(".")
    other = unsigned({"alg": "RS256", "kid": "k0"}, claims(azp="soc")).decode().split(".")[1]
    assert came_in(scheme(), good) is not None
    assert came_in(scheme(), f"{head}.{other}.{signature}") is None
    assert came_in(scheme(), f"{head}.{said}.{signature[:-8]}AAAAAAAA") is None


def test_without_kid_there_must_be_one_key_only() -> None:
    assert came_in(scheme(), token(kid=None)) is not None
    two = scheme(jwk(), jwk("k1", key=private_key("RS256", 1)))
    assert came_in(two, token(kid=None)) is None
    assert came_in(two, token(kid="k1", key=private_key("RS256", 1))) is not None
    assert came_in(two, token(kid="k1")) is None
    assert came_in(two, token(kid="k2")) is None


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "a.b.c", "x" * 8000, "é.é.é", "eyJ.eyJ.", ".".join(["W1tb" * 3000] * 3), "a.b.c.d.e",
     base64.urlsafe_b64encode(b'{"sub":' + b"[" * 6000).decode() + ".x.y"],
    ids=lambda value: value[:12],
)  # fmt: skip
def test_nothing_that_a_client_can_send_raises(value: str) -> None:
    made = scheme()
    assert came_in(made, value) is None
    made.guess(value)


def test_our_own_tokens_are_left_to_their_own_scheme() -> None:
    made = scheme()
    assert not made.takes("txs_0123456789ab_secret")
    assert made.takes(token())


def test_a_subject_is_named_so_that_no_log_line_begins_in_it() -> None:
    assert subject_of({"sub": "a b\nlevel=error é"}) == "oidc:a%20b%0Alevel%3Derror%20%C3%A9"
    long = [subject_of({"sub": "x" * 5000 + end}) for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(each) < 120 for each in long)


def test_a_claim_with_a_dot_in_its_name_goes_before_a_path() -> None:
    wanted = {"cert": partner("cert", **{"a.b": "x"})}
    assert partners_of({"a.b": "x"}, wanted) == ["cert"]
    assert partners_of({"a": {"b": ["x"]}}, wanted) == ["cert"]
    assert partners_of({"a.b": "y", "a": {"b": "x"}}, wanted) == []
    assert partners_of({"a": "x"}, wanted) == []


def test_the_log_says_why_and_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for said in (*BAD.values(), claims(azp="hunter2", password="hunter2")):
        text = token(said)
        came_in(scheme(), text)
        assert text.rpartition(".")[2] not in caplog.text
    assert "ExpiredSignatureError" in caplog.text
    assert "its claims are those of no partner" in caplog.text
    assert "its claims are those of cert and group" in caplog.text
    assert "hunter2" not in caplog.text


def test_the_skew_that_is_set_is_the_one_that_holds() -> None:
    expired = token(claims(exp=NOW - 100))
    assert came_in(scheme(skew_s=0), expired) is None
    assert came_in(scheme(skew_s=99), expired) is None
    assert came_in(scheme(skew_s=3600), expired) is not None
