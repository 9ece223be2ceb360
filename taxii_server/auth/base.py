"""Who is asking: from the Authorization header to an Actor (TAXII 2.1, 8.2.2; RFC 7235, 7617, 6750)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from taxii_server.errors import TaxiiServerError
from taxii_server.model import Actor


class Unauthenticated(TaxiiServerError):
    """No acceptable credentials. `challenges` are the values of WWW-Authenticate."""

    def __init__(self, challenges: Sequence[str]) -> None:
        self.challenges = tuple(challenges)
        super().__init__("no acceptable credentials")


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
    """Tries the scheme that the header names, no other: a bad credential is refused even if another would do."""

    def __init__(self, schemes: Sequence[Scheme], anonymous_partner: str = "") -> None:
        self._schemes = tuple(schemes)
        self._anonymous = anonymous_partner

    def authenticate(self, header: str | None) -> Actor:
        """The actor. Raises Unauthenticated with one challenge per scheme that is switched on."""
        if header is None and self._anonymous:
            return Actor(self._anonymous, "anonymous", "none")
        name, _, value = (header or "").strip().partition(" ")
        for scheme in self._schemes:
            if name.lower() in scheme.names:
                actor = scheme.actor(value.strip())
                if actor is not None:
                    return actor
        raise Unauthenticated([scheme.challenge for scheme in self._schemes])
