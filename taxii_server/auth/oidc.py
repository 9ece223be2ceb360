"""OpenID Connect: bearer tokens that are signed JWTs of an identity provider (RFC 7519, 8725, 9068).

The token proves who its subject is; which partner that is, the partners file says (`claims`). A token whose claims
are those of no partner, or of two, is refused: nobody should have to know which one is looked at first.
"""

from __future__ import annotations

import hashlib
import json
import logging
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt
from jwt.exceptions import PyJWTError

from taxii_server.auth.base import Admits, Guess, Partners, Scheme
from taxii_server.auth.keys import KeyCache
from taxii_server.auth.secrets import token_id
from taxii_server.model import Actor
from taxii_server.policy import Audience

_log = logging.getLogger(__name__)
_MAX_SUBJECT_CHARS = 100


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say: `iss` exactly, one of these in `aud`, an algorithm of these."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    clock_skew_s: float


class _Refused(jwt.InvalidTokenError):
    """What the library does not refuse and we do; the message quotes nothing of the token."""


class OidcScheme(Scheme):
    """`Authorization: Bearer` with a JWT."""

    names = ("bearer",)

    def __init__(self, keys: KeyCache, expected: Expected, partners: Partners, realm: str) -> None:
        self._keys = keys
        self._expected = expected
        self._partners = partners
        self.challenge = f'Bearer realm="{realm}"'

    def takes(self, value: str) -> bool:
        """See Scheme.takes. Everything that is not one of our own tokens."""
        return token_id(value) is None

    def guess(self, value: str) -> Guess | None:
        """See Scheme.guess. Whom it claims to be about, which nobody has checked yet."""
        parts = value.split(".")
        if len(parts) != 3 or not all(parts):
            return None
        try:
            claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            subject = claims["sub"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return Guess(f"oidc {subject}") if isinstance(subject, str) and subject else None

    def is_guess(self, value: str) -> bool:
        """See Scheme.is_guess. Not when it names a key that we do not have: the provider may have changed its keys and
        be down, and that should lock nobody out.
        """
        try:
            return self._keys.knows(jwt.get_unverified_header(value).get("kid"))
        except (PyJWTError, ValueError, RecursionError):
            return True

    def actor(self, value: str, admits: Admits) -> Actor | None:
        """See Scheme.actor."""
        try:
            claims = self._verified(value)
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            # The reason in the library's words, which are about the token and never quote it; no text of others.
            _log.info("an OIDC token is refused: %s", _reason(error))
            return None
        subject = subject_of(claims)
        partners = partners_of(claims, self._partners())
        if len(partners) != 1:
            meant = " and ".join(partners) or "no partner"
            _log.warning("the OIDC token of %s is refused: its claims are those of %s", subject, meant)
            return None
        return Actor(partners[0], subject, "oidc")

    def _verified(self, token: str) -> Mapping[str, Any]:
        """The claims of a token that holds. Raises PyJWTError and what parsing raises."""
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._expected.algorithms:
            raise _Refused("its algorithm is not among oidc_algorithms")
        if "crit" in header:
            raise _Refused("its header has critical extensions that are not understood (RFC 7515, 4.1.11)")
        key = self._keys.find(kid, algorithm)
        if key is None:
            raise _Refused("no key of oidc_jwks is the one that it names")
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key=key,
            algorithms=[algorithm],
            issuer=self._expected.issuer,
            audience=self._expected.audiences,
            leeway=self._expected.clock_skew_s,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise _Refused("it has no subject")
        return claims


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _Refused) else type(error).__name__


def subject_of(claims: Mapping[str, Any]) -> str:
    """The name of the credential in audit, ledger and rights: `oidc:` and the subject, printable and short."""
    subject = str(claims["sub"])
    if len(subject) > _MAX_SUBJECT_CHARS:
        digest = hashlib.sha256(subject.encode(errors="surrogatepass")).hexdigest()[:16]
        subject = f"{subject[: _MAX_SUBJECT_CHARS - 17]}~{digest}"
    return "oidc:" + quote(subject, safe="@|:+~", errors="replace")


def partners_of(claims: Mapping[str, Any], partners: Mapping[str, Audience]) -> Sequence[str]:
    """The partners all of whose declared claims this token has, by name."""
    return sorted(
        name
        for name, audience in partners.items()
        if audience.claims and all(not _values(claims, claim).isdisjoint(wanted) for claim, wanted in audience.claims)
    )


def _values(claims: Mapping[str, Any], name: str) -> set[str]:
    """The texts of a claim: itself, or those of a list. `realm_access.roles` is `roles` inside `realm_access`."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    every = found if isinstance(found, list) else [found]
    return {each for each in every if isinstance(each, str)}
