"""How the users of an old server log in here.

Where the old server kept a password in the clear, its user keeps it, stored as an argon2 hash: no client has to change
anything. Where it kept a hash of another kind, the user gets a new token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from taxii_server.auth.secrets import PASSWORD, new_password, new_token
from taxii_server.migrate.old import OldServer
from taxii_server.storage.base import Store


@dataclass(frozen=True, slots=True)
class Login:
    """How one user comes in here: `what` is kept, there, token, or none, with a sentence."""

    user: str
    partner: str
    what: str
    words: str


def plan_logins(
    server: OldServer, partners: Mapping[str, str], store: Store | None, *, passwords: bool, tokens: bool
) -> list[Login]:
    """What would be done for each user. `partners`: user -> partner. `store`: None when there is none yet."""
    there = {} if store is None else {each.id: each for each in store.credentials()}
    served = {each.partner for each in there.values() if not each.revoked}
    logins: list[Login] = []
    for user in server.users:
        partner = partners.get(user.name)
        found = there.get(user.name)
        if partner is None:
            logins.append(Login(user.name, "", "none", "there is no partner of this name or title"))
        elif user.password is not None and passwords:
            if found is None:
                words = "keeps user name and password; the password is stored as an argon2 hash"
                logins.append(Login(user.name, partner, "kept", f"{words}; {user.note}" if user.note else words))
            elif (found.partner, found.kind) == (partner, PASSWORD):
                logins.append(Login(user.name, partner, "there", "has a password here already; it was not changed"))
            else:
                words = f"this user name is that of another credential, of {found.partner}; it was not changed"
                logins.append(Login(user.name, partner, "none", words))
        elif partner in served:
            logins.append(Login(user.name, partner, "there", "has a credential here already"))
        elif tokens:
            logins.append(Login(user.name, partner, "token", "gets a new token"))
        else:
            words = f"cannot log in yet: taxii-server token new {partner}"
            logins.append(Login(user.name, partner, "none", words))
    return logins


def carry_out(logins: Sequence[Login], server: OldServer, store: Store, tokens: Path | None) -> None:
    """Store the passwords that are kept; make the tokens and write their secrets to a new file, mode 0600.

    Raises OSError, before anything is stored, when that file cannot be made or is there already.
    """
    wanted = [login for login in logins if login.what == "token"]
    if wanted and tokens is not None:
        made = [(login, *new_token(login.partner, f"for {login.user}, moved in")) for login in wanted]
        descriptor = os.open(tokens, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for login, _, secret in made:
                file.write(f"{login.user}\t{login.partner}\t{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        for _, credential, _ in made:
            store.save_credential(credential)
    passwords = {user.name: user.password for user in server.users}
    for login in logins:
        password = passwords.get(login.user)
        if login.what == "kept" and password is not None:
            store.save_credential(new_password(login.partner, login.user, password, f"moved in from {server.kind}"))
