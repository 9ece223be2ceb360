"""HTTP Basic (RFC 7617): a partner's name with one of its tokens, or a user name with its password."""

from __future__ import annotations

import base64
import binascii

from taxii_server.auth.base import Scheme
from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import PASSWORD, PasswordChecker, token_id, token_matches
from taxii_server.model import Actor


class BasicScheme(Scheme):
    """`Authorization: Basic`, in UTF-8."""

    names = ("basic",)

    def __init__(self, directory: Directory, passwords: PasswordChecker, realm: str) -> None:
        self._directory = directory
        self._passwords = passwords
        self.challenge = f'Basic realm="{realm}", charset="UTF-8"'

    def actor(self, value: str) -> Actor | None:
        """See Scheme.actor. A token as password is found by the id inside it and must be this partner's."""
        try:
            name, colon, secret = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        if not colon or not name or not secret:
            return None
        id_ = token_id(secret)
        if id_ is not None:
            credential = self._directory.find(id_)
            if credential is None or not token_matches(credential, secret) or credential.partner != name:
                return None
            return Actor(credential.partner, credential.id, "basic")
        credential = self._directory.find(name)
        if credential is not None and credential.kind != PASSWORD:
            credential = None
        if not self._passwords.matches(credential, secret) or credential is None:
            return None
        return Actor(credential.partner, credential.id, "basic")
