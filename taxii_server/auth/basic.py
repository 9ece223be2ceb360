"""HTTP Basic (RFC 7617): a partner's name with one of its tokens, or a user name with its password."""

from __future__ import annotations

import base64
import binascii

from taxii_server.auth.base import Admits, Guess, Scheme
from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import PASSWORD, TOKEN, PasswordChecker, token_id, token_matches
from taxii_server.model import Actor, Credential


class BasicScheme(Scheme):
    """`Authorization: Basic`, in UTF-8."""

    names = ("basic",)
    #: the kinds of tokens that are taken as password
    kinds: tuple[str, ...] = (TOKEN,)

    def __init__(self, directory: Directory, passwords: PasswordChecker, realm: str) -> None:
        self._directory = directory
        self._passwords = passwords
        self.challenge = f'Basic realm="{realm}", charset="UTF-8"'

    def guess(self, value: str) -> Guess | None:
        """See Scheme.guess. The user name, whichever secret comes with it."""
        pair = _pair(value)
        if pair is None:
            return None
        credential = self._directory.find(pair[0])
        return Guess(f"basic {pair[0]}", None if credential is None else credential.partner)

    def actor(self, value: str, admits: Admits) -> Actor | None:
        """See Scheme.actor. A token as password is found by the id inside it and must be this partner's."""
        pair = _pair(value)
        if pair is None:
            return None
        name, secret = pair
        id_ = token_id(secret)
        if id_ is not None:
            found = self._directory.find(id_)
            right = token_matches(found, secret, self.kinds)
            return _actor(found) if right and found and found.partner == name else None
        found = self._directory.find(name)
        if found is not None and found.kind != PASSWORD:
            found = None
        anew = found is not None and not admits(found.partner)
        return _actor(found) if self._passwords.matches(found, secret, anew=anew) else None


def _actor(credential: Credential | None) -> Actor | None:
    return None if credential is None else Actor(credential.partner, credential.id, "basic")


def _pair(value: str) -> tuple[str, str] | None:
    """Name and secret, or None."""
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, secret) if name and secret else None
