"""The login form of the console: the same names and secrets as HTTP Basic, and the tokens of operators besides.

It counts wrong secrets under the same names as HTTP Basic, so guessing there and here is one thing.
"""

from __future__ import annotations

import base64

from taxii_server.auth.base import Admits
from taxii_server.auth.basic import BasicScheme
from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import OPERATOR, TOKEN, PasswordChecker, token_id
from taxii_server.model import Actor


class FormScheme(BasicScheme):
    """What a person types into the form. Takes passwords and tokens of partners as far as the API takes them."""

    names = ("form",)

    def __init__(self, directory: Directory, passwords: PasswordChecker, *, takes_tokens: bool, takes_passwords: bool):
        super().__init__(directory, passwords, "")
        self.kinds = (TOKEN, OPERATOR) if takes_tokens else (OPERATOR,)
        self._takes_passwords = takes_passwords

    def actor(self, value: str, admits: Admits) -> Actor | None:
        """See Scheme.actor."""
        _, _, secret = base64.b64decode(value).decode().partition(":")
        if token_id(secret) is None and not self._takes_passwords:
            return None
        return super().actor(value, admits)


def form_header(name: str, secret: str) -> str:
    """What the form gives the authenticator in place of an Authorization header."""
    pair = f"{name}:{secret}".encode(errors="replace")
    return f"form {base64.b64encode(pair).decode()}"
