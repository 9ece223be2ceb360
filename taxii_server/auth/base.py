"""Who is asking: from what a request presents, a header and a client certificate, to an Actor.

TAXII 2.1, 8.2.2; RFC 7235, 7617, 6750.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from taxii_server import audit
from taxii_server.auth.certificate import CertificateScheme, Shown
from taxii_server.auth.lockout import Lockout
from taxii_server.auth.networks import is_within
from taxii_server.errors import TaxiiServerError
from taxii_server.model import Actor
from taxii_server.policy import Audience


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


@dataclass(frozen=True, slots=True)
class Guess:
    """Whose secret a client claims to know: the name that wrong ones are counted for, and its partner if it has one."""

    name: str
    partner: str | None = None


#: Whether a partner's credentials are taken from the address of this request.
Admits = Callable[[str], bool]
Partners = Callable[[], Mapping[str, Audience]]


class Scheme(ABC):
    """One authentication scheme. None of its methods raises for anything that a client can send."""

    #: scheme names in lower case, as they stand in the header
    names: tuple[str, ...]
    #: the challenge that offers this scheme
    challenge: str

    def takes(self, value: str) -> bool:
        """Whether this is the scheme for what follows the name, when several have the same name."""
        return True

    @abstractmethod
    def guess(self, value: str) -> Guess | None:
        """Whose secret it claims to be; None for what can never be one. Cheap: nothing is checked."""

    def is_guess(self, value: str) -> bool:
        """Whether a value that was refused counts as a wrong secret."""
        return True

    @abstractmethod
    def actor(self, value: str, admits: Admits) -> Actor | None:
        """The actor for what follows the scheme name, or None.

        Where `admits` says no, the caller refuses the actor: the work must be that of an unknown one.
        """


class Authenticator:
    """Tries the scheme that the header names, no other: a bad credential is refused even if another would do.

    A certificate and a header have to be the same partner's: neither makes up for the other.
    """

    def __init__(
        self,
        schemes: Sequence[Scheme],
        anonymous_partner: str = "",
        certificates: CertificateScheme | None = None,
        partners: Partners = dict,
        lockout: Lockout | None = None,
    ) -> None:
        self._schemes = tuple(schemes)
        self._anonymous = anonymous_partner
        self._certificates = certificates
        self._partners = partners
        self._lockout = lockout

    def authenticate(self, presented: Presented) -> Actor:
        """The actor.

        Raises Unauthenticated with one challenge per scheme that is switched on, and TooManyRequests after too many
        wrong secrets; in both nothing tells whether the name exists, or the secret is right but the address is not.
        """
        owner = self._owner(presented.certificate, presented.address)
        if presented.authorization is None and owner is not None:
            return owner
        actor = self._by_header(presented.authorization, presented.address)
        if owner is not None and owner.partner != actor.partner:
            raise self.refusal()
        return actor

    def admits_again(self, partner: str, presented: Presented) -> bool:
        """Whether somebody who proved to be this partner before may still come in with what is presented besides."""
        try:
            owner = self._owner(presented.certificate, presented.address)
        except Unauthenticated:
            return False
        return (owner is None or owner.partner == partner) and self._admits(partner, presented.address)

    def refusal(self) -> Unauthenticated:
        """What to raise, with every challenge once."""
        # RFC 9110, 15.5.2: a 401 names at least one scheme. TLS has none of its own.
        challenges = tuple(dict.fromkeys(scheme.challenge for scheme in self._schemes))
        return Unauthenticated(challenges or ("Certificate",) * (self._certificates is not None))

    def _owner(self, certificate: Shown | None, address: str) -> Actor | None:
        """Whose certificate it is; None without one. Raises Unauthenticated."""
        if self._certificates is None or (certificate is None and not self._certificates.is_required):
            return None
        owner = None if certificate is None else self._from_its_place(self._certificates.actor(certificate), address)
        if owner is None:
            raise self.refusal()
        return owner

    def _by_header(self, header: str | None, address: str) -> Actor:
        if header is None and self._anonymous and self._admits(self._anonymous, address):
            return Actor(self._anonymous, "anonymous", "none")
        name, _, value = (header or "").strip().partition(" ")
        scheme = self._scheme(name.lower(), value.strip())
        guess = None if scheme is None else scheme.guess(value.strip())
        if scheme is None or guess is None:
            raise self.refusal()
        if self._lockout is not None:
            self._lockout.require_open(address, guess.name)
        found = scheme.actor(value.strip(), lambda partner: self._admits(partner, address))
        actor = self._from_its_place(found, address)
        if self._lockout is not None and (actor is not None or scheme.is_guess(value.strip())):
            self._lockout.note(address, guess.name, guess.partner, right=actor is not None)
        if actor is None:
            raise self.refusal()
        return actor

    def _scheme(self, name: str, value: str) -> Scheme | None:
        return next((each for each in self._schemes if name in each.names and each.takes(value)), None)

    def _from_its_place(self, actor: Actor | None, address: str) -> Actor | None:
        """The actor, unless its partner's credentials are not taken from there: then the audit tells of it."""
        if actor is None or self._admits(actor.partner, address):
            return actor
        audit.record("refused-address", partner=actor.partner, credential=actor.credential, address=address)
        return None

    def _admits(self, partner: str, address: str) -> bool:
        audience = self._partners().get(partner)
        return audience is None or not audience.addresses or is_within(address, audience.addresses)
