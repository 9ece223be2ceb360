"""Who is asking: from the Authorization header and the client certificate to an Actor.

TAXII 2.1, 8.2.2; RFC 7235, 7617, 6750.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from taxii_server.auth.certificate import CertificateScheme, Shown
from taxii_server.errors import TaxiiServerError
from taxii_server.model import Actor


class Unauthenticated(TaxiiServerError):
    """No acceptable credentials. `challenges` are the values of WWW-Authenticate."""

    def __init__(self, challenges: Sequence[str]) -> None:
        self.challenges = tuple(challenges)
        super().__init__("no acceptable credentials")


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request presents: its Authorization header, the address that it comes from, the client's certificate."""

    authorization: str | None
    address: str = ""
    certificate: Shown | None = None


class Scheme(ABC):
    """One authentication scheme."""

    #: scheme names in lower case, as they stand in the header
    names: tuple[str, ...]
    #: the challenge that offers this scheme
    challenge: str

    @abstractmethod
    def actor(self, value: str) -> Actor | None:
        """The actor for what follows the scheme name, or None. Never raises for anything a client can send."""


class Authenticator:
    """Tries the scheme that the header names, no other: a bad credential is refused even if another would do.

    A certificate and a header have to be the same partner's: neither makes up for the other.
    """

    def __init__(
        self,
        schemes: Sequence[Scheme],
        anonymous_partner: str = "",
        certificates: CertificateScheme | None = None,
    ) -> None:
        self._schemes = tuple(schemes)
        self._anonymous = anonymous_partner
        self._certificates = certificates

    def authenticate(self, presented: Presented) -> Actor:
        """The actor. Raises Unauthenticated with one challenge per scheme that is switched on."""
        owner = self._owner(presented.certificate)
        if presented.authorization is None and owner is not None:
            return owner
        actor = self._by_header(presented.authorization)
        if owner is not None and owner.partner != actor.partner:
            raise self._refusal()
        return actor

    def _owner(self, certificate: Shown | None) -> Actor | None:
        """Whose certificate it is; None without one. Raises Unauthenticated."""
        if self._certificates is None or (certificate is None and not self._certificates.is_required):
            return None
        owner = None if certificate is None else self._certificates.actor(certificate)
        if owner is None:
            raise self._refusal()
        return owner

    def _by_header(self, header: str | None) -> Actor:
        if header is None and self._anonymous:
            return Actor(self._anonymous, "anonymous", "none")
        name, _, value = (header or "").strip().partition(" ")
        for scheme in self._schemes:
            if name.lower() in scheme.names:
                actor = scheme.actor(value.strip())
                if actor is not None:
                    return actor
        raise self._refusal()

    def _refusal(self) -> Unauthenticated:
        # RFC 9110, 15.5.2: a 401 names at least one scheme. TLS has none of its own.
        challenges = [scheme.challenge for scheme in self._schemes]
        return Unauthenticated(challenges or ["Certificate"] * (self._certificates is not None))
