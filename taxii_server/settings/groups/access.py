"""Settings: who may come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import Kind, matching, one_of, row, seconds, text, texts, yes_no
from taxii_server.settings.sources import ALGORITHMS, is_key_source

KEY_SOURCE = matching(
    "https URL or file",
    is_key_source,
    "an https URL without a login (http only to this machine), or the path of a file",
)
SIGNATURES: Kind[tuple[str, ...]] = texts(one_of(*ALGORITHMS), "list of signature algorithms", False)


@dataclass(frozen=True, kw_only=True)
class Access:
    GROUP: ClassVar = "Who may come in"

    auth_basic: bool = row(yes_no(), True, "Accept a name and password (HTTP Basic). Use TLS in front of it.")
    auth_bearer: bool = row(yes_no(), True, "Accept tokens (Authorization: Bearer, or Token as some clients say).")
    auth_certificate: str = row(
        one_of("off", "optional", "required"),
        "off",
        "Client certificates: off; optional, beside the other ways; required, before them. partners.toml says whose "
        "they are (certificates).",
    )
    anonymous_partner: str = row(
        text(),
        "",
        "The partner that a request without credentials acts as. Empty: such a request is refused. Its clearance "
        'should be "clear".',
    )
    hide_unauthenticated: bool = row(
        yes_no(),
        False,
        "Answer 404 in place of 401 when credentials are missing, so that a stranger learns nothing. Clients then "
        "cannot tell a wrong password from a wrong URL.",
    )
    password_cache_s: float = row(
        seconds(0),
        300.0,
        "How long a password that was right is remembered (as a keyed hash, in memory). Checking one costs tens of "
        "milliseconds on purpose. 0: never.",
    )
    auth_oidc: bool = row(
        yes_no(),
        False,
        "Accept OpenID Connect tokens (Authorization: Bearer with a signed JWT) of partners with `claims`. Needs "
        "oidc_issuer, oidc_audiences and oidc_jwks; docs/authentication.md has examples.",
    )
    oidc_issuer: str = row(text(), "", "What the claim `iss` of a token has to be, to the letter.")
    oidc_audiences: tuple[str, ...] = row(
        texts(),
        (),
        "Names of this server at the identity provider: one of them has to be in the claim `aud` of a token.",
    )
    oidc_jwks: str = row(
        KEY_SOURCE,
        "",
        "The public keys of the identity provider (JSON Web Key Set): an https URL, or a file that only its owner "
        "may write.",
    )
    oidc_algorithms: tuple[str, ...] = row(
        SIGNATURES,
        ("RS256", "PS256", "ES256", "EdDSA"),
        f"The signatures that are accepted. Known: {', '.join(ALGORITHMS)}. Those with a shared secret (HS256 ...) and "
        '"none" do not exist here.',
    )
    oidc_clock_skew_s: float = row(
        seconds(0),
        30.0,
        "How far the clocks of the identity provider and of this server may be apart, for exp, nbf and iat.",
    )
    oidc_refetch_s: float = row(
        seconds(1),
        60.0,
        "The keys are read again when a token names an unknown one, but not more often than this.",
    )
    oidc_max_age_s: float = row(
        seconds(10),
        3600.0,
        "The keys are read again when they are older than this. What cannot be read leaves the known keys in force.",
    )
