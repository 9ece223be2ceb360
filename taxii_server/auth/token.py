"""Bearer tokens (RFC 6750). `Token` is taken as another name of the scheme: taxii2-client's TokenAuth sends it."""

from __future__ import annotations

from taxii_server.auth.base import Admits, Guess, Scheme
from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import token_id, token_matches
from taxii_server.model import Actor


class BearerScheme(Scheme):
    """`Authorization: Bearer` with a token of `taxii-server token new`."""

    names = ("bearer", "token")

    def __init__(self, directory: Directory, realm: str) -> None:
        self._directory = directory
        self.challenge = f'Bearer realm="{realm}"'

    def takes(self, value: str) -> bool:
        """See Scheme.takes. Our tokens say what they are; other bearer tokens are for other schemes."""
        return token_id(value) is not None

    def guess(self, value: str) -> Guess | None:
        """See Scheme.guess. The id inside the token."""
        id_ = token_id(value)
        credential = None if id_ is None else self._directory.find(id_)
        return None if id_ is None else Guess(f"token {id_}", None if credential is None else credential.partner)

    def actor(self, value: str, admits: Admits) -> Actor | None:
        """See Scheme.actor."""
        id_ = token_id(value)
        credential = None if id_ is None else self._directory.find(id_)
        if not token_matches(credential, value) or credential is None:
            return None
        return Actor(credential.partner, credential.id, "bearer")
