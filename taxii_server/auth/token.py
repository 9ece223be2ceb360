"""Bearer tokens (RFC 6750). `Token` is taken as another name of the scheme: taxii2-client's TokenAuth sends it."""

from __future__ import annotations

from taxii_server.auth.base import Scheme
from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import token_id, token_matches
from taxii_server.model import Actor


class BearerScheme(Scheme):
    """`Authorization: Bearer` with a token of `taxii-server token new`."""

    names = ("bearer", "token")

    def __init__(self, directory: Directory, realm: str) -> None:
        self._directory = directory
        self.challenge = f'Bearer realm="{realm}"'

    def actor(self, value: str) -> Actor | None:
        """See Scheme.actor."""
        id_ = token_id(value)
        credential = None if id_ is None else self._directory.find(id_)
        if credential is None or not token_matches(credential, value):
            return None
        return Actor(credential.partner, credential.id, "bearer")
