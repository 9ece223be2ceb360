"""Who is logged in: a sealed cookie that any worker can open, and that dies with the credential behind it.

The cookie holds no secret and gives no right: it names the credential, and everything is looked up again for each
request, under the policy in force. It stops to count

* after so many minutes without a request, and eight hours after the login at the latest;
* when the credential is revoked or replaced (the cookie holds a digest of what is stored of the secret);
* when its session was ended by logging out, for as long as this server runs;
* when the partner's credentials would not be taken from that address, or without its certificate.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from taxii_server.auth.directory import Directory
from taxii_server.auth.secrets import OPERATOR
from taxii_server.auth.shared import Entry, Table
from taxii_server.errors import BadQuery
from taxii_server.model import Credential
from taxii_server.service.cursor import CursorSeal, derived_key

LONGEST_S = 8 * 3600
#: A cookie is written anew when it is older than this, not with each answer.
_RENEWED_AFTER_S = 60
_SCOPE = "console session v1"


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `began` and `seen` are seconds since 1970."""

    id: str
    credential: Credential
    began: int
    seen: int

    @property
    def partner(self) -> str:
        return self.credential.partner

    @property
    def is_operator(self) -> bool:
        """Whether the pages for operators are there."""
        return self.credential.kind == OPERATOR


class Sessions:
    """Opens, renews and ends sessions. `secret` reads the server's, when it is wanted first."""

    def __init__(
        self,
        secret: Callable[[], bytes],
        directory: Directory,
        table: Table,
        idle_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._directory = directory
        self._table = table
        self._idle_s = idle_s
        self._clock = clock

    @cached_property
    def _seal(self) -> CursorSeal:
        return CursorSeal(self._secret())

    @cached_property
    def _key(self) -> bytes:
        return derived_key(self._secret(), b"taxii console v1")

    def begin(self, credential_id: str) -> Session | None:
        """A session for whoever just logged in with this credential."""
        credential = self._directory.find(credential_id)
        now = int(self._clock())
        return None if credential is None else Session(secrets.token_hex(16), credential, now, now)

    def cookie(self, session: Session) -> str:
        """The value of the cookie."""
        mark = self._mark(session.credential)
        return self._seal.seal(_SCOPE, [session.id, session.credential.id, mark, session.began, session.seen])

    def open(self, cookie: str) -> Session | None:
        """The session of a cookie, or None when it counts no more."""
        try:
            found = self._seal.open(_SCOPE, cookie)
        except BadQuery:
            return None
        if not isinstance(found, list) or len(found) != 5:
            return None
        id_, credential_id, mark, began, seen = found
        now = int(self._clock())
        if not (seen <= now + 60 and now < seen + self._idle_s and now < began + LONGEST_S):
            return None
        credential = self._directory.find(credential_id)
        if credential is None or not hmac.compare_digest(mark, self._mark(credential)):
            return None
        if self._table.read("console-ended", id_) is not None:
            return None
        return Session(id_, credential, began, seen)

    def renewed(self, session: Session) -> Session | None:
        """The session as of now, when its cookie should be written anew."""
        now = int(self._clock())
        return replace(session, seen=now) if now - session.seen > _RENEWED_AFTER_S else None

    def end(self, session: Session) -> None:
        """Log out: no copy of its cookie counts any more."""
        now = self._table.clock()
        self._table.write(Entry(1, now, now + LONGEST_S), "console-ended", session.id)

    # ---- forms

    def form_token(self, session: Session) -> str:
        """What every form of this session has to bring back."""
        return self._token("form", session.id)

    def door_token(self, door: str) -> str:
        """What the login form has to bring back beside the cookie with this value."""
        return self._token("door", door)

    def _token(self, *parts: str) -> str:
        return hmac.digest(self._key, "\0".join(parts).encode(errors="replace"), "sha256").hex()

    def _mark(self, credential: Credential) -> str:
        """Changes with the secret, the kind and the partner of a credential; tells nothing about them."""
        return self._token("credential", credential.id, credential.partner, credential.kind, credential.secret_hash)
